"""The adversary: the calculator's reserves are enough and hardly too much; sound rules lose nothing, others do."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.rules import PROMOTE_ON_WRITE, RO_COW, RULES, WRITABLE
from pghot.safety.adversary.attacks import ATTACKS, Strategy, attack, build
from pghot.safety.adversary.scene import Scene, scaled
from pghot.safety.adversary.search import necessary_reserve, run_named, search, soak
from pghot.safety.adversary.state import DIRTY, REFUSED, USED, WARNED, new_state
from pghot.safety.adversary.steps import COLD, STORE_RAW, audit, play, record
from pghot.safety.adversary.trial import history, run_attack
from pghot.safety.margin import Host
from pghot.sim.compressed.device import DEVICES, load_device

GIB = 1 << 30
REAL, PROMISED = 64 * GIB, 128 * GIB

# Rule, host, promised, the attack that shows the reserve to be necessary.
CASES: dict[str, tuple[str, Host, int, str]] = {
    "writable": ("writable", Host(write_gb_s=1, promotion_gb_s=16), 66 * GIB, "streaming-writes"),
    "writable, protected": ("writable", Host(protect_us=50), PROMISED, "llc-of-spoiled-lines"),
    "writable, protected late": (
        "writable",
        Host(write_gb_s=1, promotion_gb_s=16, protect_us=1e9),
        66 * GIB,
        "streaming-writes",
    ),
    "contained": ("contained", Host(kill_us=1000), PROMISED, "budget-overrun"),
    "ro-cow, no flush": ("ro-cow", Host(flush=False), PROMISED, "flush-around"),
    "ro-cow, growth": ("ro-cow", Host(charge="growth", grants=1 << 19), PROMISED, "shrink-and-regrow"),
    "ro-cow, line": ("ro-cow", Host(charge="line", grants=1 << 20), PROMISED, "line-after-line"),
    "ro-cow, pins": ("ro-cow", Host(pin_promotes=False, pinned=4 * GIB), PROMISED, "zero-copy-buffers"),
    "promote, no flush": ("promote-on-write", Host(flush=False), PROMISED, "flush-around"),
    "promote, batch": ("promote-on-write", Host(ask="batch", batch_pages=1 << 17), PROMISED, "last-batch"),
}


def scene_of(device: str, rule: str, host: Host, promised: int = PROMISED, reserve: int = 0) -> Scene:
    """In small; the device warns only when the reserve is touched, so that the reserve is what is tested."""
    late = load_device(device).model_copy(update={"low_share": 1e-6, "high_share": 0.02})
    return scaled(Scene(late, host, REAL, promised, RULES[rule], reserve), 8192)


@pytest.mark.parametrize("device", DEVICES.names())
@pytest.mark.parametrize("case", CASES)
def test_the_calculators_reserve_is_enough_and_at_most_a_tenth_too_much(case: str, device: str) -> None:
    rule, host, promised, breaker = CASES[case]
    scene = scene_of(device, rule, host, promised)
    needed = scene.needed()
    if needed == 0:
        assert case == "ro-cow, line"
        assert device in ("ocp-4k", "dedup"), "one line costs a block there, so nothing is undercharged"
        return
    assert 16 * 4096 < needed < scene.real
    assert not run_named(scene.with_reserve(int(needed)), list(ATTACKS)).lost
    necessary, by = necessary_reserve(scene, [breaker])
    assert by == breaker
    assert needed <= 1.1 * necessary


SAFE: dict[str, tuple[str, Host]] = {
    "ro-cow": ("ro-cow", Host(grants=1 << 16, pinned=GIB)),
    "promote-on-write": ("promote-on-write", Host(pinned=GIB)),
    "contained": ("contained", Host(kill_us=1000, pinned=GIB)),
    "writable, protected": ("writable", Host(protect_us=50, pinned=GIB)),
}


@pytest.mark.parametrize("rule", SAFE)
def test_ten_million_steps_of_noisy_attacks_lose_nothing_under_a_safe_rule(rule: str) -> None:
    scenes = [scene_of(device, *SAFE[rule]) for device in ("ocp-4k", "multi-mode")]
    campaigns = [soak(s.with_reserve(int(s.needed())), 5 * 10**6) for s in scenes]
    assert sum(campaign.steps for campaign in campaigns) >= 10**7
    assert [campaign.worst.least_bytes for campaign in campaigns if campaign.lost] == []


def test_writable_with_too_small_a_reserve_does_lose() -> None:
    rule, host, promised, _ = CASES["writable"]
    scene = scene_of("ocp-4k", rule, host, promised)
    campaign = run_named(scene.with_reserve(int(0.8 * scene.needed())), ["streaming-writes"])
    assert campaign.lost
    assert campaign.worst.first_loss_step is not None
    assert campaign.worst.least_bytes < 0


def test_a_search_is_replayable_and_finds_what_a_missing_flush_costs() -> None:
    scene = scene_of("ocp-4k", "ro-cow", Host(flush=False))
    scene = scene.with_reserve(int(0.8 * scene.needed()))
    one, two = search(scene, 20, seed=3), search(scene, 20, seed=3)
    assert [o.to_dict() for o in one.outcomes] == [o.to_dict() for o in two.outcomes]
    assert len(one.outcomes) == 20
    assert one.lost
    again = run_attack(scene, one.worst.strategy, one.worst.name, one.worst.seed)
    assert again == one.worst


def test_noise_and_seed_make_another_trace_of_the_same_length() -> None:
    scene = scene_of("line-64", "writable", Host())
    strategy = Strategy(stream=0.1, noise=0.5)
    one, two = build(scene, strategy, 1), build(scene, strategy, 2)
    assert one.shape == two.shape
    assert not np.array_equal(one, two)


def test_a_refused_demotion_stays_where_it_was_and_is_counted() -> None:
    scene = scene_of("ocp-4k", "promote-on-write", Host())
    pages = np.arange(scene.pages, dtype=np.int32)
    state = new_state(scene.with_reserve(scene.real))
    play(state, np.stack([np.full_like(pages, COLD), pages, np.zeros_like(pages)], 1))
    assert state.var[REFUSED] == scene.pages
    assert not state.place.any()
    assert audit(state) == state.var[USED] == 0


def test_a_record_of_a_run_ends_where_the_run_ends() -> None:
    scene = scene_of("ocp-4k", "writable", Host())
    trace = build(scene, Strategy(stream=0.5, flush=True))
    state, out = new_state(scene), np.zeros((len(trace), 5), np.int64)
    record(state, trace, 1, out)
    assert tuple(out[-1, [0, 2, 3, 4]]) == (
        len(trace) - 1,
        scene.real - state.var[USED],
        state.var[DIRTY],
        state.var[WARNED],
    )
    assert (np.diff(out[:, 1]) >= 0).all()
    coarse = np.zeros((-(-len(trace) // 7), 5), np.int64)
    again = new_state(scene)
    record(again, trace, 7, coarse)
    assert (again.var == state.var).all()
    assert [row[2] for row in coarse] == [out[i : i + 7, 2].min() for i in range(0, len(out), 7)]
    assert (out[coarse[:, 0]] == coarse).all()


@pytest.mark.parametrize(
    ("case", "name"), [("ro-cow, no flush", "flush-around"), ("contained", "budget-overrun")]
)
def test_the_history_of_an_attack_is_the_attack_again(case: str, name: str) -> None:
    rule, host, promised, _ = CASES[case]
    scene = scene_of("ocp-4k", rule, host, promised)
    scene = scene.with_reserve(int(0.8 * scene.needed()))
    outcome = run_attack(scene, attack(name, scene), name)
    shown = history(scene, outcome)
    assert outcome.lost_writes
    assert shown.remaining.min() == outcome.least_bytes
    assert outcome.worst_step in shown.step[shown.remaining == outcome.least_bytes]
    assert shown.dirty.max() <= scene.cache_lines
    assert shown.warned.any()
    assert shown.remaining[shown.warned][0] <= shown.low < shown.high


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown attack"):
        attack("flush-arond", scene_of("ocp-4k", "writable", Host()))


def test_a_scaled_scene_needs_the_same_share() -> None:
    whole = Scene(load_device("ocp-4k"), Host(flush=False), REAL, PROMISED, RO_COW, 0)
    small = scaled(whole, 8192)
    assert small.needed() / small.real == pytest.approx(whole.needed() / whole.real)
    assert small.scale == whole.pages / 8192


SMALL_TERMS: dict[str, tuple[str, str, Host]] = {
    "less than a page in flight": ("ocp-4k", "writable", Host(protect_us=100)),
    "a kill in few lines": ("multi-mode", "contained", Host()),
    "less than a writable page": ("ocp-4k", "ro-cow", Host(charge="growth")),
}


@pytest.mark.parametrize("case", SMALL_TERMS)
def test_the_calculators_reserve_holds_in_small_where_terms_are_less_than_a_page(case: str) -> None:
    device, rule, host = SMALL_TERMS[case]
    late = load_device(device).model_copy(update={"low_share": 1e-6, "high_share": 0.02})
    whole = Scene(late, host, 256 * GIB, 512 * GIB, RULES[rule], 0)
    needed = math.ceil(whole.needed())
    enough = scaled(whole.with_reserve(needed))
    assert (enough.scale, enough.real_reserve) == (32768, needed)
    assert not run_named(enough, list(ATTACKS)).lost
    if needed > GIB:
        assert run_named(scaled(whole.with_reserve(int(0.9 * needed))), list(ATTACKS)).lost


def test_a_warning_is_no_second_reserve() -> None:
    """The shipped device warns at 5 %; tenants that wait for memory have pages demoted all the same."""
    host = Host(ask="batch", batch_pages=1 << 17)
    scene = scaled(Scene(load_device("ocp-4k"), host, REAL, PROMISED, PROMOTE_ON_WRITE, 0), 8192)
    assert run_named(scene.with_reserve(0), ["last-batch"]).lost


@pytest.mark.parametrize("report_us", [1, 10])
def test_one_grant_for_page_after_page_is_covered_until_a_report_tells(report_us: float) -> None:
    """Nothing but the age of the report limits what grows beyond a charge of one line."""
    device = load_device("line-64").model_copy(update={"report_us": report_us, "low_share": 1e-6})
    host = Host(charge="line", grants=1, llc=4 << 20, batch_pages=1)
    scene = Scene(device, host, 4 << 20, (4 << 20) + 40960, RO_COW, 0)
    alone = 4096 - device.line_growth_bytes  # what its one grant leaves uncharged
    for reserve, lost in ((alone, True), (int(scene.needed()), False)):
        kept = scene.with_reserve(reserve)
        strategy = replace(attack("line-after-line", kept), noise=0.3, hold=1.0)
        assert bool(run_attack(kept, strategy).lost_writes) == lost


def test_a_device_that_promises_hardly_more_than_it_has_still_does_in_small() -> None:
    late = load_device("ocp-4k").model_copy(update={"low_share": 1e-6, "high_share": 0.02})
    scene = scaled(Scene(late, Host(promotion_gb_s=0), 256 * GIB, 256 * GIB + (32 << 20), WRITABLE, 0))
    assert scene.real < scene.promised
    assert run_named(scene, ["synchronised-phase-change"]).lost


def test_the_command_says_how_much_the_scene_in_small_needs_more(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["margin", "--protect", "100us", "--adversary", "llc-of-spoiled-lines", "--access", "writable"]
    assert run([*command, "--reserve", "20GiB"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "under attack: writable, reserve 20.0 GiB" in out
    assert "as pages and lines do not shrink" in out
    assert "too little to show" not in out


def test_the_command_says_what_is_too_little_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["margin", "--shortcut", "ask-batch", "--adversary", "last-batch", "--reserve", "0"]
    assert run([*command, "--access", "promote-on-write"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "a reserve of 2.0 MiB, 2.0 MiB more than was kept: too little to show" in out


def test_the_command_says_that_the_shipped_tiers_hold(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["margin", "--tiers", "dram-cxl-compressed", "--adversary", "search", "--budget", "15"]
    assert run([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["adversary"]
    assert (facts["rule"], facts["lost"], len(facts["attacks"])) == ("promote-on-write", False, 15)
    assert facts["worst"]["strategy"]["order"] in ("fifo", "lifo", "random")


def test_the_command_fails_when_an_attack_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["margin", "--device", "ocp-4k", "--adversary", "streaming-writes", "--access", "writable"]
    assert run(command) == 1
    out = capsys.readouterr().out
    assert "DATA LOST: 'streaming-writes'" in out
    assert max(map(len, out.splitlines())) <= 100
    assert run([*command, "--access", "ro-cow"]) == 0
    assert "no data lost" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--adversary", "flush-arond"], "did you mean 'flush-around'"),
        (["--adversary", "all", "--access", "rw"], "unknown access rule"),
        (["--adversary", "all", "--reserve", "2TiB"], "do not go together"),
        (["--adversary", "search", "--budget", "0"], "--budget 0"),
        (["--shortcut", "noflush"], "did you mean 'no-flush'"),
        (["--adversary", "all", "--tenants", "99999999999"], "1 to 1024"),
        (["--adversary", "search", "--seed", "-1"], "'--seed'"),
        (["--adversary", "all", "--real", "4KiB", "--reserve", "0"], "too little to play"),
    ],
)
def test_bad_input_is_one_error_with_a_remedy(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["margin", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "hint:" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--grants", "9" * 23],
        ["--batch", "9" * 23],
        ["--write-rate", "1kB/s", "--promotion-rate", "1kB/s", "--access", "writable", "--reserve", "0"],
        ["--write-rate", "1000TB/s", "--promotion-rate", "1000TB/s", "--access", "writable"],
        ["--kill", "70000000min", "--access", "contained"],
        ["--llc", "1000000TiB"],
        ["--real", "4KiB", "--promised", "7KiB", "--reserve", "0"],
    ],
)
def test_values_far_outside_of_what_is_are_played(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--real", "16KiB", "--promised", "32KiB", "--reserve", "4KiB", "--access", "ro-cow"]
    assert run(["margin", *small, *arguments, "--adversary", "last-batch", "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["adversary"]["steps"] > 0


def test_stores_to_dram_take_no_room_on_the_device() -> None:
    state = new_state(scene_of("ocp-4k", "writable", Host()))
    play(state, np.array([[STORE_RAW, 0, 5], [STORE_RAW, 1, 6]], np.int32))
    assert state.content.sum() == 2
    assert state.var[USED] == 0
