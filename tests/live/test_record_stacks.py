"""`pghot record --stacks`: the calls that mapped memory, of a C program whose calls are known."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders import record_programs as programs
from pghot.recording.reader import open_recording

pytestmark = programs.needs_qemu
PGHOT = [sys.executable, "-c", "import sys; from pghot.cli.main import main; sys.exit(main())"]
# No call may be gone: each function is one, and returns by itself.
FLAGS = ["-O1", "-fno-inline", "-fno-optimize-sibling-calls", "-pthread"]


def run(*words: object) -> str:
    return subprocess.run([*PGHOT, *map(str, words)], stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The recording, started by a shell that becomes the program; and where the two blocks of malloc are."""
    folder = tmp_path_factory.mktemp("stacks")
    source, program, path = folder / "sites.c", folder / "sites", folder / "it.pghot"
    source.write_text(programs.SITES)
    subprocess.run(["cc", *FLAGS, "-o", program, source], check=True)
    printed = run("record", "--stacks", path, "--", "sh", "-c", f"exec {program}")
    return path, [int(word, 16) for word in printed.split()]


def allocations(path: Path, address: int) -> list[dict[str, object]]:
    found = json.loads(run("report", "explain", path, f"{address:#x}", "--json"))["allocations"]
    assert isinstance(found, list)
    return found


def functions(allocation: dict[str, object]) -> list[str]:
    """Of the program's own frames, the innermost first."""
    frames = allocation["frames"]
    assert isinstance(frames, list)
    return [frame.partition("+")[0] for frame in frames if frame.endswith(" (sites)")]


def part(number: int) -> int:
    return programs.AREA + (number << 24)


@pytest.mark.parametrize(
    ("address", "calls"),
    [
        (part(0) + 4 * 4096, ["area", "map_at", "two", "main", "_start"]),
        (part(1), ["area", "map_at", *["deeper"] * 14]),  # of 21, the innermost of sixteen frames
        (
            part(2),
            ["area", "map_at", "after_deep", "main"],
        ),  # who called main was overwritten in a ring of 1,024
        (part(3), ["area", "map_at", "after_jump", "main"]),
        (part(4), ["area", "map_at", "thread"]),
        (part(5), ["area", "map_at", "child", "main"]),  # in a child
        (part(7), ["area", "map_at", "before_move", "main"]),  # moved: as before
        (part(7) + 4 * 4096, ["moves", "main"]),  # and grown
    ],
    ids=["neighbour", "recursion", "after deep", "longjmp", "thread", "child", "moved", "grown"],
)
def test_the_calls_that_mapped_a_page(
    recorded: tuple[Path, list[int]], address: int, calls: list[str]
) -> None:
    assert [functions(each) for each in allocations(recorded[0], address)] == [calls]


def test_a_page_that_was_mapped_again_tells_both_and_when(recorded: tuple[Path, list[int]]) -> None:
    first, second = allocations(recorded[0], part(0))
    assert functions(first)[:3] == ["area", "map_at", "one"]
    assert functions(second) == ["area", "map_at", "three", "main"]
    assert first["time_s"] is None
    assert isinstance(second["time_s"], float)
    assert second["time_s"] > 0.003, "six million instructions and more at two a nanosecond"


@pytest.mark.parametrize(("block", "function"), [(0, "first_block"), (1, "second_block")])
def test_the_caller_of_malloc(recorded: tuple[Path, list[int]], block: int, function: str) -> None:
    path, blocks = recorded
    (found,) = allocations(path, blocks[block] + 8192)
    assert functions(found) == [function, "main"]
    assert any(str(frame).startswith("malloc+") for frame in found["frames"])  # type: ignore[attr-defined]


def test_regions_that_the_kernel_joins_are_told_apart(recorded: tuple[Path, list[int]]) -> None:
    """In a child as in its parent; and nothing was lost."""
    recording = open_recording(recorded[0], verify=True)
    sites = {region.start_address: region for region in recording.regions if region.space == 0}
    assert [sites[at].pages for at in (part(0), part(0) + 4 * 4096)] == [4, 4]
    assert recording.final["sites_lost"] == 0


@pytest.mark.skipif(shutil.which("g++") is None, reason="not installed: g++")
def test_exceptions_signals_and_tail_calls_leave_no_wrong_frame(tmp_path: Path) -> None:
    """As optimised programs are: `leaves` has no frame of its own, and what was thrown through is gone."""
    program, path = tmp_path / "sites", tmp_path / "it.pghot"
    program.with_suffix(".cc").write_text(programs.UNWINDS)
    subprocess.run(
        ["g++", "-O2", "-fpermissive", "-w", "-o", program, program.with_suffix(".cc")], check=True
    )
    run("record", "--stacks", path, "--", program)
    found = [functions(only(allocations(path, part(number)))) for number in range(3)]
    assert [[name.partition(".")[0] for name in chain] for chain in found] == [
        ["map_at", "catches", "main", "_start"],
        ["map_at", "handler", "raises", "main", "_start"],
        ["map_at", "calls", "main", "_start"],
    ]


def only(found: list[dict[str, object]]) -> dict[str, object]:
    (one,) = found
    return one


def test_without_it_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "true.pghot"
    run("record", path, "--", "true")
    recording = open_recording(path)
    assert not any(region.site for region in recording.regions)
    assert "reallocations" not in recording.final
