"""Traces of accesses as text: lackey, lines of addresses, Ramulator. Plain parsing is the reference."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.foreign import imported, rows_of
from pghot.errors import PghotError, UsageError
from pghot.recording.importers.addresses import parse_addresses
from pghot.recording.importers.lackey import parse_lackey
from pghot.recording.importers.ramulator import parse_ramulator

LACKEY = """==7== Lackey, an example Valgrind tool
I  0401ab70,3
 S 1fff000768,8
I  0401b770,1
 L 1fff000ff8,8
 M 04021000,4
"""


def test_lackey(tmp_path: Path) -> None:
    path = tmp_path / "true.lackey"
    path.write_text(LACKEY)
    recording = imported(path)
    # Extent 0x1fff000000 comes first, with pages 0 and, in the next extent, page 0x21 of 0x04000000.
    # The lines 0x768 >> 6 and 0xff8 >> 6 are two; a modify loads, then stores what is in the cache by then.
    assert rows_of(recording) == [(0, 0, 2, 2, 1), (0, 512 + 0x21, 2, 1, 1)]
    assert recording.info.not_known == (
        "fetches of instructions do not count as accesses",
        "time is not known: each instruction counts as 0.5 ns",
        "misses are not known: they are those of a model of a cache of 1.0 MiB",
    )


def test_instructions_are_lackeys_time(tmp_path: Path) -> None:
    path = tmp_path / "x.lackey"
    # 500,000 instructions of 0.5 ns are one slice of 250 us.
    path.write_text(
        " L 1000,1\n" + "I  00400000,4\n" * 499_999 + " L 1000,1\n" + "I  00400000,4\n L 2000,1\n"
    )
    assert rows_of(imported(path)) == [(0, 1, 2, 1, 0), (250_000, 2, 1, 1, 0)]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_what_valgrind_prints_is_read_to_the_last_access(tmp_path: Path) -> None:
    path = tmp_path / "true.lackey"
    command = ["valgrind", "--tool=lackey", "--trace-mem=yes", f"--log-file={path}", "/bin/true"]
    subprocess.run(command, check=True, capture_output=True)
    kinds = re.findall(r"^ ([LSM]) ", path.read_text(), re.MULTILINE)
    recording = imported(path)
    assert recording.total_touches == len(kinds) + kinds.count("M")
    assert recording.total_writes == kinds.count("S") + kinds.count("M")
    assert "left out" not in recording.info.doubt


def test_lines_of_addresses_and_what_follows_them(tmp_path: Path) -> None:
    path = tmp_path / "swim"
    path.write_text("# of a simulator\nl 0x1fff8 4\ns 0x1fffc 1\r\nLD 2F000\n store 0X2f040 8\nhello\n")
    recording = imported(path)
    # 0x1fff8 and 0x1fffc are of one line, 0x2f000 and 0x2f040 of neighbours.
    assert rows_of(recording) == [(0, 0x1F, 2, 1, 1), (0, 0x2F, 2, 2, 1)]
    assert recording.total_sequential == 1
    assert "left out: 1 lines that are no access" in recording.info.doubt


def test_ramulator(tmp_path: Path) -> None:
    path = tmp_path / "example.trace"
    path.write_text("3 4096\n0 4160 8192\n1 0x1000\n")
    recording = imported(path)
    assert rows_of(recording) == [(0, 1, 3, 3, 0), (0, 2, 1, 1, 1)]
    # 4 instructions, then 1, then 2: 3.5 ns, of which 1.5 are after the first access.
    (batch,) = recording.batches()
    assert batch.instructions.tolist() == [4]


@pytest.mark.parametrize("text", [LACKEY, "l 0x1fff8 4\ns 0x1fffc 1\nLD 2f00\n", "3 4096\n0 4160 8192\n"])
def test_every_beginning_of_a_file_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace"
    whole = 0
    for length in range(len(text) + 1):
        path.write_text(text[:length])
        try:
            recording = imported(path)
        except UsageError:
            assert not whole, "what was read before is refused now"
            continue
        assert recording.total_touches >= whole
        if text[:length].endswith("\n"):
            whole = recording.total_touches


def test_an_endless_line_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"l 0x10\n" * 1000 + b"l" * (2 << 20))
    with pytest.raises(PghotError, match="damaged at byte 7,000: a line of more than 65,536 bytes"):
        imported(path)


LINE = st.one_of(
    st.from_regex(r"(I | [LSM]|[LSM] |  ) ?[0-9a-f]{0,18},?[0-9]{0,3}[ \r]?", fullmatch=True),
    st.from_regex(r"[ \t]?([lsrwLDxST]{1,4}|#)[ \t]{0,2}(0x)?[0-9a-fG]{0,18}( [0-9]+)?", fullmatch=True),
    st.from_regex(r"[0-9]{1,20} (0x[0-9a-f]{1,17}|[0-9]{0,20})( [0-9]{1,20})? ?", fullmatch=True),
    st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=9),
)


def run(parse: object, lines: list[str]) -> tuple[list[tuple[int, bool]], int]:
    """(address, write) of each access, and how many lines are none."""
    text = np.frombuffer("".join(f"{line}\n" for line in lines).encode() or b"\n", np.uint8)
    most = len(text) // 2 + 1
    address, write, before = np.zeros(most, np.uint64), np.zeros(most, np.bool_), np.zeros(most, np.uint64)
    used, _, strange = parse(text, 0, address, write, before)  # type: ignore[operator]
    return list(zip(address[:used].tolist(), write[:used].tolist(), strict=True)), strange


def fits(number: int) -> bool:
    return number < 1 << 64


@given(st.lists(LINE, max_size=12))
def test_lackey_is_parsed_as_the_pattern_says(lines: list[str]) -> None:
    expected: list[tuple[int, bool]] = []
    strange = 0
    for line in lines:
        found = re.fullmatch(
            r"(I | [LSM]) ((?:0[xX])?[0-9a-fA-F]+),[0-9]{1,19}[ \t]*(\r.*)?", line, re.DOTALL
        )
        if found and fits(int(found[2], 16)):
            kind = found[1].strip()
            expected += [(int(found[2], 16), kind == "S")] * (kind in "LS")
            expected += [(int(found[2], 16), False), (int(found[2], 16), True)] * (kind == "M")
        elif (
            not line.startswith(("==", "--"))
            and line.strip(" \t")
            and not line.lstrip(" \t").startswith("\r")
        ):
            strange += 1
    assert run(parse_lackey, lines) == (expected, strange)


@given(st.lists(LINE, max_size=12))
def test_addresses_are_parsed_as_the_pattern_says(lines: list[str]) -> None:
    expected: list[tuple[int, bool]] = []
    strange = 0
    for line in lines:
        plain = line.lstrip(" \t")
        found = re.match(r"([lrswLRSW])[a-zA-Z]*[ \t]+((?:0[xX])?[0-9a-fA-F]+)(?=[ \t\r]|$)", plain)
        if found and fits(int(found[2], 16)):
            expected.append((int(found[2], 16), found[1] in "swSW"))
        elif plain and plain[0] not in "#\r":
            strange += 1
    assert run(parse_addresses, lines) == (expected, strange)


@given(st.lists(LINE, max_size=12))
def test_ramulator_is_parsed_as_the_pattern_says(lines: list[str]) -> None:
    number = r"(0[xX][0-9a-fA-F]+|[0-9]{1,19}(?![0-9]))"
    expected: list[tuple[int, bool]] = []
    strange = 0
    for line in lines:
        found = re.match(rf"[ \t]*{number}[ \t]*{number}(?:[ \t]*{number})?[ \t]*(\r|$)", line)
        if found and not re.match(r"[ \t]*\S+[ \t]", line):
            continue  # numbers that run together are drawn by nobody
        values = (
            [int(each, 0) if each[:2] in ("0x", "0X") else int(each) for each in found.groups()[:3] if each]
            if found
            else []
        )
        if values and values[0] <= 1 << 40 and all(map(fits, values)):
            expected += [(values[1], False), *((value, True) for value in values[2:])]
        elif line.strip(" \t") and not line.lstrip(" \t").startswith("\r"):
            strange += 1
    assert run(parse_ramulator, lines) == (expected, strange)
