"""Documents of strangers: each quantity has bounds, and what is beyond them is one line that names file and key."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders.recordings import INFO, random_batch
from fuzz.toml_validation import SMALL
from pghot.documents import read_text, shipped_text
from pghot.errors import PghotError, UsageError
from pghot.lab.compare import compare
from pghot.lab.validate import run_validation
from pghot.lab.workloads.workload_files import make_workload
from pghot.recording.trace import MemoryTrace
from pghot.sim.compressed.device import load_device
from pghot.sim.machine.curves import load_curve
from pghot.sim.machine.topology import load_topology
from pghot.units import parse_size

TIERS = shipped_text("tiers", "dram-cxl")
ABSURD = ("1e-320", "1e308", "1e12", "inf", "-inf", "nan", "-5.0", "9" * 400, "9" * 5000, "0x" + "f" * 5000)


def refusal_of_tiers(old: str, new: str, tmp_path: Path) -> str:
    assert old in TIERS
    path = tmp_path / "a.toml"
    path.write_text(TIERS.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_topology(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    assert len(said) < len(str(path)) + 200
    return said.removeprefix(str(path))


@pytest.mark.parametrize("value", ABSURD)
@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("latency_ns = 100 ", "latency_ns = {}"),
        ("latency_ns = 271", "write_latency_ns = {}\nlatency_ns = 271"),
        ("bandwidth_gb_s = 26 ", "bandwidth_gb_s = {}"),
        ("cpus = 32", "cpus = {}"),
        ("[[nodes]]", "[costs]\nmigrate_4k_ns = {}\n[[nodes]]"),
        ("[[nodes]]", "[costs]\nmlp_random = {}\n[[nodes]]"),
        ("[[nodes]]", "[antagonist]\nlines_in_flight_per_core = {}\n[[nodes]]"),
        ("[[nodes]]", "distances = [[10, {}], [20, 10]]\n[[nodes]]"),
    ],
)
def test_absurd_numbers_in_tiers(line: str, key: str, value: str, tmp_path: Path) -> None:
    said = refusal_of_tiers(line, key.format(value), tmp_path)
    name = key.partition(" = ")[0].splitlines()[-1]
    # Python reads no integer of thousands of digits, so nothing knows where it is.
    assert name in said or "5000" in value or "TOML" in said


@pytest.mark.parametrize("value", ABSURD[1:])
def test_absurd_latencies_to_another_node(value: str, tmp_path: Path) -> None:
    """The smallest of them is no latency at all, as 0 is."""
    refusal_of_tiers("cpus = 32", f"cpus = 32\nremote_ns = {{ 1 = {value} }}", tmp_path)


@pytest.mark.parametrize(
    ("size", "complaint"),
    [
        ("128", "128 bytes? write 128GiB"),
        ('"512"', "512 bytes? write 512GiB"),
        ('"512 B"', "'512 B' is less than a page of 4 KiB"),
        ('"1.5"', "'1.5' is no whole number of bytes"),
        ("1.5", "'1.5' is no whole number of bytes"),
    ],
)
def test_a_size_whose_unit_was_forgotten(size: str, complaint: str, tmp_path: Path) -> None:
    said = refusal_of_tiers('capacity = "128 GiB"', f"capacity = {size}", tmp_path)
    assert said == f":9: nodes.0.capacity: {complaint}" + (
        "; write one, or a unit" if "whole" in complaint else ""
    )


def test_sizes_of_other_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for text, complaint in [
        ('kind = "gups"\nfootprint = 64\n', "a.toml:2: footprint: 64 bytes? write 64GiB"),
        ('kind = "gups"\npage_bytes = 12288\n', "a.toml:2: page_bytes: write a power of two"),
        ('kind = "gups"\nfootprint = "2000 TiB"\n', "a.toml: .* pages, more than"),
    ]:
        path.write_text(text)
        with pytest.raises(UsageError, match=complaint.replace("?", r"\?")):
            make_workload(f"workload:{path}")
    path.write_text(shipped_text("devices", "ocp-4k") + "\nline_overhead = 1.5\n")
    with pytest.raises(UsageError, match=r"no whole number of bytes|valid TOML"):
        load_device(path)


def test_a_fraction_of_a_larger_unit_is_a_size() -> None:
    assert parse_size("1.5 KiB") == 1536
    assert parse_size(" 0.5m ") == 524_288


@pytest.mark.parametrize("width", ["1e-320", "0.0001", "1e7"])
def test_bandwidths_of_a_curve(width: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        f'description = "x"\nsource = "y"\n[[reads]]\npercent = 100\ngb_s = [0, {width}, 9.0]\nns = [9, 9, 99]\n'
    )
    with pytest.raises(UsageError, match=r"a\.toml:\d: reads\.0"):
        load_curve(str(path))


@pytest.mark.parametrize("word", ["1" * 30, "1" * 5000, "²", "-1", ""])
def test_numbers_of_masim(word: str, tmp_path: Path) -> None:
    path = tmp_path / "a.masim"
    path.write_text(f"a, 4096\n\nphase\n1000\na, 1, 64, {word}\n")
    with pytest.raises(UsageError, match=r"a\.masim:5: '.{0,40}' is not a whole number"):
        make_workload(f"masim:{path}")


def test_a_document_that_is_no_file(tmp_path: Path) -> None:
    """A pipe that nobody writes to, and a device without an end; a validation names its tiers by a path."""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    for name, why in [
        ("/dev/zero", "regular"),
        (tmp_path / "pipe", "regular"),
        (tmp_path / "large", "16 MiB"),
    ]:
        with pytest.raises(UsageError, match=why):
            read_text(Path(name), "tiers file", "name another")
    (tmp_path / "a.toml").write_text(SMALL.replace('"dram-cxl"', '"/dev/zero"'))
    with pytest.raises(UsageError, match=r"validation 'small': .*regular"):
        run_validation(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("seeds = ", 'seeds = "x" #', "setting.seeds is 'x', which is not a whole number"),
        ("seeds = ", "seeds = 1.5 #", "setting.seeds is 1.5, which is not a whole number"),
        ("[setting]", "[setting]\nspread = 5", "setting.spread is 5, which is not true or false"),
    ],
)
def test_a_setting_of_another_kind(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    text = shipped_text("validations", "pghot-v6-graph500")
    assert old in text
    (tmp_path / "a.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=f"validation '.*': {complaint}"):
        run_validation(tmp_path / "a.toml")


def recording(instructions: int) -> MemoryTrace:
    batch = random_batch(slices=6, rows=40)
    return MemoryTrace(INFO, 1536, (), [replace(batch, instructions=np.full(6, instructions, np.uint64))])


def test_a_replay_of_years_is_refused() -> None:
    settings = {"seeds": 1, "duration_s": None, "fast_share": None, "times": 1.0, "slice_ms": 1e6}
    with pytest.raises(PghotError, match="the program would take more than 25 days"):
        compare(recording(1 << 62), "dram-cxl", ["numab2"], **settings)
