"""Journals: what `pghot undo` does with a damaged or forged one, in a made-up machine with two programs and knobs.

Whatever it says, nothing outside the knobs of pghot is written, and no page moves but to where a line that is whole
says it came from. Which lines those are, a plain reader of this file finds out.
"""

from __future__ import annotations

import base64
import json
import math
import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from builders.damage import damaged_bytes, damaged_json, odd_value
from builders.live_loop import BOOT_ID, START, FakeKernel, addresses, maps_line, space_of
from builders.machine_trees import put
from fuzz.harness import Silent
from pghot.kernel.knob_files import DEMOTION_ENABLED, NUMA_BALANCING, PROMOTE_RATE_LIMIT, SCAN
from pghot.kernel.sysroot import SysRoot
from pghot.live import undo as undo_module
from pghot.live.journal import Journal
from pghot.live.journal_file import FORMAT, read_journal
from pghot.live.journal_runs import RUN, pack
from pghot.live.undone import Undone
from pghot.report.live_text import render_undo
from pghot.sealed import seal, unseal

NAME = "journal"
PIDS = (500, 501)
PAGES = 48
GONE = 1 << 22  # the pghot that wrote it
# Path, what it may have, value before pghot, pghot's.
KNOBS = (
    (NUMA_BALANCING, "[0-9]", "1", "2"),
    (PROMOTE_RATE_LIMIT, "[0-9]{1,10}", "65536", "0"),
    (f"{SCAN}/scan_size_mb", "[1-9][0-9]{0,4}", "256", "4096"),
    (DEMOTION_ENABLED, "true|false|0|1", "false", "true"),
)
_PRECIOUS = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/etc/passwd")
_PATHS = (
    *_PRECIOUS,
    f"{SCAN}/../../../../../proc/sys/kernel/core_pattern",
    f"{NUMA_BALANCING}/../core_pattern",
    f"/proc/self/root{NUMA_BALANCING}",
    "/sys/kernel/mm/damon/admin/kdamonds/0/state",
    *(knob[0] for knob in KNOBS),
)


@dataclass(frozen=True, slots=True)
class Made:
    """A journal in a machine whose programs' pages and knobs are as pghot left them."""

    kernel: FakeKernel
    path: Path


def make(rng: random.Random, folder: Path) -> Made:
    """A journal as pghot writes it, then damaged, forged with a seal that fits, or left alone."""
    kernel = FakeKernel(folder / "tree")
    for pid in PIDS:
        kernel.program(pid, [maps_line(START, PAGES)], comm=f"program {pid}")
        kernel.populate(pid, 0, PAGES, 1)
    for path in _PRECIOUS:
        put(kernel.tree, path, "precious")
    for path, _, _, now in KNOBS:
        put(kernel.tree, path, now)
    path = folder / "j"
    _write(rng, kernel, path)
    content = path.read_bytes()
    match rng.randrange(6):
        case 0 | 3:
            pass
        case 1:
            content = damaged_bytes(rng, content)
        case 2:
            lines = content.splitlines(keepends=True)
            rng.shuffle(lines)
            content = b"".join(lines[: rng.randint(0, len(lines))] + lines[: rng.randrange(3)])
        case _:
            content = _forged(rng, content)
    path.write_bytes(content)
    return Made(kernel, path)


def _write(rng: random.Random, kernel: FakeKernel, path: Path) -> None:
    """What a pghot wrote that moved pages of both programs up and is gone; some of them were on node 0 before."""
    with Journal(path, kernel.root) as journal:
        for name, _, old, new in rng.sample(KNOBS, rng.randrange(len(KNOBS) + 1)):
            journal.knob(name, old, new)
        for _ in range(rng.randrange(5)):
            pages = np.array(sorted(rng.sample(range(PAGES), rng.randint(1, PAGES))))
            node = np.array([rng.choice((0, 1, 1)) for _ in pages], np.uint8)
            address = addresses(0, PAGES)[pages]
            journal.origins(space_of(rng.choice(PIDS)), address, node, rng.random() < 0.3)
        journal.empty = False
    lines = [unseal(line) | {"writer": [GONE, 7], "command": []} for line in path.read_text().splitlines()]
    path.write_text("".join(f"{seal(line)}\n" for line in lines))
    for pid in PIDS:
        away = np.array([number for number in range(PAGES) if rng.random() < 0.6], np.int64)
        kernel.move_pages(pid, addresses(0, PAGES)[away], np.zeros(len(away), np.int32))


def _forged(rng: random.Random, content: bytes) -> bytes:
    """Some lines say another thing, with a seal that fits."""
    facts = [unseal(line) for line in content.decode().splitlines()]
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(facts))
        facts[at] = rng.choice((_other, _other, _a_knob, _runs, _bomb))(rng, facts[at])
        if rng.random() < 0.3:
            facts.insert(rng.randrange(len(facts)), _bomb(rng, facts[at]))
    return "".join(f"{seal(fact)}\n" for fact in facts).encode("utf-8", "surrogateescape")


def _other(rng: random.Random, fact: dict[str, Any]) -> dict[str, Any]:
    changed = damaged_json(rng, fact)
    return changed if isinstance(changed, dict) else {"kind": changed}


def _session(fact: dict[str, Any]) -> dict[str, Any]:
    return {name: fact.get(name) for name in ("format", "boot_id", "writer", "pid_namespace")}


def _a_knob(rng: random.Random, fact: dict[str, Any]) -> dict[str, Any]:
    """Any file, with values that may be right, and often with the value that the file has."""
    values = ("0", "1", "2", "256", "precious", "true", "|/tmp/evil", "1\n", "", "9" * 40, odd_value(rng))
    now = ("precious", *(knob[3] for knob in KNOBS))
    knob = {"kind": "knob", "path": rng.choice(_PATHS), "old": rng.choice(values), "new": rng.choice(now)}
    return _session(fact) | knob


def _origins(fact: dict[str, Any], rng: random.Random, runs: list[tuple[int, int, int]]) -> dict[str, Any]:
    who = {"kind": "origins", "pid": rng.choice(PIDS), "start_ticks": 100, "mm": [1, 2, 3], "name": "x"}
    return _session(fact) | who | {"runs": base64.b64encode(pack(np.array(runs, RUN))).decode()}


def _runs(rng: random.Random, fact: dict[str, Any]) -> dict[str, Any]:
    """Runs as bytes that nobody packed."""
    raw = rng.randbytes(13 * rng.randrange(6)) if rng.random() < 0.5 else bytes(13 * rng.randrange(1 << 16))
    text = rng.choice((zlib.compress(raw), raw, zlib.compress(raw)[:-3], zlib.compress(raw) + b"x"))
    return _origins(fact, rng, [(0, 1, 0)]) | {"runs": base64.b64encode(text).decode()}


def _bomb(rng: random.Random, fact: dict[str, Any]) -> dict[str, Any]:
    """As many pages as a line can be about, anywhere."""
    first = rng.choice((0, (START >> 12) - rng.randrange(1 << 20), rng.randrange(1 << 51)))
    runs = [
        (first + number * (1 << 19), rng.choice((1, 1 << 18)), rng.choice((0, 1))) for number in range(1000)
    ]
    return _origins(fact, rng, rng.choice((runs, [(first, rng.choice((1 << 20, 1 << 30)), 0)])))


# ---- what must come of it


def check(made: Made) -> str:
    """Undo it; "unverified" when lines of it were damaged and undo says so."""
    kernel, root = made.kernel, made.kernel.root
    pages, files = dict(kernel.node), _files(kernel.tree)
    undo_module.query_nodes, undo_module.move_pages = kernel.query_nodes, kernel.move_pages
    expected = _Expected(made.path)
    try:
        read = read_journal(made.path)
        if expected.begins and expected.applies and read.damaged != expected.damaged:
            raise Silent(f"lines {read.damaged} are damaged to it, and {expected.damaged} are")
        done = undo_module.undo(read, root)
    finally:
        untouched = (dict(kernel.node), _files(kernel.tree))
        said_done = made.path.read_bytes().endswith(b"\n") and read_kind(made.path) == "undone"
    changed = {key: node for key, node in untouched[0].items() if node != pages[key]}
    for (pid, address), node in changed.items():
        if expected.node.get((pid, address >> 12)) != node:
            raise Silent(f"page {address:#x} of {pid} went to node {node}, which no line says")
    _check_files(root, files, untouched[1], expected)
    if expected.applies:
        _check_complete(made, done, changed, expected)
    json.dumps(done.facts())
    if not all(line.isprintable() for line in render_undo(done.facts()).splitlines()):
        raise Silent("what it prints is not printable")
    if expected.damaged and expected.applies and (done.complete or said_done):
        raise Silent(f"lines {expected.damaged} are damaged, and it says that all was put back")
    return "unverified" if expected.damaged else "accepted"


def read_kind(path: Path) -> object:
    """The kind of the last line."""
    try:
        return unseal(path.read_text(errors="surrogateescape").splitlines()[-1]).get("kind")
    except ValueError:
        return None


def _check_complete(made: Made, done: Undone, changed: dict[Any, int], expected: _Expected) -> None:
    """All that a whole line names, and that is there, is back, and the counts say so."""
    for (pid, page), node in expected.node.items():
        now = made.kernel.node.get((pid, page << 12))
        if now is not None and node in (0, 1) and now != node:
            raise Silent(f"page {page:#x} of {pid} is on node {now} and came from {node}; {done.facts()}")
    if done.pages_back != len(changed):
        raise Silent(f"{len(changed)} pages went back, and it says {done.pages_back}")


def _files(tree: Path) -> dict[str, str]:
    skipped = ("meminfo",)  # follows the pages
    return {
        f"/{path.relative_to(tree)}": path.read_text(errors="replace").strip()
        for path in tree.rglob("*")
        if path.is_file() and path.name not in skipped
    }


def _check_files(root: SysRoot, before: dict[str, str], after: dict[str, str], expected: _Expected) -> None:
    for path in before.keys() | after.keys():
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        knob = next((knob for knob in KNOBS if knob[0] == path), None)
        if knob is None or new is None or not re.fullmatch(knob[1], new):
            raise Silent(f"{path} became {new!r}")
        if not any(path == of and new == was for of, was in expected.knobs):
            raise Silent(f"{path} became {new!r}, which no line says it was")


class _Expected:
    """What the whole lines of a journal say, read the plain way.

    node     the node of each page (pid, page number) that is named; the first line counts
    knobs    (path, value before) of each line about one
    damaged  numbers of the lines that are not whole
    applies  it is of this boot, and of programs that pids mean here
    begins   its first line is a first line; without it that is one of the damaged ones
    """

    def __init__(self, path: Path) -> None:
        self.node: dict[tuple[int, int], int] = {}
        self.knobs: list[tuple[str, str]] = []
        self.damaged: list[int] = []
        facts = [_unsealed(line) for line in path.read_bytes().split(b"\n")]
        if facts and path.read_bytes().endswith(b"\n"):
            facts.pop()
        head = next((fact for fact in facts if fact and "format" in fact), {})
        self.applies = head.get("boot_id") == BOOT_ID and head.get("pid_namespace", "") == ""
        self.begins = bool(facts) and (facts[0] or {}).get("kind") == "journal"
        for number, fact in enumerate(facts, 1):
            if fact is None or not self._take(fact, head):
                self.damaged.append(number)

    def _take(self, fact: dict[str, Any], head: dict[str, Any]) -> bool:
        if fact.get("kind") == "undone":
            return True
        same = all(fact.get(name) == head.get(name) for name in ("boot_id", "writer"))
        if not same or fact.get("format") != FORMAT or "kind" not in fact:
            return False
        match fact["kind"]:
            case "journal" | "compressed":
                return True
            case "knob":
                return self._take_knob(fact)
            case "origins":
                return self._take_origins(fact)
        return False

    def _take_knob(self, fact: dict[str, Any]) -> bool:
        path, old, new = (fact.get(name) for name in ("path", "old", "new"))
        state = ("/sys/kernel/mm/damon/admin/kdamonds/0/state", "on|off")
        for of, values in (*(knob[:2] for knob in KNOBS), state):
            if path == of and all(
                isinstance(each, str) and re.fullmatch(values, each) for each in (old, new)
            ):
                self.knobs.append((of, str(old)))
                return True
        return False

    def _take_origins(self, fact: dict[str, Any]) -> bool:
        numbers = [fact.get("pid"), fact.get("start_ticks")]
        mm = fact.get("mm")
        if not isinstance(mm, list) or len(mm) != 3 or "name" not in fact:
            return False
        bounds = (1 << 30, 1 << 63, 1 << 64, 1 << 64, 1 << 64)
        if not all(
            type(each) is int and 0 <= each < most for each, most in zip((*numbers, *mm), bounds, strict=True)
        ):
            return False
        try:
            runs = list(_runs_of(base64.b64decode(fact["runs"], validate=True)))
        except (KeyError, TypeError, ValueError, zlib.error):
            return False
        if not runs:
            return False
        for first, pages, node in runs:
            for page in range(max(first, START >> 12), min(first + pages, (START >> 12) + PAGES)):
                if numbers[0] in PIDS and [numbers[1], *mm] == [100, 1, 2, 3]:
                    self.node.setdefault((int(numbers[0]), page), node)
        return True


def _unsealed(line: bytes) -> dict[str, Any] | None:
    crc, _, text = line.partition(b" ")
    try:
        facts = json.loads(
            text.decode("utf-8", "surrogateescape"), parse_constant=_finite, parse_float=_finite
        )
    except (ValueError, RecursionError):
        return None
    return facts if crc == f"{zlib.crc32(text):08x}".encode() and isinstance(facts, dict) else None


def _finite(text: str) -> float:
    """A number that JSON has. Raises `ValueError` for NaN, Infinity and what overflows to it."""
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _runs_of(packed: bytes) -> Iterator[tuple[int, int, int]]:
    """First page, pages, node of each run of a line. Raises `ValueError` for none."""
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(packed)
    count = len(raw) // 13
    if len(raw) % 13 or not unpacker.eof or unpacker.unused_data or count > 1 << 16:
        raise ValueError

    def column(begin: int, width: int) -> list[int]:
        planes = [raw[begin + byte * count : begin + (byte + 1) * count] for byte in range(width)]
        return [int.from_bytes(bytes(each), "little") for each in zip(*planes, strict=True)]

    gaps, lengths, nodes = column(0, 8), column(8 * count, 4), column(12 * count, 1)
    at = 0
    found = []
    for gap, pages, node in zip(gaps, lengths, nodes, strict=True):
        at += gap
        if gap > 1 << 52 or not pages or node == 255 or at + pages > 1 << 52:
            raise ValueError
        found.append((at, pages, node))
        at += pages
    if sum(lengths) > 1 << 30:
        raise ValueError
    yield from found
