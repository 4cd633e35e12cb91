"""The verdict says what the table says: outcomes by hand, and why something cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from builders.summary_rows import SETUP
from builders.summary_rows import summary_row as row
from pghot.lab.outcomes import SummaryRow
from pghot.lab.stood_still import why
from pghot.lab.verdict import Verdict, judge

NONE = row("none", 1.0, "baseline", promotions=0)
ORACLE = row("oracle-epoch", 1.4, "oracle")


def judged(*rows: SummaryRow) -> Verdict:
    """SETUP has 1000 pages: who promotes 0 of them stood still."""
    return judge([NONE, *rows], SETUP)


def notes(*rows: SummaryRow) -> str:
    return "\n".join(judged(*rows).notes)


@pytest.mark.parametrize(
    ("speedup", "outcome"),
    [
        (1.2, "pays"),
        (1.021, "pays"),
        (1.02, "does not pay"),
        (0.98, "does not pay"),
        (0.979, "hurts"),
        (0.9, "hurts"),
    ],
)
def test_a_gain_counts_above_two_per_cent(speedup: float, outcome: str) -> None:
    verdict = judged(row("numab2/hintfaults", speedup, runs_on="kernel"))
    assert (verdict.outcome, verdict.best) == (outcome, "numab2/hintfaults")
    assert verdict.to_dict()["gain"] == pytest.approx(speedup - 1)
    assert verdict.headline == f"Moving pages {outcome} on a released kernel."


@pytest.mark.parametrize(
    ("speedups", "outcome"),
    [
        # Three seeds that differ by d to each side have a half-width of 4.303 x d / sqrt(3) = 2.484 d.
        ((1.05, 1.06, 1.07), "pays"),  # 6 +- 2.5 %
        ((1.02, 1.06, 1.10), "cannot tell"),  # 6 +- 9.9 %: it may be 15, or nothing
        ((0.97, 1.01, 1.05), "cannot tell"),  # 1 +- 9.9 %
        ((1.005, 1.01, 1.015), "does not pay"),  # 1 +- 1.2 %
        ((0.93, 0.94, 0.95), "hurts"),  # -6 +- 2.5 %
        ((0.90, 0.94, 0.98), "cannot tell"),  # -6 +- 9.9 %: up to 3.9
        ((0.93, 0.95, 0.97), "does not pay"),  # -5 +- 5 %: at most 0, and that does not pay
    ],
)
def test_no_difference_within_what_the_seeds_differ_by(speedups: Sequence[float], outcome: str) -> None:
    verdict = judged(row("pghot-default/abit", speedups))
    assert verdict.outcome == outcome
    if outcome == "cannot tell":
        user_space = verdict.classes[1]
        assert (
            "the seeds do not tell whether that is a gain. More seeds (--seeds) would tell."
            in user_space.sentence
        )


def test_each_class_has_an_outcome_and_the_best_that_can_be_had_today_decides() -> None:
    verdict = judged(
        row("numab2/hintfaults", 0.9, runs_on="kernel"),
        row("pghot-default/abit", 1.1),
        row("pghot-default/chmu", 1.5, runs_on="to come"),
        row("hemem-colloid/pebs", 1.6, runs_on="to come"),
        row("pghot-default/truth", 1.9),
    )
    assert [each.outcome for each in verdict.classes] == ["hurts", "pays", "pays"]
    assert verdict.best_labels == {"numab2/hintfaults", "pghot-default/abit", "hemem-colloid/pebs"}
    assert verdict.best == "pghot-default/abit"
    assert verdict.sentences[:4] == [
        "Moving pages pays on a released kernel.",
        "The kernel alone: hurts. Even the best mover loses: numab2/hintfaults gains -10.0 % over 'none'.",
        "A released kernel with pghot in user space: pays. pghot-default/abit gains +10.0 % over 'none'.",
        "Patches or hardware to come: pays. hemem-colloid/pebs gains +60.0 % over 'none'.",
    ]


def test_a_mover_that_stood_still_is_not_said_to_lose() -> None:
    verdict = judged(row("pghot-default/hintfaults", 0.7), row("hemem/pebs", 0.999, promotions=0.0))
    assert verdict.classes[1].sentence == (
        "A released kernel with pghot in user space: hurts. Even the best of its movers that did not stand still "
        "loses: pghot-default/hintfaults gains -30.0 % over 'none'."
    )


def test_pghot_is_held_against_the_kernel_alone() -> None:
    kernel = row("numab2/hintfaults", 1.3, runs_on="kernel")
    assert "pghot-default/abit gains 20.0 points less than numab2/hintfaults of the kernel alone." in notes(
        kernel, row("pghot-default/abit", 1.1)
    )
    equal = notes(kernel, row("pghot-default/abit", 1.31))
    assert "of the kernel alone" not in equal
    assert "No difference to pghot-default/abit that counts: numab2/hintfaults." in equal
    assert "of the kernel alone" not in notes(kernel, row("pghot-default/chmu", 1.5, runs_on="to come"))


def test_what_is_to_come_does_not_decide_what_pays_today() -> None:
    chmu = row("pghot-default/chmu", 1.5, runs_on="to come")
    verdict = judged(row("numab2/hintfaults", 1.0, runs_on="kernel"), chmu)
    assert verdict.outcome == "does not pay"
    assert verdict.headline == (
        "Moving pages does not pay on a released kernel. It pays with patches or hardware to come."
    )
    alone = judged(chmu)
    assert (alone.outcome, alone.headline) == ("pays", "Moving pages pays with patches or hardware to come.")
    assert (
        "no mover of this class was run. `--policies numab2 --classes kernel` would tell."
        in alone.classes[0].sentence
    )


def test_movers_without_a_chance_do_not_make_moving_pages_not_pay() -> None:
    still = [
        row("pghot-default/hintfaults", 1.033, promotions=0, held_back={"threshold": 40, "nothing seen": 3}),
        row("pghot-precise/hintfaults", 1.033, promotions=0, held_back={"threshold": 41}),
        row("hemem/pebs", 1.0, promotions=0, held_back={"never pressed": 9}),
    ]
    verdict = judged(*still, ORACLE)
    assert (verdict.outcome, verdict.best) == ("cannot tell", "")
    assert verdict.headline == "Whether moving pages pays on a released kernel cannot be told."
    said = verdict.classes[1]
    assert said.unknown is not None
    assert said.unknown.reason == (
        "all its movers stood still, although oracle-epoch gains +40.0 %: "
        "pghot-default/hintfaults, pghot-precise/hintfaults (what it saw of the pages stayed below its threshold; "
        "--set NAME.freq_threshold=1, as in the published benchmarks, lets one sighting do); "
        "hemem/pebs (the tiers were never as busy as it waits for)"
    )
    assert said.unknown.would_tell == "a lower threshold, another source or a longer run (--duration)"
    assert "and no oracle was run" in judged(*still).classes[1].sentence


def test_a_lower_threshold_is_advised_only_where_there_is_one() -> None:
    def reason(name: str, *options: str) -> str:
        return why(row(name, 1.0, options=options, promotions=0, held_back={"threshold": 9}))

    plain = "what it saw of the pages stayed below its threshold"
    assert reason("pghot-hashed/abit").startswith(f"{plain}; --set NAME.freq_threshold=1")
    assert reason("pghot-hashed/abit", "freq_threshold=3").startswith(f"{plain}; --set NAME.freq_threshold=1")
    assert reason("pghot-hashed/abit", "freq_threshold=1") == plain
    assert reason("pghot-hashed-f1/abit") == plain
    assert reason("hemem/pebs") == f"{plain}; --set NAME.freq_threshold=1 lets one sighting do", (
        "no such benchmark"
    )
    assert reason("hemem/pebs", "freq_threshold=1") == plain
    assert reason("memtis/pebs") == plain, "it has no such knob"


def test_where_an_oracle_gains_nothing_there_was_nothing_to_find() -> None:
    still = row("pghot-default/hintfaults", 1.0, promotions=0)
    verdict = judged(still, row("oracle-epoch", 1.01, "oracle"), row("oracle-static", 1.02, "oracle"))
    assert (verdict.outcome, verdict.best) == ("does not pay", "")
    assert "even an oracle gains only +2.0 %." in verdict.classes[1].sentence


def test_who_stood_still_is_named_beside_who_moved() -> None:
    said = notes(
        row("numab2/hintfaults", 1.1), row("lru-bw", 1.3, promotions=0.9, held_back={"never pressed": 5})
    )
    assert (
        "Stood still, having promoted less than 0.1 % of the pages: lru-bw (the tiers were never as busy as it waits "
        "for)." in said
    )
    assert "Stood still" not in notes(row("lru-bw", 1.3, promotions=1.0)), "1 of 1000 pages"
    assert "(it gives no reason)" in notes(row("lru-bw", 1.3, promotions=0))


@pytest.mark.parametrize(
    ("change", "reason", "tells"),
    [
        ({"slices": 1}, "the recording has only 1 slice.", "one with shorter slices, would tell"),
        ({"slices": 9}, "only 9 slices.", "A longer recording"),
        ({"misses": 0}, "no access missed the recorded cache.", "A longer recording"),
        # of 32 times the recorded 1,000 pages, in two passes and a half
        (
            {"misses": 32 * 2498, "footprint_pages": 32_000},
            "999 cache misses for 1,000 pages.",
            "A longer recording",
        ),
        ({"llc_bytes": 4096_000}, "3.9 MiB fits in the recorded cache of 3.9 MiB", "a smaller cache"),
    ],
)
def test_too_little_in_a_recording_tells_nothing(change: dict[str, Any], reason: str, tells: str) -> None:
    rows = [NONE, row("numab2/hintfaults", 1.5, runs_on="kernel"), row("pghot-default/abit", 0.5)]
    assert judge(rows, SETUP).outcome == "pays"
    verdict = judge(rows, replace(SETUP, **change))
    assert verdict.outcome == "cannot tell"
    assert not verdict.notes
    for runs_on, each in zip(("kernel", "user space"), verdict.classes, strict=False):
        assert (each.runs_on, each.outcome) == (runs_on, "cannot tell")
        assert reason in each.sentence
        assert tells in each.sentence


def test_a_live_recording_makes_estimates() -> None:
    live = replace(SETUP, similarity=replace(SETUP.similarity, measured=True))
    said = "The recording is of a live system: its misses are estimates, and so are these gains."
    rows = [NONE, row("hemem/pebs", 1.5)]
    assert judge(rows, live).notes[0] == said
    assert said not in judge(rows, SETUP).notes


def test_a_part_of_a_recording_is_told() -> None:
    short = replace(SETUP, misses=300, timing=replace(SETUP.timing, passes=0.254))
    said = "Only 25 % of the recording was played: a longer run (--duration) may tell otherwise."
    assert judge([NONE, row("hemem/pebs", 1.5)], short).notes[0] == said
    assert "of the recording was played" not in notes(row("hemem/pebs", 1.5))


def test_no_misses_after_the_warm_up_tell_nothing() -> None:
    rows = [
        replace(each, figures=replace(each.figures, fast_miss_share=None))
        for each in (NONE, row("hemem/pebs", 1))
    ]
    assert "no access missed the cache after the warm-up" in judge(rows, SETUP).classes[1].sentence


def test_a_placement_is_no_mover() -> None:
    verdict = judged(row("interleave", 1.3, "static"))
    assert [each.outcome for each in verdict.classes] == ["cannot tell"] * 3


# ---- what is said about the best mover


def test_the_room_and_what_limits_the_best_mover() -> None:
    """All-fast takes 1/1.5 of the time of 'none', the mover 1/1.1: 0.0909 of 0.3333 is 27 %."""
    fast = row("all-fast", 1.5, "baseline")
    poor = row("numab2/hintfaults", 1.1, coverage=0.3, tracking_app_share=0.1)
    said = notes(fast, poor, ORACLE)
    assert (
        "in the top tier the gain is +50.0 %; numab2/hintfaults saves 27 % of the time that this saves."
        in said
    )
    assert "oracle-epoch, which knows the future, gains +40.0 %." in said
    assert (
        "What limits numab2/hintfaults: only 30 % of the true hot set is in fast memory; tracking and moving take 10 % "
        "of the program's time." in said
    )
    assert "What limits" not in notes(fast, poor), "without an oracle nobody knows whether more was possible"
    assert "What limits" not in notes(
        fast, row("numab2/hintfaults", 1.45, coverage=0.3), row("o", 1.5, "oracle")
    )
    pingpong = notes(fast, row("numab2/hintfaults", 1.1, pingpong=400.0), ORACLE)
    assert "80 % of its promotions repeat an earlier one" in pingpong


def test_a_slower_top_tier_and_little_to_gain() -> None:
    said = notes(
        row("all-fast", 0.95, "baseline"), row("hemem/pebs", 1.0), row("oracle-epoch", 1.01, "oracle")
    )
    assert "With all memory in the top tier the gain is -5.0 %." in said
    assert "No run that knows the future gains more than +1.0 %" in said


def test_a_gain_is_split_into_demotion_placement_and_moving() -> None:
    demotion, fixed = row("demotion", 1.03, "baseline"), row("oracle-static", 1.2, "oracle")
    said = notes(row("hemem/pebs", 1.1), demotion, fixed)
    assert "Demotion alone gains +3.0 %, and hemem/pebs 7.0 points more." in said
    assert (
        "The fixed placement of oracle-static gains +20.0 %, and hemem/pebs 10.0 points less: a fixed placement "
        "brings more." in said
    )
    assert "2.0 points less: moving brings no more than a fixed placement" in notes(
        row("hemem/pebs", 1.18), fixed
    )
    assert "5.0 points more: moving brings more." in notes(row("hemem/pebs", 1.25), fixed)
    assert "neither gain counts" in notes(row("hemem/pebs", 0.9), row("oracle-static", 1.02, "oracle"))
    assert "hemem/pebs 4.0 points less" in notes(row("hemem/pebs", 0.99), demotion)


def test_placements_that_never_promote_are_held_against_the_mover() -> None:
    mover = row("numab2/hintfaults", 1.1)
    assert "does about as well or better: interleave gains +12.0 %" in notes(
        mover, row("interleave", 1.12, "static")
    )
    assert "never promotes" not in notes(mover, row("interleave", 1.07, "static"))
    assert "never promotes" not in notes(row("numab2/hintfaults", 1.0), row("interleave", 1.02, "static"))


def test_ties_are_told_by_what_each_seed_shows() -> None:
    """The seeds move both alike: each differs by 3 to 5 %, so the mean of 4 % is a difference; alone they scatter."""
    best = row("hemem/pebs", (1.20, 1.30, 1.40))
    apart = row("pghot-default/abit", (1.17, 1.26, 1.35))  # 3, 4, 5 % less: 4 +- 2.5 %
    close = row("pghot-default/pebs", (1.25, 1.26, 1.27))  # -5, 4, 13 % less: 4 +- 22 %
    assert "No difference to hemem/pebs that counts: pghot-default/pebs." in notes(best, apart, close)


def test_who_loses_is_named_whether_it_moves_or_only_tracks() -> None:
    best = row("pghot-default/pebs", 1.2)
    said = notes(best, row("numab2/hintfaults", 0.9), row("pghot-default/abit", 0.8, promotions=0))
    assert "2 movers lose, pghot-default/abit the most: its gain over 'none' is -20.0 %." in said
    assert "numab2/hintfaults loses: its gain over" in notes(best, row("numab2/hintfaults", 0.9))
    assert "loses" not in notes(best, row("numab2/hintfaults", 0.98))


# ---- access rules, lost data, runs that do not compare


def under(access: str, fast: float, speedup: float, **none: Any) -> list[SummaryRow]:
    return [
        row("none", 1.0, "baseline", access=access, promotions=0, **none),
        row("all-fast", fast, "baseline", access=access),
        row("pghot-default/chmu", speedup, access=access, runs_on="to come"),
    ]


def test_a_rule_with_a_danger_is_not_recommended_without_a_word() -> None:
    writable, ro_cow = under("writable", 1.5, 1.4), under("ro-cow", 1.5, 1.3)
    said = str(judge([*ro_cow, *writable], SETUP))
    assert "Nothing was lost here, but under 'writable' a hostile program may destroy anyone's data" in said
    assert "`pghot margin` says which reserve" in said
    assert "pghot margin" not in str(judge(ro_cow, SETUP))


def test_a_run_is_measured_against_none_under_its_own_rule() -> None:
    """1 - 1/1.5 is half of 1 - 1/3."""
    verdict = judge([*under("ro-cow", 1.5, 1.2), *under("promote-on-write", 3.0, 1.5)], SETUP)
    assert verdict.best == "pghot-default/chmu [promote-on-write]"
    assert "gains +50.0 % over 'none [promote-on-write]'" in str(verdict)
    assert "the gain is +200.0 %; pghot-default/chmu [promote-on-write] saves 50 % of the time" in str(
        verdict
    )


def test_data_lost_by_none_under_one_rule_says_nothing_of_another() -> None:
    verdict = judge([*under("writable", 1.5, 1.4, lost_pages=3.0), *under("ro-cow", 1.5, 1.2)], SETUP)
    assert verdict.best == "pghot-default/chmu [ro-cow]"
    assert verdict.sentences[-1] == (
        "Not judged, for data was lost or a tenant killed, there or under 'none': pghot-default/chmu [writable]."
    )


def test_who_loses_data_is_not_judged() -> None:
    verdict = judged(row("writable/chmu", 1.5, lost_pages=3.0), row("ro-cow/chmu", 1.2))
    assert verdict.best == "ro-cow/chmu"
    assert "Not judged, for data was lost" in verdict.sentences[-1]


@pytest.mark.parametrize(
    "rows",
    [
        [NONE, row("contained/chmu", None)],
        [row("none", 1.0, "baseline", promotions=0, lost_pages=3.0), row("numab2/hintfaults", 1.2)],
    ],
)
def test_nobody_is_judged_when_nothing_can_be_compared(rows: list[SummaryRow]) -> None:
    verdict = judge(rows, SETUP)
    assert (verdict.outcome, verdict.best) == ("cannot tell", "")
    assert (
        "data was lost or a tenant killed under each of its movers, or under 'none'"
        in verdict.classes[1].sentence
    )
    assert rows[1].label in verdict.notes[-1]


def test_what_has_no_figure_is_passed_over() -> None:
    """Tenants were killed under them, not under the baseline."""
    dead = [row(name, None, kind) for name, kind in (("oracle-static", "oracle"), ("interleave", "static"))]
    verdict = judged(row("numab2/hintfaults", 1.2, coverage=0.5), *dead, row("all-fast", None, "baseline"))
    assert verdict.outcome == "pays"
    assert verdict.notes == ()
