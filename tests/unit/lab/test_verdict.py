"""The verdict says what the figures say."""

from __future__ import annotations

from typing import Any

import pytest

from builders.summary_rows import summary_row as row
from pghot.lab.outcomes import SummaryRow
from pghot.lab.verdict import judge

PAGES = 1000  # of the footprint
NONE = row("none", 1.0, "baseline", promotions=0)


@pytest.mark.parametrize(
    ("speedup", "outcome"), [(1.2, "pays"), (1.01, "does not pay"), (0.99, "does not pay"), (0.9, "hurts")]
)
def test_outcomes(speedup: float, outcome: str) -> None:
    verdict = judge([NONE, row("numab2/hintfaults", speedup)], PAGES)
    assert (verdict.outcome, verdict.best) == (outcome, "numab2/hintfaults")
    assert verdict.gain == pytest.approx(speedup - 1)


def test_a_gain_inside_the_confidence_interval_is_none() -> None:
    assert judge([NONE, row("numab2/hintfaults", 1.1, half=0.2)], PAGES).outcome == "does not pay"


def test_nothing_that_moves_is_nothing_to_compare() -> None:
    assert judge([NONE, row("interleave", 1.3, "static")], PAGES).outcome == "nothing to compare"


def under(access: str, slowdown: float, speedup: float, **none: Any) -> list[SummaryRow]:
    """'none', which takes `slowdown` times as long as all-fast, and a mover that is `speedup` times as fast."""
    return [
        row("none", 1.0, "baseline", access=access, promotions=0, slowdown=slowdown, **none),
        row("pghot-default/chmu", speedup, access=access, slowdown=slowdown / speedup),
    ]


def test_a_rule_with_a_danger_is_not_recommended_without_a_word() -> None:
    writable, ro_cow = under("writable", 1.5, 1.4), under("ro-cow", 1.5, 1.3)
    said = str(judge([*ro_cow, *writable], PAGES))
    assert "Nothing was lost here, but under 'writable' a hostile program may destroy anyone's data" in said
    assert "`pghot margin` says which reserve" in said
    assert "pghot margin" not in str(judge(ro_cow, PAGES))


def test_a_run_is_measured_against_none_under_its_own_rule() -> None:
    """'none' takes 1.5 times as long as all-fast under one rule and 3 times under the other: half of 2 is captured."""
    verdict = judge([*under("ro-cow", 1.5, 1.2), *under("promote-on-write", 3.0, 1.5)], PAGES)
    assert verdict.best == "pghot-default/chmu [promote-on-write]"
    assert "is 50 % faster than 'none [promote-on-write]' in the steady state" in str(verdict)
    assert "All-fast would be 200 % faster than 'none [promote-on-write]'" in str(verdict)
    assert "captures 50 % of that gap" in str(verdict)


def test_data_lost_by_none_under_one_rule_says_nothing_of_another() -> None:
    verdict = judge([*under("writable", 1.5, 1.4, lost_pages=3.0), *under("ro-cow", 1.5, 1.2)], PAGES)
    assert verdict.best == "pghot-default/chmu [ro-cow]"
    assert "Not judged" in verdict.sentences[-1]
    assert "pghot-default/chmu [writable]" in verdict.sentences[-1]


def test_truth_is_no_mover_and_who_promotes_nothing_is_not_judged() -> None:
    rows = [
        NONE,
        row("pghot-default/truth", 1.4),
        row("lru-bw", 1.3, promotions=0.0),
        row("numab2/hintfaults", 1.1),
    ]
    verdict = judge(rows, PAGES)
    assert verdict.best == "numab2/hintfaults"
    assert "Not judged, having promoted (almost) nothing: lru-bw." in verdict.sentences
    idle = judge([NONE, row("lru-bw", 1.3, promotions=0.0)], PAGES)
    assert (idle.outcome, idle.best, idle.gain) == ("does not pay", "", 0.0)


def test_what_limits_the_best_mover() -> None:
    said = str(judge([NONE, row("numab2/hintfaults", 1.1, coverage=0.3, tracking_app_share=0.1)], PAGES))
    assert "only 30 % of the true hot set is in fast memory" in said
    assert "take 10 % of the program's time" in said
    assert "captures 27 % of that gap" in said, "1 - 1.364 over 1 - 1.5"
    nearly = str(judge([NONE, row("numab2/hintfaults", 1.49, coverage=0.3)], PAGES))
    assert "What limits it" not in nearly
    pingpong = str(judge([NONE, row("numab2/hintfaults", 1.1, pingpong=400.0)], PAGES))
    assert "80 % of its promotions repeat an earlier one" in pingpong


def test_little_to_gain_and_a_slower_top_tier() -> None:
    small = str(judge([row("none", 1.0, "baseline", slowdown=1.01), row("numab2/hintfaults", 1.0)], PAGES))
    assert "There is little to gain" in small
    slower = str(judge([row("none", 1.0, "baseline", slowdown=0.95), row("numab2/hintfaults", 1.0)], PAGES))
    assert "would be 5.0 % slower: it trades latency for bandwidth" in slower


def test_fixed_placements_are_held_against_the_mover() -> None:
    rows = [NONE, row("numab2/hintfaults", 1.1)]
    assert "oracle-static, is 9.1 % faster still" in str(
        judge([*rows, row("oracle-static", 1.2, "oracle")], PAGES)
    )
    assert "What never promotes does as well or better: interleave" in str(
        judge([*rows, row("interleave", 1.12, "static")], PAGES)
    )
    assert "demotion" in str(judge([*rows, row("demotion", 1.1, "baseline")], PAGES))
    assert "never promotes" not in str(judge([*rows, row("interleave", 1.0, "static")], PAGES))


def test_who_hurts_is_named() -> None:
    rows = [NONE, row("numab2/hintfaults", 0.8), row("pghot-default/abit", 1.2)]
    assert "numab2/hintfaults is 25 % slower than 'none'" in str(judge(rows, PAGES))
    assert "Even an oracle gains nothing" in str(
        judge([NONE, row("numab2/hintfaults", 1.0), row("oracle-epoch", 1.0, "oracle")], PAGES)
    )


def test_an_oracle_that_does_worse_than_a_mover_says_nothing() -> None:
    """As with compressed memory, of which it knows nothing."""
    rows = [NONE, row("writable/chmu", 1.4), row("oracle-epoch", 0.8, "oracle")]
    assert "oracle" not in str(judge(rows, PAGES))


def test_who_loses_data_is_not_judged() -> None:
    verdict = judge([NONE, row("writable/chmu", 1.5, lost_pages=3.0), row("ro-cow/chmu", 1.2)], PAGES)
    assert verdict.best == "ro-cow/chmu"
    assert "Not judged, for data was lost" in str(verdict)
    assert "writable/chmu" in str(verdict)


def test_nobody_is_judged_when_nothing_can_be_compared() -> None:
    verdict = judge([NONE, row("contained/chmu", None)], PAGES)
    assert (verdict.outcome, verdict.best) == ("nothing to compare", "")
    assert "contained/chmu" in str(verdict)


def test_oracles_and_placements_without_a_figure_are_passed_over() -> None:
    """Their tenants were killed while the baseline's were not."""
    dead = [row("oracle-static", None, "oracle"), row("interleave", None, "static")]
    verdict = judge([NONE, row("numab2/hintfaults", 1.2, coverage=0.5), *dead], PAGES)
    assert (verdict.outcome, verdict.best) == ("pays", "numab2/hintfaults")


def test_a_baseline_that_lost_data_is_none() -> None:
    lossy = row("none", 1.0, "baseline", promotions=0, lost_pages=3.0)
    verdict = judge([lossy, row("numab2/hintfaults", 1.2)], PAGES)
    assert verdict.outcome == "nothing to compare"
    assert "numab2/hintfaults" in " ".join(verdict.sentences)


def test_without_a_sound_all_fast_nothing_is_said_about_the_gap() -> None:
    rows = [
        row("none", 1.0, "baseline", promotions=0, slowdown=None),
        row("numab2/hintfaults", 1.2, slowdown=None),
    ]
    verdict = judge(rows, PAGES)
    assert verdict.sentences == [
        "Moving pages pays: the best mover, numab2/hintfaults, is 20 % faster than 'none' in the steady state."
    ]
