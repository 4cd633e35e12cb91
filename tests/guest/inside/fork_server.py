"""Starts pghot's commands by forking: importing it takes seconds under emulation, and is done once.

`python fork_server.py SOCKET`: each connection brings the arguments and the descriptors for output; the answers are
the process id at once and the exit status at the end. What runs is the command's own entry point in a process of its
own: only the start is faster. tests/guest/inside/test_run.py starts the installed command itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence

import warm  # tests/guest/warm.py

from pghot.cli.main import main


def serve(path: str) -> None:
    """Fork one keeper for each command: it starts the command, waits for it and tells how it ended."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    while True:
        line, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            keep(line)
            os._exit(0)
        line.close()


def keep(line: socket.socket) -> None:
    words, descriptors, _, _ = socket.recv_fds(line, 1 << 16, 2)
    child = os.fork()
    if child == 0:
        line.close()
        command(json.loads(words), descriptors)
    line.send(str(child).encode())
    _, status = os.waitpid(child, 0)
    line.send(str(os.waitstatus_to_exitcode(status)).encode())


def command(arguments: Sequence[str], descriptors: Sequence[int]) -> None:
    """What the installed `pghot` does, with its output where it was asked for."""
    for number, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["pghot", *arguments]
    main()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    warm.main()
    serve(sys.argv[1])
