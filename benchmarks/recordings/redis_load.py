"""A zipfian load for a Redis server on a Unix socket: fill, then read and write skewed, then shut it down.

Plain RESP with pipelining. redis-benchmark draws keys uniformly only, hence this.

    python redis_load.py SOCKET KEYS REQUESTS [TEXT]

Values are the same letters each, or pieces of the file TEXT.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import numpy as np

EXPONENT = 0.99  # YCSB's default skew
READ_SHARE = 0.9
PIPELINE = 64
VALUE_BYTES = (200, 700)


def connect(path: str, patience_s: float = 60.0) -> socket.socket:
    """A connection to the server, once it listens."""
    deadline = time.monotonic() + patience_s
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return connection


def encode(*words: bytes) -> bytes:
    """A command in RESP."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def skip_replies(reader: socket.SocketIO, count: int) -> None:
    """Read so many simple, bulk or error replies."""
    for _ in range(count):
        line = reader.readline()
        if line[:1] == b"-":
            raise RuntimeError(line.decode().strip())
        if line[:1] == b"$" and line[1:2] != b"-":
            reader.read(int(line[1:]) + 2)


def zipf_keys(keys: int, requests: int, rng: np.random.Generator) -> np.ndarray:
    """Keys drawn with probability 1/rank**EXPONENT; ranks are scattered over the key numbers."""
    weights = 1.0 / np.arange(1, keys + 1) ** EXPONENT
    ranks = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(requests))
    return rng.permutation(keys)[ranks]


def main(path: str, keys: int, requests: int, text: str = "") -> None:
    rng = np.random.default_rng(1)
    connection = connect(path)
    reader = connection.makefile("rb")
    sizes = rng.integers(*VALUE_BYTES, keys)
    filler = Path(text).read_bytes() if text else bytes(range(32, 127)) * 8
    begins = rng.integers(0, len(filler) - VALUE_BYTES[1], keys) if text else np.zeros(keys, np.int64)

    def run(commands: list[bytes]) -> None:
        for start in range(0, len(commands), PIPELINE):
            part = commands[start : start + PIPELINE]
            connection.sendall(b"".join(part))
            skip_replies(reader, len(part))

    def store(key: int) -> bytes:
        return encode(b"SET", b"user:%08d" % key, filler[begins[key] : begins[key] + sizes[key]])

    run([store(key) for key in range(keys)])
    reads = rng.random(requests) < READ_SHARE
    drawn = zipf_keys(keys, requests, rng)
    run(
        [
            encode(b"GET", b"user:%08d" % key) if read else store(key)
            for key, read in zip(drawn, reads, strict=True)
        ]
    )
    connection.sendall(encode(b"SHUTDOWN", b"NOSAVE"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:5])
