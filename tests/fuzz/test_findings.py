"""What the fuzzers found, each as the smallest case that shows it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.forged import forging, resealed
from builders.live_loop import FakeKernel, addresses, space_of
from builders.machine_trees import put
from fuzz.parquet import tables
from fuzz.recording import originals
from fuzz.toml_validation import SMALL
from pghot.daemon.config import load_config
from pghot.errors import PghotError
from pghot.kernel.cpus import midr, parse_list, possible_cpus
from pghot.kernel.iomem import system_ram
from pghot.kernel.process import capabilities
from pghot.kernel.smaps import mappings_in_use
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import FileIdentity, MappedFile, Space
from pghot.lab.validate import run_validation
from pghot.live.journal import Journal
from pghot.live.journal_file import read_journal
from pghot.live.machine.chosen_nodes import parse_nodes
from pghot.recording.convert import convert
from pghot.recording.framing import InMemory, batch_header, messages
from pghot.recording.parquet import EMPTY_KEY, SEAL_KEY
from pghot.recording.reader import open_recording
from pghot.sealed import seal, unseal


@pytest.mark.parametrize("node", range(29))
def test_a_batch_that_says_it_leaves_values_out(node: int, tmp_path: Path) -> None:
    """Of a struct too: Arrow then reads no row where pghot read one."""
    original = originals()[0]
    message = list(messages(InMemory(original.content)))[1]
    nodes = batch_header(message).nodes
    assert len(nodes) == 29
    content = bytearray(original.content)
    first = content.index(b"".join(struct.pack("<qq", *each) for each in nodes), message.offset)
    content[first + 16 * node + 8] = 1
    path = tmp_path / "a.pghot"
    path.write_bytes(resealed(bytes(content)))
    with pytest.raises(PghotError, match=r"damaged at byte .* values left out"):
        list(open_recording(path).batches())


def refusal_of(table: pa.Table, metadata: dict[str, str], tmp_path: Path) -> str:
    """What `pghot convert` says of a table with this metadata, after the name of the file."""
    path = tmp_path / "a.parquet"
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(PghotError) as caught:
        convert(path, tmp_path / "b.pghot")
    assert caught.value.hint
    assert not (tmp_path / "b.pghot").exists()
    return str(caught.value).removeprefix(f"{path} ")


WITHOUT_SEAL = {key: text for key, text in tables()[0].metadata.items() if key != SEAL_KEY}


@pytest.mark.parametrize("name", ["slice", "node", "misses"])
@pytest.mark.parametrize("metadata", [{}, WITHOUT_SEAL], ids=["bare", "with metadata"])
@pytest.mark.parametrize("rows", [0, 9])
def test_a_column_that_is_there_twice(name: str, metadata: dict[str, str], rows: int, tmp_path: Path) -> None:
    """Also of a table without rows, where nothing is ever read from the column."""
    table = tables()[0].table.slice(0, rows)
    twice = table.append_column(name, table[name])
    assert refusal_of(twice, metadata, tmp_path) == f"has more than one column {name}"


@pytest.mark.parametrize("name", ["start_ns", "node", "touches"])
@pytest.mark.parametrize(
    "other",
    [lambda value: [value], lambda value: {"a": value}, lambda value: None, lambda value: value + 0.5],
)
def test_a_bare_table_whose_column_has_no_whole_numbers(
    name: str, other: Callable[[Any], Any], tmp_path: Path
) -> None:
    table = tables()[0].table
    values = pa.array([other(value) for value in table[name].to_pylist()])
    changed = table.set_column(table.schema.get_field_index(name), name, values)
    assert name in refusal_of(changed, {}, tmp_path)


def test_a_table_whose_column_names_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(tables()[0].content.replace(b"instructions", b"instruct\xf4ons"))
    with pytest.raises(PghotError, match="as Parquet"):
        convert(path, tmp_path / "b.pghot")


@pytest.mark.parametrize(
    "empty",
    [
        *([], [[]], [0, 1, 2], [[1, 5.5, 0]], [[True, 5, 0]], [[20, -1, 0]], [[20, "5", 0]], {"a": 1}, None),
        [[0, 5, 7]],
        [[20, 90_000_000, 0], [20, 90_000_001, 0]],
    ],
)
def test_empty_slices_that_are_none(empty: Any, tmp_path: Path) -> None:
    """Rows of three numbers; and not of a slice that has rows, or twice of one: that made two slices of it."""
    metadata = {**WITHOUT_SEAL, EMPTY_KEY: json.dumps(empty)}
    if empty == []:
        pq.write_table(tables()[0].table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
        assert convert(tmp_path / "a.parquet", tmp_path / "b.pghot").slices == 9
    else:
        said = refusal_of(tables()[0].table, metadata, tmp_path)
        assert "empty" in said


def test_empty_slices_in_any_order_go_where_they_belong(tmp_path: Path) -> None:
    numbers = np.array([0, 2, 4], np.uint64)
    ones = np.ones(3, np.uint32)
    table = pa.table(
        {
            "slice": numbers,
            "start_ns": 1000 * numbers,
            "instructions": numbers,
            "page": ones,
            "touches": ones,
            "misses": ones,
        }
    )
    metadata = {**WITHOUT_SEAL, EMPTY_KEY: json.dumps([[3, 3000, 3], [1, 1000, 1]])}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    convert(tmp_path / "a.parquet", tmp_path / "b.pghot")
    found = [batch.start_ns for batch in open_recording(tmp_path / "b.pghot").batches()]
    assert np.concatenate(found).tolist() == [0, 1000, 2000, 3000, 4000]


@pytest.mark.parametrize("pages", ["5", 1.5, True, -1, 1 << 29, None])
def test_a_table_that_claims_a_space_that_is_none(pages: Any, tmp_path: Path) -> None:
    metadata = {**WITHOUT_SEAL, "pghot.final": json.dumps({"pages": pages})}
    assert "dense space" in refusal_of(tables()[0].table, metadata, tmp_path)


@pytest.mark.parametrize("start_ns", [(1 << 62) + 1, (1 << 63) - 1])
def test_a_slice_at_a_time_that_no_reader_accepts(start_ns: int, tmp_path: Path) -> None:
    """It was written, called verified, and left out by every reader."""
    ones = np.ones(1, np.uint32)
    times = np.array([start_ns], np.uint64)
    table = pa.table(
        {
            "slice": ones,
            "start_ns": times,
            "instructions": ones,
            "page": ones,
            "touches": ones,
            "misses": ones,
        }
    )
    assert "beyond what a reader accepts" in refusal_of(table, {}, tmp_path)
    empty = {**WITHOUT_SEAL, EMPTY_KEY: json.dumps([[0, start_ns, 7]])}
    assert "beyond what a reader accepts" in refusal_of(tables()[0].table.slice(0, 0), empty, tmp_path)


def test_the_latest_slice_that_a_reader_accepts(tmp_path: Path) -> None:
    ones = np.ones(1, np.uint32)
    times = np.array([1 << 62], np.uint64)
    table = pa.table(
        {
            "slice": ones,
            "start_ns": times,
            "instructions": ones,
            "page": ones,
            "touches": ones,
            "misses": ones,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert convert(tmp_path / "a.parquet", tmp_path / "b.pghot").rows == 1
    assert open_recording(tmp_path / "b.pghot", verify=True).rows == 1


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"])
@pytest.mark.parametrize("key", ["pghot", "pghot.final"])
def test_numbers_that_json_does_not_have(key: str, number: str, tmp_path: Path) -> None:
    """They came out again in `report summary --json`, which no other program could read."""
    text = WITHOUT_SEAL[key].rstrip("}") + f', "exit_status": {number}}}'
    assert "no number of JSON" in refusal_of(tables()[0].table, {**WITHOUT_SEAL, key: text}, tmp_path)


def test_a_version_that_is_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pghot"
    path.write_bytes(originals()[0].content)
    with forging(path) as taken_apart:
        taken_apart.header["format"] = "a\nb" + "x" * 500
    with pytest.raises(PghotError, match=r"has format a\\nbx{1,20}…x{1,20}, this"):
        open_recording(path)


@pytest.mark.parametrize(
    "line",
    [
        *(
            'nodes.slow = "a\\nb"',
            'policy = "a\\nb"',
            'options.faults.scan_period_ms = "a\\nb"',
            'options."a\\nb".x = 1',
        ),
        *(
            'tracked = "a\\nb"',
            'service.metrics = "a\\nb"',
            '"a\\nb" = 1',
            'sources = ["a\\nb"]',
            'log = "\\u001b[2J"',
        ),
    ],
)
def test_a_configuration_with_texts_of_several_lines(line: str, tmp_path: Path) -> None:
    """What a refusal shows of them is one line, for logs too."""
    path = tmp_path / "a.toml"
    path.write_text(f'{line}\ntargets.names = ["x"]\n')
    with pytest.raises(PghotError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["000001fffeffff0x10ff", "", "-", "zz"])
def test_numbers_of_the_kernel_that_are_none(text: str, tmp_path: Path) -> None:
    """In a damaged tree: no capabilities, no Arm CPU, and CPU 0 alone."""
    cpus = tmp_path / "sys/devices/system/cpu"
    (cpus / "cpu0/regs/identification").mkdir(parents=True)
    (cpus / "cpu0/regs/identification/midr_el1").write_text(text)
    (cpus / "possible").write_text(text)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(f"CapEff:\t{text}\n")
    root = SysRoot(tmp_path)
    assert (capabilities(root), midr(root, 0), possible_cpus(root)) == (0, 0, [0])


def test_a_list_of_numbers_that_no_kernel_has(tmp_path: Path) -> None:
    """It would fill all memory."""
    for text in ("0-99999999999", f"0-{10**30}", "65537"):
        with pytest.raises(ValueError, match="no kernel has a CPU or node"):
            parse_list(text)
        with pytest.raises(PghotError, match="is no list of nodes"):
            parse_nodes(text, "--fast-nodes")
    assert parse_list("0-2,65536") == [0, 1, 2, 65536]


def test_a_name_with_a_nul_is_no_file(tmp_path: Path) -> None:
    """Names come from the tree itself: a cgroup's, a link's."""
    root = SysRoot(tmp_path)
    assert root.read_or("/proc/1/cgroup\0x", "none") == "none"
    with pytest.raises(FileNotFoundError):
        root.open("/sys/\0", 0)


@pytest.mark.parametrize(
    ("name", "shown"), [("small", "small"), ("\x1b[2J", "\\x1b[2J"), ("n" * 60, "n" * 19 + "…" + "n" * 20)]
)
def test_a_workload_in_a_validation_is_named_as_what_it_is(name: str, shown: str, tmp_path: Path) -> None:
    """It was said to be in a file NAME.toml, which nobody has."""
    text = SMALL.replace('"small"', json.dumps(name)).replace("1000", '"many"')
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(PghotError) as caught:
        run_validation(tmp_path / "a.toml")
    assert str(caught.value).startswith(f"validation '{shown}': workload: accesses_per_slice: ")


@pytest.mark.parametrize("line", ["{0}1000-2000 rw-p", "1000-{0}2000 rw-p", "{0}1000-{0}2000 rw-p"])
def test_an_address_of_more_than_64_bits_is_no_mapping(line: str, tmp_path: Path) -> None:
    text = "\n".join([line.format("9" * 17), "Rss: 4 kB", "3000-5000 rw-p 0 0:0 0", "Rss: 8 kB"])
    put(tmp_path, "proc/7/smaps", text)
    start, end = mappings_in_use(SysRoot(tmp_path), 7)
    assert (start.tolist()[-1], end.tolist()[-1]) == (0x3000, 0x5000)
    put(
        tmp_path,
        "proc/iomem",
        "\n".join(["9" * 17 + "-" + "9" * 18 + " : System RAM", "1000-1fff : System RAM"]),
    )
    assert system_ram(SysRoot(tmp_path)) == [(0x1000, 0x2000)]


@pytest.mark.parametrize("home", [space_of(500), MappedFile(1, FileIdentity(1, 2, 3), "/dev/shm/x")])
def test_a_line_without_a_name_is_damage_wherever_it_stands(home: Space | MappedFile, tmp_path: Path) -> None:
    """It was believed after another line about the same program or file."""
    with Journal(tmp_path / "j", FakeKernel(tmp_path / "machine").root) as journal:
        for _ in range(3):
            journal.origins(home, addresses(0, 3), np.ones(3, np.uint8))
        lines = [unseal(line) for line in journal.path.read_text().splitlines()]
        for at in (1, 2, 3):
            told = [{k: v for k, v in fact.items() if k != "name" or i != at} for i, fact in enumerate(lines)]
            path = tmp_path / f"without {at}"
            path.write_text("".join(f"{seal(fact)}\n" for fact in told))
            assert read_journal(path).damaged == [at + 1]
