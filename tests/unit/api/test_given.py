"""Text is taken in Python where the command line takes it: names, shares, sizes, times."""

from __future__ import annotations

from typing import Any

import pytest

from pghot.api.given import names, settings, several_shares
from pghot.errors import UsageError
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("numab2", ["numab2"]),
        (" numab2 , pghot,", ["numab2", "pghot"]),
        ("", []),
        (["numab2"], ["numab2"]),
        ((), ()),
        (RunSpec("none"), [RunSpec("none")]),
        (7.5, 7.5),
    ],
)
def test_one_name_needs_no_list(given: Any, taken: Any) -> None:
    assert names(given) == taken


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("20%", None),
        (0.2, None),
        (None, None),
        ("as-file", None),
        ("50%,10%", [0.1, 0.5]),
        ("5%..15%", [0.05, 0.1, 0.15]),
        ([0.5, "20%", "50%"], [0.2, 0.5]),
        (["20%"], [0.2]),
    ],
)
def test_several_shares_are_told_from_one(given: Any, taken: Any) -> None:
    assert several_shares(given) == taken


@pytest.mark.parametrize("given", [[], [None], "10%,x", [120]])
def test_what_is_no_share_is_an_error_with_a_remedy(given: Any) -> None:
    with pytest.raises(UsageError) as caught:
        several_shares(given)
    assert caught.value.hint


def test_settings_are_taken_as_text_or_as_numbers() -> None:
    text = {
        "fast_share": "30%",
        "warmup": "10%",
        "duration_s": "1min",
        "slice_ms": "2ms",
        "page_bytes": "2MiB",
    }
    plain = {"fast_share": 0.3, "warmup": 0.1, "duration_s": 60.0, "slice_ms": 2.0, "page_bytes": 2 << 20}
    assert settings(text) == plain == settings(plain)
    assert settings({"duration_s": "one-pass", "fast_share": "as-file"}) == {
        "duration_s": None,
        "fast_share": None,
    }
    assert Setting(**settings({"stands_for": "16x"})).times == 16
    assert Setting(**settings({"stands_for": "1 GiB"})).stands_for == 1 << 30
    assert settings({"placement": "slow", "seeds": 2}) == {"placement": "slow", "seeds": 2}
