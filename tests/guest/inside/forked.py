"""pghot as a process that is forked from one which has imported it (tests/guest/fork_server.py): the tests' side."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """What the server is asked for; `nobody`: as a user with no rights at all."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    nobody: bool


class Forked:
    """The part of `subprocess.Popen` that the tests use."""

    def __init__(self, server: Path, command: Command, out: int, err: int) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.connect(str(server))
        socket.send_fds(self._line, [json.dumps(asdict(command)).encode()], [out, err])
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
