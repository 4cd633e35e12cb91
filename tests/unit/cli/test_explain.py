"""`pghot report explain`: the real command on recordings of a few pages, and on logs of `compare --log`."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.small_recordings import TWO_THREADS, missing, recorded
from pghot.cli.main import run
from pghot.recording.trace import Region

MIB = 1 << 20
HEAP, ANON, STACK = 0x1000_0000, 0x2000_0000, 0x3000_0000
REGIONS = (
    Region(0, 2, 0, HEAP, "[heap]"),
    Region(2, 200, 0, ANON, "[anon]"),
    Region(202, 2, 0, STACK, "/usr/lib/libdemo.so.1"),
)
# Page 1 is touched in the slices 0 and 2, with 3 and 5 misses; each page of [anon] once, with one miss.
SLICES = [
    missing((1, 3), *((page, 0) for page in range(2, 102))),
    missing(*((page, 1) for page in range(102, 202))),
    missing((1, 5), (202, 0)),
]


@pytest.fixture
def demo(tmp_path: Path) -> str:
    return recorded(tmp_path / "demo.pghot", SLICES, REGIONS, TWO_THREADS).path


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["report", "explain", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["report", "explain", *words]) == 2
    return capsys.readouterr().err


def test_the_life_of_a_page(demo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 108 misses it has 8, which are 7.41 %. 202 pages were touched, and all others missed less often."""
    text = output(capsys, demo, f"{HEAP + 4096 + 17:#x}")
    assert f"page {HEAP + 4096:#x} of [heap] of demo: 4.0 KiB" in text
    assert "in 2 of 3 slices, first at 0.000 s, last at 0.002 s\n8 touches, 8 misses, 0 writes\n" in text
    assert "7.41 % of all misses\n99.5 % of the touched pages are colder\n" in text
    found = json.loads(output(capsys, demo, f"{HEAP + 4096:#x}", "--json"))
    assert (found["schema"], found["bin_ns"]) == ("pghot.explain/1", 1_000_000)
    assert (found["touches"], found["misses"], found["writes"]) == ([3, 0, 5], [3, 0, 5], [0, 0, 0])


def test_a_region_by_its_name_the_last_part_of_its_path_or_its_addresses(
    demo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, demo, "[anon]")
    assert text.startswith(
        f"[anon]: 200 pages, 800.0 KiB\n  {ANON:#x}-{ANON + 200 * 4096:#x}, address space 0\n"
    )
    assert "200 pages of them touched, in 2 of 3 slices" in text
    assert output(capsys, demo, "libdemo.so.1").startswith("/usr/lib/libdemo.so.1: 2 pages, 8.0 KiB\n")
    across = json.loads(output(capsys, demo, f"{HEAP + 4096:x}-{ANON + 4096:x}", "--json"))
    assert [(span["name"], span["first_page"], span["pages"]) for span in across["spans"]] == [
        ("[heap]", 1, 1),
        ("[anon]", 2, 1),
    ]
    assert across["misses"] == [3, 0, 5]


def mapped(path: Path, *rows: list[int]) -> str:
    """[anon] is of two sites, 3 pages and 197. `rows` were mapped again: at a site that is not known, or by again()."""
    sites = ["grow+0x5 (demo)", "fill+0x7 (demo) < main+0x1b (demo)"]
    regions = (
        replace(REGIONS[1], pages=3, site=sites[0]),
        Region(5, 197, 0, ANON + 3 * 4096, "[anon]", site=sites[1]),
        REGIONS[0],
    )
    later = {"sites": ["", "again+0x9 (demo)"], "rows": rows}
    return recorded(path, SLICES[:2], regions, TWO_THREADS, reallocations=later).path


def test_the_calls_that_mapped_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Page 6 of the recording, the fifth of [anon], and again after 1 ms and 2 ms."""
    path = mapped(tmp_path / "demo.pghot", [2_000_000, 6, 9, 1], [1_000_000, 0, 7, 0], [0, 7, 99, 1])
    text = output(capsys, path, f"{ANON + 4 * 4096:#x}")
    assert text.splitlines()[1:7] == [
        "mapped by",
        "  fill+0x7 (demo)",
        "  main+0x1b (demo)",
        "from 0.001 s on mapped, not known by what",
        "from 0.002 s on mapped by",
        "  again+0x9 (demo)",
    ]
    assert json.loads(output(capsys, path, f"{ANON + 4 * 4096:#x}", "--json"))["allocations"] == [
        {"frames": ["fill+0x7 (demo)", "main+0x1b (demo)"], "pages": 1, "time_s": None},
        {"frames": [], "pages": 1, "time_s": 0.001},
        {"frames": ["again+0x9 (demo)"], "pages": 1, "time_s": 0.002},
    ]


def test_the_calls_that_mapped_a_region(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The site of the most pages first; of the pages that were mapped again those of the region, here [2, 4) and all
    of [6, 15); four of them are shown."""
    rows = [[1_000_000, 0, 4, 1], [2_000_000, 6, 9, 1], [3_000_000, 6, 9, 0]]
    path = mapped(tmp_path / "demo.pghot", *rows)
    lines = output(capsys, path, "[anon]").splitlines()
    assert [line for line in lines if " pages " in line and "mapped" in line] == [
        "197 pages mapped by",
        "3 pages mapped by",
        "2 pages from 0.001 s on mapped by",
        "9 pages from 0.002 s on mapped by",
    ]
    assert "and by 1 other call" in lines
    assert len(json.loads(output(capsys, path, "[anon]", "--json"))["allocations"]) == 5
    heap = output(capsys, path, "[heap]").splitlines()
    assert [line for line in heap if "mapped" in line] == ["2 pages from 0.001 s on mapped by"]


def test_what_cannot_be_mapped_again_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = mapped(tmp_path / "demo.pghot", [0, 1, 1, 5])
    assert run(["report", "explain", path, "[anon]"]) == 1
    assert "contradicts itself: reallocations that are none" in capsys.readouterr().err


def test_a_page_that_was_never_touched(demo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "never touched while it was recorded" in output(capsys, demo, f"{HEAP:#x}")


def test_an_address_in_no_region_names_the_nearest(demo: str, capsys: pytest.CaptureFixture[str]) -> None:
    """[anon] ends at 0x200c8000: a MiB and a byte after its last byte is this."""
    end = ANON + 200 * 4096
    text = refused(capsys, demo, f"{end + MIB:#x}")
    assert f"{end + MIB:#x} is in no region of demo" in text
    assert f"nearest is [anon] at {ANON:#x}-{end:#x}, 1.0 MiB below" in text
    assert "nearest is [heap]" in refused(capsys, demo, "0x1000")
    assert "4.0 KiB above" in refused(capsys, demo, f"{HEAP - 4096:#x}")
    assert "did you mean '[heap]'?" in refused(capsys, demo, "heap")
    assert "an address begins with 0x" in refused(capsys, demo, "4096")


def test_tables_pictures_and_pages(demo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / f"a{suffix}") for suffix in (".csv", ".png", ".svg", ".pdf", ".html")]
    output(capsys, demo, "[heap]", *(word for name in names for word in ("-o", name)))
    with open(names[0], encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["misses"] for row in rows] == ["3", "0", "5"]
    assert "What it did over time" in Path(names[-1]).read_text(encoding="utf-8")


# ---- with a log


def compared(path: str, log: Path, *words: str) -> list[str]:
    """The words that compare a recording and keep a log: half of its memory is fast."""
    policies = ["--policies", "none,pghot-precise,hemem", "--sources", "truth+hintfaults"]
    return [
        *("compare", path, "--seeds", "2", "--fast-share", "30%", "--duration", "20s"),
        *(*policies, "--placement", "slow", *words, "--log", str(log)),
    ]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("logged")
    path = recorded(folder / "demo.pghot", SLICES * 40, REGIONS, TWO_THREADS).path
    log = folder / "log.parquet"
    assert run([*compared(path, log, "-o", str(folder / "runs.parquet"))]) == 0
    return path, log


def test_compare_says_the_same_with_and_without_a_log(
    logged: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log of the first seed has the promotions, demotions and refusals of the table."""
    path, _ = logged
    capsys.readouterr()
    words = compared(path, tmp_path / "a.parquet", "--json", "--workers", "2")
    assert run(words) == 0
    with_log = capsys.readouterr().out
    assert run(words[:-2]) == 0
    assert capsys.readouterr().out == with_log
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    result = json.loads(with_log)
    group = result["setup"]["similarity"]["group_pages"]
    for each in result["runs"]:
        own = [row for row in rows if row["run"] == each["label"]]
        if each["seed"]:
            continue
        for what, figure in (("promoted", "promotions"), ("demoted", "demotions")):
            assert sum(row["what"] == what for row in own) * group == pytest.approx(each[figure])
        for why, count in each["held_back"]:
            times = sum(
                row["times"] * (group if row["page"] is not None else 1)
                for row in own
                if row["why"] == why and row["what"] in ("held", "rested")
            )
            assert round(times) == count
    assert {row["run"] for row in rows} == {each["label"] for each in result["runs"]}
    assert not [name for name in tmp_path.iterdir() if name.name != "a.parquet"], "nothing is left behind"


def test_the_touches_of_a_run_are_all_in_its_log(logged: tuple[str, Path]) -> None:
    """Every run plays the same passes over the recording, and each page of it has the same share of the touches."""
    rows = pq.read_table(logged[1]).to_pylist()
    by_run: dict[str, dict[int, int]] = {}
    for row in rows:
        if row["page"] is not None:
            touches = by_run.setdefault(row["run"], {})
            touches[row["page"]] = touches.get(row["page"], 0) + row["touches"]
    first, *others = by_run.values()
    assert all(touches == first for touches in others)
    assert set(first) == {1, *range(2, 203)}
    assert first[1] == 8 * first[202], "8 touches in a pass, where page 202 has one"


def test_the_chain_of_a_page(logged: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, log = logged
    capsys.readouterr()
    found = json.loads(output(capsys, path, f"{HEAP + 4096:#x}", "--log", str(log), "--json"))
    by_label = {each["label"]: each for each in found["runs"]}
    assert "never decided on: none moves nothing by what it hears" in by_label["none"]["words"][-1]
    precise = next(each for label, each in by_label.items() if label.startswith("pghot-precise"))
    placed, *later = precise["rows"]
    assert (placed["what"], placed["target"]) == ("placed", 1)
    promoted = next(row for row in later if row["what"] == "promoted")
    assert (promoted["why"], promoted["source"], promoted["target"]) == ("hot", 1, 0)
    assert promoted["heat"] >= 2, "its threshold is 2"
    assert promoted["first_ms"] >= placed["first_ms"]
    assert any("a candidate: promoted from cxl to dram by" in line for line in precise["words"])
    assert any("placed on cxl when it was first touched" in line for line in precise["words"])
    assert (precise["top_share"][-1], set(by_label["none"]["top_share"])) == (1, {0})


def test_the_sums_of_a_region(logged: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    path, log = logged
    capsys.readouterr()
    text = output(capsys, path, "[anon]", "--log", str(log))
    assert "200 pages placed on cxl at the first touch" in text
    assert "in the top tier: 0.0 % of them early on" in text


def test_a_log_of_another_recording_is_refused(
    logged: tuple[str, Path], demo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is of another recording: of 'demo' with the digest" in refused(
        capsys, demo, "[heap]", "--log", str(logged[1])
    )
    pq.write_table(pq.read_table(logged[1]).replace_schema_metadata(None), tmp_path / "bare.parquet")
    assert "is no log of decisions" in refused(
        capsys, demo, "[heap]", "--log", str(tmp_path / "bare.parquet")
    )
    assert "no such file" in refused(capsys, demo, "[heap]", "--log", str(tmp_path / "none.parquet"))
    assert "is no log of decisions" in refused(capsys, demo, "[heap]", "--log", demo)


@pytest.mark.parametrize(
    "words", [["report", "LOG"], ["report", "explain", "LOG", "[heap]"], ["compare", "LOG"]]
)
def test_a_log_in_place_of_a_recording_is_named(
    words: list[str], logged: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    log = str(logged[1])
    assert run([log if word == "LOG" else word for word in words]) == 2
    assert capsys.readouterr().err == (
        f"pghot: error: {log} is a log of decisions, no recording\n"
        f"hint: `pghot report explain RECORDING WHAT --log {log}` reads it\n"
    )


def test_a_log_in_larger_pages_is_found_by_address(
    logged: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With folios of 16 KiB [anon] has 50 pages."""
    log = tmp_path / "folios.parquet"
    assert run(compared(logged[0], log, "--folio", "16KiB")) == 0
    capsys.readouterr()
    assert "50 pages placed on cxl at the first touch" in output(
        capsys, logged[0], "[anon]", "--log", str(log)
    )


def test_a_log_takes_one_share_and_a_name_of_its_own(
    demo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", demo, "--fast-share", "5%,20%", "--log", str(tmp_path / "a.parquet")]) == 2
    assert "--log goes with one --fast-share" in capsys.readouterr().err
    (tmp_path / "there.parquet").touch()
    assert run(["compare", demo, "--log", str(tmp_path / "there.parquet")]) == 2
    assert "will not overwrite" in capsys.readouterr().err
    assert run(["compare", demo, "--log", str(tmp_path / "a.csv")]) == 2
    assert "end the name in .parquet" in capsys.readouterr().err


def test_a_damaged_log_is_an_error(
    logged: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut off anywhere, with a changed byte anywhere, or with rows that cannot be."""
    path, log = logged
    whole, damaged = log.read_bytes(), tmp_path / "damaged.parquet"
    step = len(whole) // 40
    for at in range(0, len(whole), step):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            damaged.write_bytes(data)
            assert run(["report", "explain", path, "[anon]", "--log", str(damaged)]) in (0, 2)
    capsys.readouterr()
    table = pq.read_table(log)
    for name, value in (("page", 1 << 20), ("what", "eaten"), ("why", "hunger"), ("target", 7), ("run", "x")):
        column = table[name].to_pylist()
        column[5] = value
        number = table.schema.get_field_index(name)
        changed = table.set_column(number, table.field(name), pa.array(column, table.field(name).type))
        pq.write_table(changed, damaged)
        assert "is damaged: rows that cannot be" in refused(capsys, path, "[anon]", "--log", str(damaged)), (
            name
        )
