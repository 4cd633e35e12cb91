"""`dir(pghot)` shows what there is to use, and nothing that is not there."""

from __future__ import annotations

import pghot


def test_dir_shows_what_there_is() -> None:
    assert {
        "open",
        "record",
        "compare",
        "Recording",
        "Comparison",
        "Curves",
        "PghotError",
        "__version__",
    } <= set(dir(pghot))
    for name in dir(pghot):
        assert getattr(pghot, name) is not None, name
