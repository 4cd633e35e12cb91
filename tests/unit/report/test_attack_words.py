"""Attacks in words, and the rules side by side."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from pghot.report.attack_rules import rules_table
from pghot.report.attack_words import in_words
from pghot.rules import CONTAINED, WRITABLE
from pghot.safety.adversary.attacks import Strategy
from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.search import Campaign
from pghot.safety.adversary.trial import AttackOutcome
from pghot.safety.margin import Host
from pghot.sim.compressed.device import load_device

GIB = 1 << 30
OTHER = {
    "order": "fifo", "edge": False, "hold": 0.25, "stream": 0.5, "decoys": 0.05, "across": True, "flush": True,
    "around": True, "regrow": True, "pins": 1.0, "zero_copy": True, "lead": 1, "spare": 0.2, "attackers": 1,
    "pause": 1, "cycles": 3, "noise": 0.3,
}  # fmt: skip


def scene(rule: object = WRITABLE, reserve: int = 0) -> Scene:
    return Scene(load_device("multi-mode"), Host(), 4 * GIB, 8 * GIB, rule, reserve, tenants=3)  # type: ignore[arg-type]


def test_each_number_of_a_strategy_is_told() -> None:
    """A field that is forgotten would leave the words of an attack that does nothing."""
    assert set(OTHER) == {field.name for field in fields(Strategy)}
    told = {in_words(replace(Strategy(), **{name: value}), scene()) for name, value in OTHER.items()}
    assert len(told) == len(OTHER)
    assert "fill the device, nothing else" not in told
    assert not any("=" in words for words in told)
    assert in_words(Strategy(), scene()) == "fill the device, nothing else"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hold": 1.0, "attackers": 2}, "100 % of the cache kept full of victims' dirty lines until the end; "
         "2 of 3 tenants attack, the others fill their memory"),
        ({"attackers": 3}, "fill the device, nothing else"),
        ({"lead": 1, "pause": 1}, "1 page demoted ahead of the others; 1 line time between phases"),
    ],
)  # fmt: skip
def test_words(change: dict[str, object], words: str) -> None:
    assert in_words(replace(Strategy(), **change), scene()) == words  # type: ignore[arg-type]


def outcome(lost: int) -> AttackOutcome:
    least = -4096 if lost else 2 * 4096
    return AttackOutcome(
        **{
            field.name: {
                "name": "a<b",
                "strategy": Strategy(),
                "least_bytes": least,
                "lost_writes": lost,
            }.get(field.name, 1)
            for field in fields(AttackOutcome)
        }
    )


@pytest.mark.parametrize(
    ("lost", "said"), [(0, "held: at least 8.0 KiB remained"), (3, "broken by &#x27;a&lt;b&#x27;")]
)
def test_rules_stand_side_by_side_and_the_broken_one_is_named(lost: int, said: str) -> None:
    attacked = scene(WRITABLE, GIB)
    found = attacked.margins()
    table = rules_table(found, Campaign(attacked, (outcome(lost),)))
    rows = re.findall(
        r"<tr( class=best)?><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", table
    )
    assert [row[1] for row in rows] == list(found.rules)
    assert [row[1:] for row in rows if row[0]] == [
        ("writable", "no reserve is enough", "can be broken", said)
    ]
    for _, name, _, safe, attack in rows:
        margin = found.rules[name]
        assert (safe == "safe") == (margin.fits and margin.reserve_bytes <= GIB)
        assert name == "writable" or attack == "not attacked"
    assert {row[3] for row in rows} == {"safe", "can be broken"}
    assert CONTAINED.name in {row[1] for row in rows}
