"""pytest inside the guest, and beside it a server that starts pghot's commands by forking.

`python fork_server.py ARGUMENTS OF PYTEST`: importing pghot takes most of a minute under emulation. So it is done
once, here, for both: one process becomes the server, the other pytest.

To the server each connection brings what is asked for (`Command` in tests/guest/inside/forked.py) and the descriptors
for output; the answers are the process id at once and the exit status at the end. What runs is the command's own entry
point in a process of its own: only the start is faster. tests/guest/inside/test_view.py starts the installed command.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import warm  # tests/guest/warm.py

from pghot.cli.main import main

SOCKET = os.environ["PGHOT_FORK_SERVER"]
NOBODY = 65534


def kernels() -> set[str]:
    """Names of the compiled kernels in Numba's cache."""
    cache = Path(os.environ.get("NUMBA_CACHE_DIR", "/nowhere"))
    return {path.name.split("-")[0] for path in cache.rglob("*.nbc")}


class Server:
    """A plug-in of pytest, whose tests wait for the server."""

    __name__ = "fork server"  # by which pytest knows it

    def __init__(self) -> None:
        """The server compiles nothing, but loads every kernel once, while pytest collects the tests."""
        self._carried = kernels()
        read_end, said = os.pipe()
        self._said = os.fdopen(read_end)
        self._pid = os.fork()
        if self._pid == 0:
            for number in (1, 2):
                os.dup2(said, number)
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            warm.main()
            serve(SOCKET)
        os.close(said)

    def compiled(self) -> set[str]:
        """Names of the kernels that were compiled since it began, by anyone."""
        return kernels() - self._carried

    def pytest_collection_finish(self) -> None:
        if (line := self._said.readline()) != "ready\n":
            raise RuntimeError(line + self._said.read())

    def pytest_unconfigure(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


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
        command(descriptors, **json.loads(words))
    line.send(str(child).encode())
    _, status = os.waitpid(child, 0)
    line.send(str(os.waitstatus_to_exitcode(status)).encode())


def command(
    descriptors: Sequence[int], arguments: Sequence[str], environment: Mapping[str, str], nobody: bool
) -> None:
    """What the installed `pghot` does, with its output where it was asked for."""
    for number, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    faulthandler.enable(2)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["pghot", *arguments]
    if nobody:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        ctypes.CDLL(None).prctl(
            4, 1
        )  # PR_SET_DUMPABLE, as after an exec: what is below /proc/self is its own
        os.environ["HOME"] = "/tmp"
    main()


if __name__ == "__main__":
    warm.modules()
    sys.exit(pytest.main(sys.argv[1:], plugins=[Server()]))
