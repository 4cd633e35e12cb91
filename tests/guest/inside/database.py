"""A real program for the tests: an SQLite database in memory, of which the newest fiftieth is asked for, and every two
seconds any row: by the clock, so that old rows are as cold on a fast machine as on a slow one. The newest are few, so
that they stay hot where a starved machine answers some dozen queries a second. It rests, as others need the CPUs.

`python database.py ROWS PROGRESS`: prints "ready" when it is filled. Every row holds words, their checksum, and how
often it was asked for, which each query counts; each answer is checked. The progress file has the queries so far, the
CPU time that this process used for them, page faults included, and how many answers were wrong.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import time
import zlib
from pathlib import Path

ANY_ROW_EVERY_S = 2.0
TEXTS = 1000  # made anew for each row they take a minute under emulation; a page holds three
WORDS = "page memory tier hot cold node kernel swap of the that nobody has read where it takes less".split()  # noqa: SIM905


def fill(rows: int) -> sqlite3.Connection:
    rng = random.Random(1)
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.execute("PRAGMA cache_size = -1000000")
    database.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, words TEXT, sum INTEGER, asked INTEGER)")
    texts = [" ".join(rng.choices(WORDS, k=200)) for _ in range(TEXTS)]
    for number in range(rows):
        words = f"{number} {rng.choice(texts)}"
        database.execute("INSERT INTO note VALUES (?, ?, ?, 0)", (number, words, zlib.crc32(words.encode())))
    return database


def main(rows: int, progress: Path) -> None:
    database, rng = fill(rows), random.Random(2)
    print("ready", flush=True)
    queries, wrong, said = 0, 0, 0.0
    now = any_row = time.monotonic()
    while True:
        newest = now - any_row < ANY_ROW_EVERY_S
        if not newest:
            any_row = now
        number = rng.randrange(rows - rows // 50 if newest else 0, rows)
        words, sum_ = database.execute("SELECT words, sum FROM note WHERE id = ?", (number,)).fetchone()
        database.execute("UPDATE note SET asked = asked + 1 WHERE id = ?", (number,))
        wrong += zlib.crc32(words.encode()) != sum_
        queries += 1
        if queries % 10 == 0:
            time.sleep(0.01)
        if (now := time.monotonic()) - said > 0.5:
            said = now
            new = progress.with_suffix(".new")
            new.write_text(f"{queries} {time.process_time()} {wrong}")
            new.rename(progress)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
