"""Names with what they stand for."""

from __future__ import annotations

from pghot.report.name_list import render


def test_summaries_stand_in_one_column() -> None:
    assert render({"a": "the first", "bcd": ""}, {}) == "a    the first\nbcd"


def test_where_a_name_works_stands_between() -> None:
    text = render({"abit": "scans", "damon": "asks\x07"}, {"abit": "both", "damon": "live"})
    assert text == "abit   both  scans\ndamon  live  asks\\x07"
