"""A zipfian load for node_cache.js: fill, then read and write skewed, then end it.

python node_load.py SOCKET KEYS REQUESTS
"""

from __future__ import annotations

import contextlib
import sys

import numpy as np
from redis_load import connect, zipf_keys

READ_SHARE = 0.9
PIPELINE = 32
VALUE_BYTES = (1000, 3000)


def main(path: str, keys: int, requests: int) -> None:
    rng = np.random.default_rng(4)
    connection = connect(path)
    answers = connection.makefile("rb")
    sizes = rng.integers(*VALUE_BYTES, keys)

    def run(lines: list[str]) -> None:
        for start in range(0, len(lines), PIPELINE):
            part = lines[start : start + PIPELINE]
            connection.sendall("".join(f"{line}\n" for line in part).encode())
            for _ in part:
                answers.readline()

    run([f"S user:{key} {sizes[key]}" for key in range(keys)])
    reads = rng.random(requests) < READ_SHARE
    drawn = zipf_keys(keys, requests, rng)
    run(
        [
            f"G user:{key}" if read else f"S user:{key} {sizes[key]}"
            for key, read in zip(drawn, reads, strict=True)
        ]
    )
    with contextlib.suppress(ConnectionError):
        run(["Q"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
