"""Input files that the recorded programs read, generated with fixed seeds."""

from __future__ import annotations

import subprocess
import sysconfig
import tarfile
from pathlib import Path

import numpy as np


def sqlite_script(path: Path, rows: int, statements: int) -> None:
    """A table with an index, filled, then skewed point lookups, ranges, joins and updates."""
    rng = np.random.default_rng(2)
    keys = ((rng.pareto(1.1, statements) * rows / 200) % rows).astype(int) * 7919 % rows + 1
    kinds = rng.random(statements)
    lines = [
        "pragma cache_size=-400000;",
        "create table user(id integer primary key, city int, name text, bio text);",
        f"with recursive n(i) as (select 1 union all select i+1 from n where i<{rows}) insert into user "
        "select i, (i*48271)%9973, 'user'||i, printf('%0*d', 120+(i*31)%160, i) from n;",
        "create index user_city on user(city);",
    ]
    for key, kind in zip(keys.tolist(), kinds.tolist(), strict=True):
        if kind < 0.80:
            lines.append(f"select length(bio) from user where id={key};")
        elif kind < 0.88:
            lines.append(f"select sum(length(name)) from user where id between {key} and {key + 100};")
        elif kind < 0.94:
            lines.append(f"select count(*), max(name) from user where city={key % 9973};")
        else:
            lines.append(f"update user set bio=bio||'x' where id={key};")
    path.write_text("\n".join(lines) + "\n")


def zipf_text(path: Path, words: int, tokens: int) -> None:
    """Sentences whose words are drawn with probability 1/rank."""
    rng = np.random.default_rng(3)
    weights = 1.0 / np.arange(1, words + 1)
    drawn = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(tokens))
    drawn = np.concatenate(
        [rng.permutation(words), drawn]
    )  # every word once, so that all are in the vocabulary
    with path.open("w") as file:
        for start in range(0, len(drawn), 20):
            file.write(" ".join(f"w{word}" for word in drawn[start : start + 20]) + "\n")


def xz_archive(path: Path, size: int) -> None:
    """`size` bytes of a tar of the Python installation, compressed with a 96 MiB dictionary."""
    tar = path.with_suffix(".tar")
    with tarfile.open(tar, "w") as archive:
        for place in ("stdlib", "purelib"):
            archive.add(sysconfig.get_path(place), arcname=place)
            if tar.stat().st_size > size:
                break
    with tar.open("r+b") as file:
        file.truncate(size)
    with path.open("wb") as out:
        subprocess.run(["xz", "--lzma2=preset=1,dict=96MiB", "-T1", "-c", str(tar)], stdout=out, check=True)
    tar.unlink()
