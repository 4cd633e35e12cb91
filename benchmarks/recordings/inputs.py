"""Input files that the recorded programs read, generated with fixed seeds."""

from __future__ import annotations

import subprocess
import sysconfig
import tarfile
from pathlib import Path

import numpy as np


def library_text(size: int) -> bytes:
    """So much of the sources of Python's library, ASCII only: contents that a user's text may be like."""
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return b"".join(file.read_bytes() for file in sources).translate(None, bytes(range(128, 256)))[:size]


def sqlite_script(path: Path, rows: int, statements: int, text: bytes = b"") -> None:
    """A table with an index, filled, then skewed point lookups, ranges, joins and updates.

    Long values are numbers with zeros in front, or as long pieces of `text`.
    """
    value = "printf('%0*d', 120+(i*31)%160, i)"
    pieces = [text[at : at + 280].decode().replace("'", "''") for at in range(0, len(text) - 280, 280)]
    if text:
        value = f"(select substr(words, 1, 120+(i*31)%160) from piece where piece.id=(i*48271)%{len(pieces)})"
    lines = [
        "pragma cache_size=-400000;",
        *(["create table piece(id integer primary key, words text);"] if text else []),
        *(f"insert into piece values ({number}, '{piece}');" for number, piece in enumerate(pieces)),
        "create table user(id integer primary key, city int, name text, bio text);",
        f"with recursive n(i) as (select 1 union all select i+1 from n where i<{rows}) insert into user "
        f"select i, (i*48271)%9973, 'user'||i, {value} from n;",
        "create index user_city on user(city);",
    ]
    path.write_text("\n".join(lines + _statements(rows, statements)) + "\n")


def sqlite_reads(path: Path, rows: int, statements: int) -> None:
    """A scan of the table of `sqlite_script`, then its skewed statements but for the updates."""
    reads = [line for line in _statements(rows, statements) if not line.startswith("update")]
    path.write_text("\n".join(["select sum(length(bio)) from user;", *reads]) + "\n")


def _statements(rows: int, statements: int) -> list[str]:
    rng = np.random.default_rng(2)
    keys = ((rng.pareto(1.1, statements) * rows / 200) % rows).astype(int) * 7919 % rows + 1
    lines = []
    for key, kind in zip(keys.tolist(), rng.random(statements).tolist(), strict=True):
        if kind < 0.80:
            lines.append(f"select length(bio) from user where id={key};")
        elif kind < 0.88:
            lines.append(f"select sum(length(name)) from user where id between {key} and {key + 100};")
        elif kind < 0.94:
            lines.append(f"select count(*), max(name) from user where city={key % 9973};")
        else:
            lines.append(f"update user set bio=bio||'x' where id={key};")
    return lines


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
    """`size` bytes of a tar of the Python installation, compressed with a 256 MiB dictionary."""
    tar = path.with_suffix(".tar")
    with tarfile.open(tar, "w") as archive:
        for place in ("stdlib", "purelib"):
            archive.add(sysconfig.get_path(place), arcname=place)
            if tar.stat().st_size > size:
                break
    with tar.open("r+b") as file:
        file.truncate(size)
    with path.open("wb") as out:
        subprocess.run(["xz", "--lzma2=preset=1,dict=256MiB", "-T1", "-c", str(tar)], stdout=out, check=True)
    tar.unlink()
