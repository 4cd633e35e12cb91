"""The tests' own way to wait."""

from __future__ import annotations

import pytest

from waiting import until


def test_it_returns_when_it_holds_and_looks_no_further() -> None:
    looks = iter([False, 0, "yes"])
    assert until(lambda: next(looks), "three looks", every_s=0) >= 0
    assert list(looks) == []


def test_what_does_not_come_is_named_with_what_there_is_instead() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the last page on node 0: 22 of 23"):
        until(lambda: False, "the last page on node 0", lambda: "22 of 23", guard_s=0)
