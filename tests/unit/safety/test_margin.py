"""The margin calculator and its verb: published figures, the sum of terms, what no reserve makes safe, bad input."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.cli.main import run
from pghot.rules import device_rules
from pghot.safety.margin import Host, Margins, margins
from pghot.sim.compressed.device import DEVICES, load_device

GIB = 1 << 30
ISSUE = [
    "margin",
    "--llc",
    "256MiB",
    "--block",
    "4KiB",
    "--line",
    "64B",
    "--promotion-rate",
    "2GB/s",
    "--device",
]


def of(device: str, host: Host | None = None, promised: int = 1024 * GIB) -> Margins:
    return margins(load_device(device), host or Host(), 512 * GIB, promised)


@pytest.mark.parametrize(
    ("device", "times_the_cache"), [("ocp-4k", 64), ("line-64", 2), ("multi-mode", 34), ("dedup", 64)]
)
def test_the_cache_term_gives_both_sides_of_the_published_argument(device: str, times_the_cache: int) -> None:
    found = of(device)
    assert found.cache_bytes == times_the_cache * (256 << 20)
    assert [t.bytes for t in found.rules["contained"].terms if t.name == "cache"] == [found.cache_bytes]


@pytest.mark.parametrize("device", DEVICES.names())
def test_a_host_that_keeps_the_rules_needs_no_reserve_for_read_only_pages(device: str) -> None:
    assert of(device).rules["ro-cow"].reserve_bytes == 0
    assert of(device).rules["promote-on-write"].reserve_bytes == 0


@pytest.mark.parametrize(
    ("shortcut", "gib"),
    [
        ({"flush": False}, 16),
        ({"ask": "batch", "batch_pages": 1 + (1 << 18)}, 1),
        ({"pin_promotes": False, "pinned": 3 * GIB}, 3),
        ({"charge": "growth", "grants": 1 << 19}, 2),
        ({"charge": "line", "grants": 1 << 19}, 0),
        ({"flush": False, "pin_promotes": False, "pinned": 3 * GIB}, 19),
    ],
)
def test_each_shortcut_of_the_host_costs_its_term(shortcut: dict[str, object], gib: int) -> None:
    host = replace(Host(), **shortcut)  # type: ignore[arg-type]
    assert of("ocp-4k", host).rules["ro-cow"].reserve_bytes == gib * GIB


def test_writable_is_not_safe_at_these_rates_and_says_what_is() -> None:
    found = of("ocp-4k").rules["writable"]
    assert not found.fits
    assert math.isinf(found.reserve_bytes)
    assert "spoil 1,664 GB/s, promotion drains 2 GB/s" in found.reason
    assert "at most 0.12% more than real" in found.reason
    assert of("ocp-4k", promised=512 * GIB + 512 * GIB // 1000).rules["writable"].fits


def test_writable_drains_in_proportion_to_the_overcommitment() -> None:
    host = Host(write_gb_s=1, promotion_gb_s=20)
    [one], [two] = (
        [
            term.bytes
            for term in of("ocp-4k", host, 512 * GIB + size).rules["writable"].terms
            if term.name == "drain"
        ]
        for size in (10 * GIB, 20 * GIB)
    )
    assert one == pytest.approx(10 * GIB * 64 / 20, rel=1e-6)
    assert two == pytest.approx(2 * one, rel=1e-6)


def test_a_host_that_protects_at_the_warning_needs_the_cache_and_its_reaction() -> None:
    terms = {t.name: t.bytes for t in of("ocp-4k", Host(protect_us=90)).rules["writable"].terms}
    assert terms["cache"] == 16 * GIB
    assert terms["reaction"] == pytest.approx(100e-6 * 26e9 * 64, rel=1e-3)


def test_a_device_that_cannot_grow_needs_nobody_to_be_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "raw.toml"
    path.write_text("block = 64\ngranule = 64\nzero_flag = false\n")
    command = ["margin", "--device", str(path), "--promotion-rate", "0GB/s", "--json"]
    assert run(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["line_growth_bytes"] == 0
    assert found["rules"]["writable"]["reserve_bytes"] == 512 * 4096, "what is in flight"
    assert run([*command, "--adversary", "all", "--access", "writable"]) == 0
    assert not json.loads(capsys.readouterr().out)["adversary"]["lost"]


def test_protection_never_needs_more_than_moving_pages_away_alone() -> None:
    fast = Host(write_gb_s=1, promotion_gb_s=16)
    alone, protected = (
        of("ocp-4k", host, 514 * GIB).rules["writable"] for host in (fast, replace(fast, protect_us=50))
    )
    assert protected == alone
    assert protected.reserve_bytes < 9 * GIB, "and the cache alone would be 16 GiB"
    assert any("free memory to move the pages to" in note for note in protected.notes)


def test_nothing_promised_beyond_the_medium_needs_nothing() -> None:
    found = of("ocp-4k", promised=512 * GIB)
    assert {margin.reserve_bytes for margin in found.rules.values()} == {0}


@pytest.mark.parametrize(
    "host", [Host(promotion_gb_s=0), Host(pinned=600 * GIB)], ids=["no drain", "all pinned"]
)
def test_what_no_reserve_helps_is_infinite_and_null_in_json(host: Host) -> None:
    found = of("ocp-4k", host)
    assert not found.rules["writable"].fits
    rule = found.to_dict()["rules"]["writable"]
    assert (rule["reserve_bytes"], rule["reason"]) == (None, found.rules["writable"].reason)
    assert rule["reason"]
    assert found.to_dict()["rules"]["ro-cow"]["reason"] is None


def test_what_no_reserve_helps_is_said_in_words_not_in_terabytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ISSUE, "ocp-4k"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "writable no reserve is enough: tenants spoil 1,664 GB/s, promotion drains 2 GB/s" in out
    assert "beyond real drain:" in out
    assert "TiB" not in out


def test_the_swap_tiers_of_a_file_have_no_device_to_break(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = resources.files("pghot").joinpath("data/tiers/dram-cxl-compressed.toml").read_text("utf-8")
    path = tmp_path / "zram.toml"
    path.write_text(shipped + 'access = "swap"\n')
    assert run(["margin", "--tiers", str(path), "--adversary", "all"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "'swap' has no device to break" in err
    assert "hint: give --access another rule: writable" in err


@given(
    st.sampled_from(DEVICES.names()),
    st.integers(20, 30),
    st.floats(0.1, 100),
    st.booleans(),
    st.integers(0, 30),
)
def test_the_reserve_is_the_sum_of_its_terms_and_grows_with_the_cache(
    device: str, llc_shift: int, rate: float, flush: bool, pinned_shift: int
) -> None:
    host = Host(
        llc=1 << llc_shift, write_gb_s=rate, flush=flush, pinned=1 << pinned_shift, pin_promotes=False
    )
    small, large = of(device, host), of(device, replace(host, llc=2 << llc_shift))
    for rule in small.rules:
        margin = small.rules[rule]
        total = sum(term.bytes for term in margin.terms)
        assert margin.reserve_bytes == (total if total < small.real else math.inf)
        assert margin.reserve_bytes <= large.rules[rule].reserve_bytes


def test_the_command_of_the_issue(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ISSUE, "ocp-4k", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "pghot.margin/1"
    assert found["cache_bytes"] == 16 * GIB
    assert set(found["rules"]) == {rule.name for rule in device_rules()}
    assert all(
        term["reason"] and term["formula"] for rule in found["rules"].values() for term in rule["terms"]
    )
    assert run([*ISSUE, "line-64"]) == 0
    out = capsys.readouterr().out
    assert "512.0 MiB (2 x the cache)" in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_tiers_file_gives_device_and_capacities(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["margin", "--tiers", "dram-cxl-compressed", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["real_bytes"], found["promised_bytes"]) == (256 * GIB, 512 * GIB)
    assert found["host"]["write_gb_s"] == 26


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "ocp4k"], "did you mean 'ocp-4k'"),
        (["--device", "ocp-4k", "--block", "32B"], "must hold at least one line"),
        (["--device", "ocp-4k", "--promised", "1GiB"], "less than the"),
        (["--device", "ocp-4k", "--promotion-rate", "2"], "'2' is not a rate"),
        (["--device", "ocp-4k", "--write-rate", "0GB/s"], "out of range"),
        (["--device", "ocp-4k", "--tiers", "dram-cxl"], "exclude each other"),
        (["--tiers", "dram-cxl"], "no node that compresses"),
        (["--llc", "big"], "'big' is not a size"),
        (["--llc", "0"], "out of range"),
        (["--batch", "0"], "out of range"),
        (["--line", "0"], "line must be 1 B or more"),
        (["--real", "0"], "holds no page"),
        (["--llc", "1"], "holds no line"),
        (["--llc", "9" * 400], "is too much"),
        (["--kill", "9" * 400 + "s"], "is too much"),
        (["--write-rate", "9" * 400 + "GB/s"], "is too much"),
        (["--promotion-rate", "0.0001kB/s"], "from 1 kB/s"),
        (["--device", ""], "no device named"),
        (["--tiers", ""], "no tiers named"),
        (["--adversary", ""], "no attack named"),
        (["--adversary", "all", "--access", ""], "no access rule named"),
        (["--access", "rw"], "--access goes with --adversary"),
        (["--reserve", "16GiB"], "--reserve goes with --adversary"),
        (["--adversary", "all", "--access", "swap"], "has no device to break"),
    ],
)
def test_bad_input_is_one_error_with_a_remedy(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["margin", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "hint:" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("low_share = 0.1\nhigh_share = 0.05\n", "low_share (0.1) must be below high_share"),
        ("block = 32\n", "must hold at least one line"),
        ("blok = 32\n", "unknown key"),
    ],
)
def test_a_devices_file_is_checked(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert run(["margin", "--device", str(path)]) == 2
    assert message in capsys.readouterr().err
