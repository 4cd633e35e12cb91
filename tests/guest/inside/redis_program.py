"""Redis as a target: a server that keeps values of which a part is asked for, as tests/guest/program.c has pages.

python redis_program.py SERVER LIBRARIES MIB HOT_SHARE NODE progress=FILE

Every value fills four pages, of which three are all its own: these are the pages that it names, in the order of the
values, with where the server has them now. This process is the client. A query reads 64 bytes anywhere in a value;
what is cold is read 50 times a second.
"""

from __future__ import annotations

import ctypes
import json
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLD_PER_S = 50
LENGTH = 16384 - 6  # with its header and end a size of the allocator
BATCH = 200


class Client:
    """Sends a batch of commands, then reads all answers."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.answers = self.socket.makefile("rb")

    def ask(self, commands: list[tuple[bytes, ...]]) -> list[bytes]:
        words = (
            b"*%d\r\n%b" % (len(command), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command))
            for command in commands
        )
        self.socket.sendall(b"".join(words))
        return [self._answer() for _ in commands]

    def _answer(self) -> bytes:
        line = self.answers.readline()
        if line.startswith(b"$"):
            return self.answers.read(int(line[1:]) + 2)[:-2]
        if not line.startswith(b"+"):
            raise RuntimeError(f"redis answers {line!r}")
        return line


def start(folder: Path, server: str, libraries: str) -> tuple[subprocess.Popen[bytes], Path]:
    """A server that keeps nothing on disk and ends with this process."""
    path = folder / "socket"
    options = {"--save": "", "--port": "0", "--unixsocket": str(path), "--enable-debug-command": "yes"}
    process = subprocess.Popen(
        [server, *(word for pair in options.items() for word in pair)],
        stdout=subprocess.DEVNULL,
        env={"LD_LIBRARY_PATH": libraries},
        cwd=folder,
        preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),  # PR_SET_PDEATHSIG
    )
    while not path.exists():
        if process.poll() is not None:
            raise RuntimeError(f"redis-server ended with {process.returncode}")
        time.sleep(0.05)
    return process, path


def value(number: int) -> bytes:
    return (b"value %08d " % number * (LENGTH // 15 + 1))[:LENGTH]


def own_pages(client: Client, pid: int, values: int) -> list[int]:
    """Addresses of the three pages that lie whole in each value."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for number in range(values):
            told = re.search(
                rb"Value at:0x([0-9a-f]+)", client.ask([(b"DEBUG", b"OBJECT", b"%d" % number)])[0]
            )
            if told is None:
                raise RuntimeError("redis does not say where the value is")
            memory.seek(int(told[1], 16) + 8)  # robj.ptr
            start = int.from_bytes(memory.read(8), "little")
            memory.seek(start)
            if memory.read(LENGTH) != value(number):
                raise RuntimeError(f"value {number} is not where redis says")
            first = -(-start // 4096) * 4096
            found += [first, first + 4096, first + 8192]
    return found


def main(mib: int, every: int, progress: Path, server: str, libraries: str) -> None:
    values, rng = mib * 64, random.Random(1)
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        process, path = start(Path(folder), server, libraries)
        client = Client(path)
        for number in range(values):
            client.ask([(b"SET", b"%d" % number, value(number))])
        pages = own_pages(client, process.pid, values)
        facts = {"pid": process.pid, "addresses": pages, "pages": len(pages), "run": 3, "every": every}
        print(json.dumps(facts), flush=True)
        hot, cold = range(0, values, every), [n for n in range(values) if n % every]
        passes, cold_asked, began = 0, 0, time.monotonic()
        while process.poll() is None:
            chosen = rng.choices(hot, k=BATCH)
            if cold_asked < (time.monotonic() - began) * COLD_PER_S:
                chosen.append(rng.choice(cold))
                cold_asked += 1
            offsets = [rng.randrange(LENGTH - 64) for _ in chosen]
            client.ask(
                [
                    (b"GETRANGE", b"%d" % number, b"%d" % offset, b"%d" % (offset + 63))
                    for number, offset in zip(chosen, offsets, strict=True)
                ]
            )
            passes += 1
            new = progress.with_suffix(".new")
            new.write_text(f"{passes} {time.monotonic():.3f}\n")
            new.rename(progress)


if __name__ == "__main__":
    mib, share, _node, *words = sys.argv[3:]
    told = dict(word.split("=", 1) for word in words if "=" in word)
    main(int(mib), round(1 / float(share)), Path(told["progress"]), sys.argv[1], sys.argv[2])
