"""How much fast memory keeps a slowdown: the search by hand, and the answer checked by a comparison at that size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pghot
from builders.replicated import replicated, zipf_heat
from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.lab.setting import Setting
from pghot.lab.size import FIRST, NARROW, Search, size
from pghot.recording.writer import write_recording

TRACE = replicated(zipf_heat(256), 1, slices=20, misses=20_000)
SETTING = Setting(duration_s=None, seeds=2)
WORDS = ["--policies", "none,demotion", "--duration", "one-pass", "--seeds", "1", "--slowdown", "0.01%"]


def searched(points: dict[float, list[float]], slowdown: float = 1.1) -> Search:
    search = Search(slowdown)
    for share, slowdowns in points.items():
        search.add("a", share, slowdowns)
    return search


def test_the_bracket_begins_after_the_last_share_that_is_too_slow() -> None:
    assert searched({0.2: [1.3], 0.4: [1.05], 0.7: [1.0]}).bracket("a") == (0.2, 0.4)
    # It is slower again at 0.4: less is not enough, although 0.2 was.
    assert searched({0.2: [1.05], 0.4: [1.2], 0.7: [1.0]}).bracket("a") == (0.4, 0.7)
    assert searched({0.2: [1.3], 0.7: [1.2]}).bracket("a") == (0.7, None)
    assert searched({0.2: [1.1], 0.7: [1.0]}).bracket("a") == (0.0, 0.2)
    # The mean decides: 1.11 with these two seeds.
    assert searched({0.2: [1.0, 1.22], 0.7: [1.0, 1.0]}).bracket("a") == (0.2, 0.7)


def test_brackets_are_halved_until_they_are_narrow() -> None:
    """A slowdown of 1.5 - share falls to 1.1 at 0.4; from 0.2..0.7 it takes five more looks."""
    search = searched({share: [1.5 - share] for share in (0.2, 0.7)}, 1.1001)
    tried = []
    while shares := search.next_shares():
        (share,) = shares
        tried.append(share)
        search.add("a", share, [1.5 - share])
    assert tried == [0.45, 0.33, 0.39, 0.42, 0.41]
    assert search.bracket("a") == (0.39, 0.41)
    assert search.answers("a") == [pytest.approx(0.3999)]
    assert search.shares() == [0.2, 0.33, 0.39, 0.41, 0.42, 0.45, 0.7]


@given(
    st.lists(st.floats(1.0, 1.2), min_size=len(FIRST), max_size=len(FIRST)),
    st.lists(st.floats(1.0, 1.2), min_size=9, max_size=9),
)
def test_no_more_looks_follow_than_were_foreseen(first: list[float], later: list[float]) -> None:
    """Whatever they find: the slowdown need not fall."""
    search = searched({share: [slowdown] for share, slowdown in zip(FIRST, first, strict=True)})
    left = search.most_left()
    assert left <= 4  # the widest gap of 0.3
    while shares := search.next_shares():
        (share,) = shares
        search.add("a", share, [later.pop()])
        assert search.most_left() < left
        left = search.most_left()
    assert left == 0


def test_progress_never_goes_back_and_ends() -> None:
    said: list[float] = []
    size(
        TRACE, policies=["none", "demotion", "lru-bw"], slowdown=1.02, setting=SETTING,
        progress=lambda done, total: said.append(done / total),
    )  # fmt: skip
    assert said == sorted(said)
    assert said[0] == 0
    assert said[-1] == 1
    assert said.count(1) < 4  # not long before the end


def test_each_seed_has_its_own_answer() -> None:
    """Between 0.2 and 0.4 the first falls from 1.3 to 1.0, the second from 1.2 to 1.1, and the third not enough."""
    search = searched({0.2: [1.3, 1.2, 1.4], 0.4: [1.0, 1.1, 1.2]})
    first, second, third = search.answers("a")
    assert first == pytest.approx(0.2 + 0.2 * 2 / 3)
    assert second == pytest.approx(0.4)
    assert third is None
    assert searched({0.2: [1.05], 0.4: [1.0]}).answers("a") == [0.2]


def test_runs_whose_brackets_meet_share_a_comparison() -> None:
    search = searched({0.2: [1.3], 0.4: [1.05]})
    for share, slowdown in ((0.2, 1.2), (0.4, 1.0)):
        search.add("b", share, [slowdown])
    search.add("c", 0.2, [1.2])
    assert search.next_shares() == {0.3: ["a", "b"]}


def test_a_program_that_is_killed_is_slower_than_anything() -> None:
    search = searched({0.2: [float("inf")], 0.4: [1.0]})
    assert search.bracket("a") == (0.2, 0.4)
    assert searched({0.2: [1.0, float("inf")]}).at_largest("a") is None


def test_with_the_answer_the_slowdown_is_the_wanted_one() -> None:
    found = size(TRACE, policies=["none", "oracle-static"], slowdown=1.3, setting=SETTING)
    assert [each.label for each in found.sizes] == ["none", "oracle-static"]
    for each in found.sizes:
        assert each.fast_share is not None
        assert each.most is not None
        assert each.most - each.least <= NARROW + 1e-9
        assert each.least < each.fast_share <= each.most
        rows = pghot.compare(
            TRACE, policies=[each.label], duration_s=None, seeds=2, fast_share=each.fast_share
        ).rows
        slowdown = next(row.figures.slowdown for row in rows if row.label == each.label)
        assert slowdown == pytest.approx(1.3, abs=0.02), each.label
    none, oracle = (each.fast_share for each in found.sizes)
    assert oracle < none


def test_what_no_size_reaches_is_said_with_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "a.pghot")
    write_recording(Path(path), TRACE)
    assert run(["size", path, *WORDS]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("  none "))
    assert "no size that was tried: with the largest it takes " in line
    assert " % longer, " in line
    assert line.endswith(" points too many")
    assert run(["size", path, *WORDS, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    none = next(each for each in facts["sizes"] if each["label"] == "none")
    assert (facts["schema"], none["fast_share"], none["most"]) == ("pghot.size/1", None, None)
    assert none["at_largest"] > 1.0001
    assert none["missed_by"] == none["at_largest"] - 1.0001
    points = f"{100 * none['missed_by']:.2g} points too many"
    assert line.endswith(points)


def test_a_slowdown_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="a slowdown of 0 % cannot be kept"):
        size("workload:zipf", slowdown=1.0)
