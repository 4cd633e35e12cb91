"""What a recording holds, in words."""

from __future__ import annotations

from typing import Any

from pghot.report.summary_text import render

FACTS: dict[str, Any] = {
    "name": "tiny",
    "command": ["redis-server", "--port", "0"],
    "duration_ns": 5_000_000,
    "slices": 5,
    "footprint_bytes": 3 << 20,
    "caches": [{"bytes": 1 << 20, "misses": 1024}],
    "touches": 2300,
    "writes": 7,
    "patterns": {"sequential": None, "strided": None, "dependent": None},
    "processes": [],
    "tasks": [],
    "verification": "verified",
    "doubt": "",
    "seal": "0badcafe",
    "hot_set": [{"pages": 0.01, "misses": 0.25}, {"pages": 0.5, "misses": 0.9}],
    "compressibility": None,
    "regions": [{"name": "[heap]\x1b[31m", "kind": "heap", "pages": 700, "misses": 1000}],
}


def test_every_figure_has_its_words() -> None:
    assert render(FACTS).split("\n") == [
        "verified, seal 0badcafe",
        "tiny: redis-server --port 0",
        "5.00 ms in 5 slices; footprint 3.0 MiB; cache 1.0 MiB",
        "2,300 touches, 1,024 misses, 7 writes",
        "hottest 1.0 % of the pages take 25.0 % of the misses",
        "hottest 50.0 % of the pages take 90.0 % of the misses",
        r"[heap]\x1b[31m                           heap                700 pages          1,000 misses",
    ]


def test_what_is_doubtful_comes_first() -> None:
    text = render(FACTS | {"verification": "unverified", "doubt": "it has no seal\n"})
    assert text.split("\n")[0] == r"unverified: it has no seal\n"


def test_several_caches_patterns_and_threads() -> None:
    more = {
        "caches": [{"bytes": 1 << 20, "misses": 1024}, {"bytes": 4 << 20, "misses": 512}],
        "patterns": {"sequential": 256, "strided": 0, "dependent": None},
        "processes": [{"pid": 7, "name": "sh"}, {"pid": 8, "name": "redis"}],
        "tasks": [
            {"tid": 7, "process": 0, "name": "sh", "touches": 30, "misses": 24},
            {"tid": 9, "process": 1, "name": "io", "touches": 2270, "misses": 1000},
        ],
    }
    assert render(FACTS | more).split("\n")[4:8] == [
        "512 misses with a cache of 4.0 MiB",
        "of the misses are 25.0 % sequential, 0.0 % strided",
        "thread 9 io of redis: 1,000 misses",
        "thread 7 sh of sh: 24 misses",
    ]
