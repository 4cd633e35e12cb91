"""`pghot economics`: a line for each recording and rule, with the reserve that makes the rule safe."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from builders.recordings import INFO, REPLAYED, random_trace
from pghot.cli.main import run
from pghot.lab.economics import economics
from pghot.lab.recorded_cache import footprint_pages
from pghot.recording import bundled
from pghot.recording.writer import write_recording
from pghot.rules import device_rules
from pghot.safety.margin import Host, margins
from pghot.sim.machine.topology import load_topology

DOCUMENT = Path(__file__).parents[3] / "docs" / "compressed-tier.md"


@pytest.fixture
def one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each recording is played once: what is asked does not depend on how long it is played."""
    monkeypatch.setattr("pghot.lab.economics.DURATION_S", 1e-6)


@pytest.mark.heavy
def test_lines_agree_with_compare_and_margin(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["economics", "bundled:xz-decompress", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["simulated"]) == ("pghot.economics/1", True)
    assert [line["rule"] for line in found["lines"]] == [rule.name for rule in device_rules()]
    assert "zstd" in found["contents"]["bundled:xz-decompress"]

    held = load_topology("dram-cxl-compressed").compression
    assert held is not None
    rules = margins(held.device, Host(), held.real, held.promised).rules
    for line in found["lines"]:
        margin = rules[line["rule"]]
        assert line["reserve_bytes"] == (int(margin.reserve_bytes) if margin.fits else None)
        assert line["lost_pages"] == 0

    # The shipped tiers run promote-on-write with a reserve of their own, which this program does not reach. The cache
    # of 4 MiB stands for one of 256 MiB.
    words = ["--tiers", "dram-cxl-compressed", "--policies", "pghot-default", "--sources", "chmu", "--json"]
    words += ["--duration", "60s", "--seeds", "1", "--stands-for", "64x"]
    assert run(["compare", "bundled:xz-decompress", *words]) == 0
    rows = json.loads(capsys.readouterr().out)["summary"]
    row = next(row for row in rows if row["label"] == "pghot-default/chmu")
    assert row["access"] == "promote-on-write"
    line = next(line for line in found["lines"] if line["rule"] == "promote-on-write")
    assert line["slowdown"] == pytest.approx(row["slowdown"])
    assert line["saved_share"] == pytest.approx(row["saved_share"])


@pytest.mark.heavy
def test_each_recording_is_played_whole_and_its_largest_cache_stands_for_the_real_one(
    tmp_path: Path, one_pass: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded with caches up to 4 MiB, under one of 256 MiB: K = 64. A pass is longer than what would do: one pass."""
    caches = (1 << 18, 1 << 20, 1 << 22)
    info = replace(INFO, llc_bytes=caches[0], cache_bytes=caches)
    trace = random_trace(parts=2, info=info, caches=3, rows=100, most_instructions=REPLAYED)
    write_recording(tmp_path / "three.pghot", trace)
    monkeypatch.setattr("pghot.lab.economics.device_rules", lambda: device_rules()[:2])
    found = economics([str(tmp_path / "three.pghot")], load_topology("dram-cxl-compressed"), Host())
    assert {line.passes for line in found.lines} == {1.0}
    assert {line.footprint_bytes for line in found.lines} == {footprint_pages(trace) * 4096 * 64.0}


@pytest.mark.heavy
def test_the_document_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["economics", "bundled:xz-decompress", "bundled:redis-zipf"]) == 0
    document = {_words(line) for line in DOCUMENT.read_text().splitlines() if line.startswith("|")}
    printed = {_words(line) for line in capsys.readouterr().out.splitlines() if line.startswith("| ")}
    assert len(printed) == 9
    assert printed <= document


def _words(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


@pytest.mark.heavy
def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """For 10 s: once and a half where nobody is killed, many times where the stream is."""
    monkeypatch.setattr("pghot.lab.economics.DURATION_S", 10.0)
    assert run(["economics", "workload:adversary-stream"]) == 0
    out = capsys.readouterr().out
    assert "played: workload:adversary-stream" in out
    assert out.count("warning: under 'writable' a hostile program may destroy anyone's data") == 1
    table = [line for line in out.splitlines() if line.startswith("|")]
    cells = {row[1]: row for row in map(_words, table)}
    assert cells["writable"][2] == "none", "no reserve makes it safe"
    assert int(cells["writable"][7].replace(",", "")) > 0, "and it loses data"
    # The stream is killed under each rule. The store compresses as long as it is written once; when the program starts
    # again, in the second pass, what it writes does not, and is more than its budget.
    for rule, killed in (("ro-cow", "1"), ("promote-on-write", "1"), ("contained", "2")):
        assert cells[rule][7:] == ("0", killed)
        assert cells[rule][3:6] == ("-", "-", "-"), "of a killed program nothing can be compared"


def test_a_wrong_name_is_told_before_anything_is_replayed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pghot.lab.economics.compare", lambda *_, **__: pytest.fail("replayed"))
    assert run(["economics", "workload:zipf", "bundled:nobody"]) == 2
    assert "unknown bundled recording 'nobody'" in capsys.readouterr().err


@pytest.mark.heavy
def test_what_a_reader_must_know_of_a_recording_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], one_pass: None
) -> None:
    whole = bundled.path("bundled:sqlite-mix").read_bytes()
    path = tmp_path / "cut.pghot"
    path.write_bytes(whole[: len(whole) // 4])
    assert run(["economics", str(path)]) == 0
    assert f"warning: {path}: the recording is truncated: it is damaged" in capsys.readouterr().out


@pytest.mark.heavy
def test_other_tiers_have_the_reserves_that_margin_says_and_words_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], one_pass: None
) -> None:
    shipped = resources.files("pghot").joinpath("data/tiers/dram-cxl-compressed.toml").read_text("utf-8")
    path, recording = tmp_path / "wide.toml", tmp_path / "a.pghot"
    write_recording(recording, random_trace(parts=2, rows=100, most_instructions=REPLAYED))
    wide = shipped.replace("bandwidth_gb_s = 26", "bandwidth_gb_s = 52")
    path.write_text(wide.replace('real_capacity = "256 GiB"', 'real_capacity = "384 GiB"'))
    assert run(["margin", "--tiers", str(path), "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    words = ["economics", str(recording), "--tiers", str(path)]
    assert run([*words, "--json"]) == 0
    for line in json.loads(capsys.readouterr().out)["lines"]:
        assert line["reserve_bytes"] == rules[line["rule"]]["reserve_bytes"]
    assert run(words) == 0
    assert "real memory for 75.0 % of what it promises" in capsys.readouterr().out


def test_tiers_must_compress(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["economics", "workload:zipf", "--tiers", "dram-cxl"]) == 2
    assert "no node of these tiers compresses" in capsys.readouterr().err
