"""What a recording holds, in words."""

from __future__ import annotations

from typing import Any

import pytest

from pghot.report.summary_text import render

FACTS: dict[str, Any] = {
    "name": "tiny",
    "command": ["redis-server", "--port", "0"],
    "duration_ns": 5_000_000,
    "slices": 5,
    "footprint_bytes": 3 << 20,
    "llc": {"bytes": 1 << 20, "ways": 16},
    "touches": 2300,
    "misses": 1024,
    "writes": 7,
    "complete": True,
    "losses": {"damage": ""},
    "hot_set": [{"pages": 0.01, "misses": 0.25}, {"pages": 0.5, "misses": 0.9}],
    "compressibility": None,
    "regions": [{"name": "[heap]\x1b[31m", "pages": 700, "misses": 1000}],
}


def test_every_figure_has_its_words() -> None:
    assert render(FACTS).split("\n") == [
        "tiny: redis-server --port 0",
        "5.00 ms in 5 slices; footprint 3.0 MiB; cache 1.0 MiB",
        "2,300 touches, 1,024 misses, 7 writes",
        "hottest 1.0 % of the pages take 25.0 % of the misses",
        "hottest 50.0 % of the pages take 90.0 % of the misses",
        r"[heap]\x1b[31m                                 700 pages          1,000 misses",
    ]


@pytest.mark.parametrize(
    ("damage", "said"),
    [("", "incomplete: the recorder was stopped"), ("bad checksum", "incomplete: bad checksum")],
)
def test_what_is_missing_is_told(damage: str, said: str) -> None:
    text = render(FACTS | {"complete": False, "losses": {"damage": damage}})
    assert text.split("\n")[3] == said
