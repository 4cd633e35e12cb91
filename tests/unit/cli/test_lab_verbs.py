"""The command line end to end: errors name the thing and the remedy, data goes to stdout as valid JSON."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders.recordings import REPLAYED, random_trace
from builders.said import said
from pghot import outputs
from pghot.cli.main import run
from pghot.recording.writer import write_recording


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["comparee"], "did you mean 'compare'"),
        (["compare", "--nope"], "No such option: --nope"),
        (["report"], "Missing command"),
        (["compare", "missing.pghot"], "no recording missing.pghot"),
        (["compare", "bundled:redis-zip"], "did you mean 'redis-zipf'"),
        (["compare", "bundled:redis-zipf", "--policies", "numab"], "did you mean 'numab2'"),
        (["compare", "bundled:redis-zipf", "--tiers", "dram-cx"], "did you mean 'dram-cxl'"),
        (["compare", "bundled:redis-zipf", "--fast-share", "abc"], "'abc' is not a share"),
        (["compare", "bundled:redis-zipf", "--stands-for", "manyx"], "'manyx' is no multiple"),
        (["compare", "bundled:redis-zipf", "-o", "table.xls"], "end the name in one of"),
        (["compare", "bundled:redis-zipf", "--fast-share", "0%"], "leaves nothing to decide"),
        (["compare", "bundled:redis-zipf", "--fast-share", "100%"], "leaves nothing to decide"),
        (["compare", "bundled:redis-zipf", "--sources", "abi"], "did you mean 'abit'"),
        (["compare", "workload:gup"], "did you mean 'gups'"),
        (["compare", "workload:"], "hint: known: adversary-stream, gups"),
        (["compare", "workload:."], "unknown workload '.'"),
        (["compare", "masim:"], "no masim file named"),
        (["compare", "masim:."], "cannot read masim file '.': Is a directory"),
        (["compare", "bundled:"], "hint: known: bfs-kron, duckdb-mix"),
        (["report", "summary", "bundled:"], "no bundled recording named"),
        (["compare", ""], "no trace named"),
        (["compare", "bundled:redis-zipf", "--tiers", ""], "no tiers named"),
        (["economics", "--tiers", ""], "no tiers named"),
        (["record", "--force", "-o", "/dev/full", "--", "true"], "/dev/full is not a regular file"),
        (["record", "-o", "/dev/full", "--", "true"], "an output needs one: name another"),
        (["validate", "colloid"], "did you mean 'colloid-6a'"),
        (["list", "policie"], "did you mean 'policies'"),
    ],
)
def test_a_users_mistake_is_one_error_with_a_remedy(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "pghot: error:" in err
    assert "hint:" in err
    assert len(said(err)) == 2
    assert "Errno" not in err


@pytest.mark.heavy
def test_a_full_disk_is_one_error_whose_remedy_is_room(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, source = tmp_path / "page.html", tmp_path / "source.pghot"
    write_recording(source, random_trace(most_instructions=REPLAYED))
    monkeypatch.setattr(outputs, "create", lambda path: os.open("/dev/full", os.O_WRONLY))
    compare = ["compare", str(source), "--policies", "none", "--duration", "one-pass", "-o", str(page)]
    assert run(compare) == 1
    assert f"cannot write {page}: No space left" in (err := capfd.readouterr().err)
    assert "hint: make room there" in err
    command = [sys.executable, "-c", "from pghot.cli.main import main; main()", "list", "tiers"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "pghot: error: cannot write: No space left on device"


def test_an_output_is_not_overwritten_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    assert run(["compare", "bundled:redis-zipf", "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert "--force" in capsys.readouterr().err


def test_compare_prints_json_with_bounds_and_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    arguments = [
        "compare",
        "bundled:redis-zipf",
        "--policies",
        "none",
        "--duration",
        "one-pass",
        "--bounds",
        "--json",
        "-o",
        str(page),
    ]
    assert run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "pghot.compare/1"
    assert [row["policy"] for row in found["summary"]] == ["none", "all-fast"]
    assert 0 < found["bounds"][0]["lru_miss_ratio"] < 1
    assert "simulated" in page.read_text("utf-8")


def test_set_gives_a_policy_an_option_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    compare = ["compare", "bundled:redis-zipf", "--policies", "pghot-default", "--sources", "pebs", "--json"]
    compare += ["--classes", "to-come", "--duration", "60s", "--seeds", "1"]
    assert run(compare) == 0
    plain = rows(capsys.readouterr().out)["pghot-default/pebs [to come]"]
    assert run([*compare, "--set", "pghot-default.freq_threshold=1"]) == 0
    eager = rows(capsys.readouterr().out)["pghot-default/pebs [to come]"]
    assert (plain["options"], eager["options"]) == ([], ["freq_threshold=1"])
    assert eager["promotions"] > 10 * plain["promotions"]


def rows(out: str) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in json.loads(out)["summary"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pghot-default.freq_treshold=1", "did you mean 'freq_threshold'"),
        ("pghot-default.freq_threshold=often", "is not a whole number"),
        ("pghot-default.freq_threshold=1.5", "is not a whole number"),
        ("pghot-default.freq_threshold=9", "freq_threshold 9"),
        ("pghot-hashed.freq_threshold=1", "'pghot-hashed' is not part of this run"),
        ("freq_threshold=1", "is not of the form NAME.OPTION=VALUE"),
        ("pghot-default.faithful=frequency-wrap", "is not a quirk of the 'default' store"),
        ("none.x=1", "'none' has no options"),
    ],
)
def test_options_that_cannot_be_are_refused(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "bundled:redis-zipf", "--policies", "pghot-default", "--set", text]) == 2
    assert message in capsys.readouterr().err


def test_all_columns_come_in_parts_that_fit_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    from pghot.lab.metrics import METRICS

    assert (
        run(
            [
                "compare",
                "bundled:redis-zipf",
                "--policies",
                "none",
                "--duration",
                "one-pass",
                "--columns",
                "all",
                "--seeds",
                "2",
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert [m.title for m in METRICS if m.title not in out] == []
    assert "1.000 ±0.000" in out
    assert run(["compare", "bundled:redis-zipf", "--columns", "speed"]) == 2
    assert "did you mean 'speedup'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind",
    [
        "policies",
        "sources",
        "stores",
        "tiers",
        "rules",
        "workloads",
        "recordings",
        "counters",
        "metrics",
        "validations",
    ],
)
def test_list_explains_every_name(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", kind, "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert items
    assert [item["name"] for item in items if not item["summary"].strip()] == []


def test_a_validation_of_ones_own_passes_or_misses_its_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
name = "mine"
title = "all in fast memory over all in slow"
published_in = "nowhere"
bar = 0.05
[value]
run = { policy = "all-fast" }
base = { policy = "all-slow" }
metric = "time_s"
[[rows]]
label = "271 ns"
[[columns]]
label = "ratio"
[published]
cells = [[CELL]]
[setting]
warmup = 0
[workload]
kind = "pointer-chase"
footprint = "1 MiB"
mlp = 1
accesses_per_slice = 1000
instructions_per_access = 1
slices = 20
init = "none"
[tiers]
[[tiers.nodes]]
name = "dram"
cpus = 1
capacity = "2 MiB"
latency_ns = 100
bandwidth_gb_s = 200
[[tiers.nodes]]
name = "cxl"
capacity = "2 MiB"
latency_ns = 271
bandwidth_gb_s = 100
[tiers.costs]
instruction_ns = 0
"""
    path = tmp_path / "mine.toml"
    # One dependent miss after the other: the ratio is that of the latencies.
    path.write_text(text.replace("CELL", "2.71"))
    assert run(["validate", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["cells"][0]["simulated"] == pytest.approx(2.71, rel=1e-9), "idle means idle"
    assert found["cells"][0]["fitted"] is False
    path.write_text(text.replace("CELL", "2.0"))
    assert run(["validate", str(path)]) == 1
    assert "MISSED" in capsys.readouterr().out
    path.write_text(text.replace("bar = 0.05", "bar = 0.05\nbars = 1").replace("CELL", "1"))
    assert run(["validate", str(path)]) == 2
    assert "mine.toml:6" in capsys.readouterr().err
    path.write_text(text.replace("[[CELL]]", "[[1, 2]]"))
    assert run(["validate", str(path)]) == 2
    assert "has 2 cells, not 1" in capsys.readouterr().err


def test_a_bundled_recording_converts_to_parquet_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet, back = tmp_path / "a.parquet", tmp_path / "a.pghot"
    assert run(["convert", "bundled:xz-decompress", str(parquet)]) == 0
    assert run(["convert", str(parquet), str(back)]) == 0
    capsys.readouterr()
    facts = []
    for what in ("bundled:xz-decompress", str(back)):
        assert run(["report", "summary", what, "--json"]) == 0
        facts.append(json.loads(capsys.readouterr().out))
    for key in ("touches", "misses", "writes", "slices", "footprint_bytes", "regions"):
        assert facts[0][key] == facts[1][key]


def test_compilation_is_announced_exactly_when_it_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pghot.cli.compiling import announce_compilation

    source = tmp_path / "tiny_kernel.py"
    text = "from numba import njit\n\n\n@njit(cache=True)\ndef add(a):\n    return a + {}\n"
    source.write_text(text.format(1))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # or Python would not see the second text
    module = importlib.import_module("tiny_kernel")

    def announced() -> bool:
        """In a module just loaded; the kernel runs, and Numba says whether it compiled."""
        kernel = importlib.reload(module).add
        announce_compilation(("tiny_kernel", "add", 1))
        said = "compiling kernels" in capsys.readouterr().err
        kernel(1)
        assert said == bool(kernel.stats.cache_misses)
        return said

    assert announced()
    assert not announced()
    os.utime(source, (2e9, 2e9))  # a checkout gives files new times, not new texts
    assert not announced()
    source.write_text(text.format(2))
    os.utime(source, (1e9, 1e9))
    assert announced()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"#!/bin/sh\nexit 0\n" * 100, "is not a pghot recording"),
        (lambda data: data[:3000], "its end were left out"),
        (lambda data: data[:40], "cut off or damaged"),
    ],
    ids=["empty", "foreign", "truncated", "header"],
)
def test_a_file_that_cannot_be_replayed_is_one_error(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from pghot.recording import bundled

    path = tmp_path / "it.pghot"
    path.write_bytes(damage(bundled.path("xz-decompress").read_bytes()))
    assert run(["compare", str(path), "--policies", "none", "--duration", "one-pass"]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "hint: " in err


def test_a_cut_off_recording_is_replayed_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pghot.recording import bundled

    path = tmp_path / "it.pghot"
    path.write_bytes(bundled.path("xz-decompress").read_bytes()[:1_200_000])
    assert run(["compare", str(path), "--policies", "none", "--duration", "one-pass"]) == 0
    assert "warning: the recording is truncated: it is damaged" in capsys.readouterr().out


def test_tables_are_written_as_their_names_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import csv

    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [str(tmp_path / f"table.{kind}") for kind in ("parquet", "csv", "arrow")]
    arguments = ["compare", "bundled:redis-zipf", "--policies", "numab2", "--json", "--duration", "one-pass"]
    for name in names:
        arguments += ["-o", name]
    assert run(arguments) == 0
    expected = list(rows(capsys.readouterr().out))
    with open(names[1], newline="") as file:
        assert [line["label"] for line in csv.DictReader(file)] == expected
    assert pq.read_table(names[0])["label"].to_pylist() == expected
    assert pa.ipc.open_file(names[2]).read_all()["label"].to_pylist() == expected
    assert run(["compare", "bundled:redis-zipf", "-o", str(tmp_path / "no" / "where.html")]) == 2


def test_the_command_itself_keeps_data_and_notes_apart(tmp_path: Path) -> None:
    """The installed command: JSON alone on stdout, no colour, no traceback, quiet on a closed pipe."""
    command = [str(Path(sys.executable).with_name("pghot"))]
    done = subprocess.run(
        [*command, "compare", "bundled:redis-zipf", "--policies", "none", "--duration", "one-pass", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["schema"] == "pghot.compare/1"
    wrong = subprocess.run(
        [*command, "compare", "nowhere.pghot"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[0] == "pghot: error: no recording nowhere.pghot"
    assert "Traceback" not in wrong.stderr
    assert "\x1b" not in wrong.stderr + done.stdout
    piped = subprocess.run(
        f"{command[0]} list counters | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert piped.stderr == ""


def test_an_output_that_cannot_be_written_is_refused_before_the_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "is-a-folder.html").mkdir()
    assert run(["compare", "bundled:redis-zipf", "-o", str(tmp_path / "is-a-folder.html"), "--force"]) == 2
    assert "is not a regular file" in capsys.readouterr().err


def test_a_fast_tier_slower_than_the_slow_one_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.resources import files

    text = files("pghot").joinpath("data/tiers/dram-cxl.toml").read_text("utf-8")
    path = tmp_path / "odd.toml"
    path.write_text(text.replace("latency_ns = 100 ", "latency_ns = 300 "))
    assert (
        run(
            [
                "compare",
                "bundled:redis-zipf",
                "--tiers",
                str(path),
                "--policies",
                "none",
                "--duration",
                "one-pass",
            ]
        )
        == 0
    )
    assert "warning: 'cxl' (271 ns) is ranked below 'dram' (300 ns)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("times = 6400", "time = 6400", "did you mean 'times'"),
        ('metric = "time_s"', 'metric = "time"', "unknown metric with a value 'time'"),
        ("freq_threshold = 1 }", "freq_treshold = 1 }", "freq_treshold"),
        ("[1.396, 1.097, 1.456]", "[1.396, 1.097, 0.0]", "published.cells.0.2"),
        (
            'label = "v7"',
            'label = "v7"\nset = { "teirs.nodes.0.cpus" = 3 }',
            "it sets 'teirs.nodes.0.cpus'",
        ),
    ],
    ids=["setting", "metric", "option", "cell", "path"],
)
def test_mistakes_in_a_validation_file_are_named(
    tmp_path: Path, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib.resources import files

    text = files("pghot").joinpath("data/validations/pghot-v6-graph500.toml").read_text("utf-8")
    small = text.replace("slices = 400", "slices = 3").replace("seeds = 3", "seeds = 1")
    small = small.replace("duration_s = 541", 'duration_s = "one-pass"')
    assert old in small
    path = tmp_path / "mine.toml"
    path.write_text(small.replace(old, new))
    assert run(["validate", str(path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_lead_nowhere(closed: str) -> None:
    pghot = Path(sys.executable).with_name("pghot")
    done = subprocess.run(["sh", "-c", f"exec {pghot} doctor {closed}"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"sources" in done.stdout) is (">&-" not in closed.replace("2>&-", ""))


def test_list_sources_says_where_each_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "sources", "--json"]) == 0
    where = {item["name"]: item["where"] for item in json.loads(capsys.readouterr().out)["items"]}
    both, lab = {"ibs", "pebs", "chmu", "damon"}, {"hintfaults", "abit", "truth"}
    assert {name for name, place in where.items() if place == "both"} == both
    assert {name for name, place in where.items() if place == "lab"} == lab
    assert {"faults", "softdirty", "idle", "spe", "swapins", "lrugen", "replay"} == {
        name for name, place in where.items() if place == "live"
    }
    assert run(["list", "sources"]) == 0
    assert "faults      live  NUMA hint faults" in capsys.readouterr().out


def test_list_says_what_no_released_kernel_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "policies", "--json"]) == 0
    items = {item["name"]: item for item in json.loads(capsys.readouterr().out)["items"]}
    assert {name: items[name]["where"] for name in ("none", "numab2", "hemem", "lru-bw", "oracle-epoch")} == {
        "none": "kernel",
        "numab2": "kernel",
        "hemem": "user space, to come",
        "lru-bw": "to come",
        "oracle-epoch": "nowhere",
    }
    assert items["numab2"]["summary"].endswith("promotion in the faulting thread")
    assert items["pghot-default"]["summary"].endswith(
        "; in the kernel it needs the pghot patches, which no released kernel has"
    )
    assert items["lru-bw"]["summary"].endswith("; needs a patch that was asked for and not yet written")
    assert run(["list", "sources"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "needs hardware, and a driver that no released" in line] == [
        "chmu"
    ]


def test_list_shows_sources_and_stores_of_other_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "plugged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[pghot.{group}]\nplugged = plugged_{group}:Plugged\n"
            for group in ("sources", "live_sources", "stores")
        )
    )
    for group in ("sources", "live_sources", "stores"):
        (tmp_path / f"plugged_{group}.py").write_text(
            f"class Plugged:\n    name, summary, mechanism, sees, weight = 'plugged', 'of {group}', None, 'any', 1\n"
            "    inline = released = clairvoyant = only_reads = False\n    own_settings = ()\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run(["list", "sources"]) == 0
    assert (
        "plugged     both  of sources; needs hardware or a driver of its own; live: of live_sources"
        in capsys.readouterr().out
    )
    assert run(["list", "stores"]) == 0
    assert "plugged  of stores" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [("compare",), ("report", "summary"), ("curve",)])
@pytest.mark.parametrize(
    ("what", "meant"),
    [
        ("redis-zipf", "did you mean 'bundled:redis-zipf'? "),
        ("duckdb-mx", "did you mean 'bundled:duckdb-mix'? "),
        ("/nowhere/x.pghot", ""),
    ],
)
def test_a_bundled_recording_without_its_prefix_is_known_by_its_name(
    verb: tuple[str, ...], what: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*verb, what]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"pghot: error: no recording {what}"
    assert hint == f"hint: {meant}check the path; `pghot record` makes one"
