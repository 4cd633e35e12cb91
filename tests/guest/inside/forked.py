"""pghot as a process that is forked from one which has imported it: importing takes seconds under emulation.

The server (`python forked.py SOCKET`) imports pghot once. Each connection brings the arguments and the descriptors
for output; the answers are the process id at once and the exit status at the end. What runs is the command's own
entry point in a process of its own: only the start is faster. tests/guest/inside/test_run.py starts the real command.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pghot.service.live  # noqa: F401  (what `pghot run` imports when it is needed)
from pghot.cli.main import main, run


class Forked:
    """The part of `subprocess.Popen` that the tests use."""

    def __init__(self, server: Path, arguments: Sequence[str], out: int, err: int) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.connect(str(server))
        socket.send_fds(self._line, [json.dumps(arguments).encode()], [out, err])
        self.pid = int(self._line.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except TimeoutError:
            return None

    def wait(self, timeout_s: float | None = None) -> int:
        """Exit code, or minus the signal. Raises `TimeoutError`."""
        if self.returncode is None:
            self._line.settimeout(timeout_s)
            try:
                self.returncode = int(self._line.recv(64))
            except BlockingIOError as busy:
                raise TimeoutError from busy
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start_server(path: Path) -> subprocess.Popen[str]:
    """Returns when it takes commands. It ends with its parent."""
    server = subprocess.Popen(
        [sys.executable, __file__, str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert server.stdout is not None
    if (line := server.stdout.readline()) != "ready\n":
        raise RuntimeError(line + server.stdout.read())
    return server


def warm_up() -> None:
    """Load the compiled kernels, and what reading arguments imports: by a mistake, which ends early."""
    sys.path.append(str(Path(__file__).parents[1]))
    import warm

    warm.main()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        # 2 for the process, or first 3 for a kernel without hint faults.
        assert run(["run", "--apply", "-p", "0"]) in (2, 3)


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
    warm_up()
    serve(sys.argv[1])
