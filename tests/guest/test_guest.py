"""The guest suites from outside: each kind of machine boots once, and each test inside shows as one here.

The tests themselves are in `inside`; what they reported (coverage, accuracy, time, CPU) is printed as tables at
the end.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest
from vm import CACHE, MACHINES, CannotBootError, Guest, fetch_kernel, find_qemu

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BOOT_LIMIT_S = 1500  # a guard against a hang only
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--no-cov")
CPU = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(CACHE / "numba")}


def inside_tests() -> list[tuple[str, str]]:
    """(kind of machine, test id) of every test inside, as pytest itself collects them."""
    found = []
    for kind in MACHINES:
        command = [*PYTEST, "--collect-only", "-m", kind, str(HERE / "inside")]
        environment = {**os.environ, "PGHOT_GUEST": "collect"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        found += [(kind, line) for line in done.stdout.splitlines() if "::" in line]
    return found


@dataclass
class Result:
    """What became of one test inside."""

    outcome: str
    text: str


@functools.cache
def results(kind: str) -> dict[str, Result]:
    """Boot the machine, run all its tests, and read what they say. Raises `CannotBootError`."""
    find_qemu()
    fetch_kernel("linux-image-6.12-amd64")
    if shutil.which("cc") is None:
        raise CannotBootError("no cc to compile the tests' program with (package gcc)")
    shared = CACHE / f"shared-{kind}"
    shutil.rmtree(shared, ignore_errors=True)
    shared.mkdir(parents=True)
    subprocess.run(["cc", "-O1", "-o", shared / "program", HERE / "program.c"], check=True)
    subprocess.run([sys.executable, HERE / "warm.py"], cwd=ROOT, env={**os.environ, **CPU}, check=True)
    guest = Guest(
        MACHINES[kind], writable=[CACHE], environment={"PGHOT_GUEST": str(shared), **CPU}, cxl=kind == "cxl"
    )
    xml = shared / "results.xml"
    command = [*PYTEST, "-m", kind, f"--junitxml={xml}", "--timeout=300", str(HERE / "inside")]
    status, output = guest.run(command, ROOT, BOOT_LIMIT_S)
    (shared / "output.txt").write_text(output)
    if not xml.exists():
        pytest.fail(f"the guest brought no results back (status {status}):\n{output[-3000:]}", pytrace=False)
    return _read(xml)


def _read(xml: Path) -> dict[str, Result]:
    found = {}
    for case in ET.parse(xml).iter("testcase"):
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        text = "" if bad is None else f"{bad.get('message')}\n{bad.text or ''}"
        found[str(case.get("name"))] = Result("passed" if bad is None else bad.tag, text)
    return found


@pytest.mark.timeout(BOOT_LIMIT_S + 300)
@pytest.mark.parametrize("kind, test", inside_tests())
def test_inside(kind: str, test: str) -> None:
    try:
        result = results(kind).get(test.partition("::")[2])
    except CannotBootError as lack:
        pytest.skip(f"no guest: {lack}")
    if result is None:
        pytest.fail("the guest never ran this test", pytrace=False)
    if result.outcome == "skipped":
        pytest.skip(result.text)
    if result.outcome != "passed":
        pytest.fail(result.text, pytrace=False)


def test_reports(capsys: pytest.CaptureFixture[str]) -> None:
    """Print the tables that the tests inside made."""
    tables = sorted(CACHE.glob("shared-*/*.jsonl"))
    with capsys.disabled():
        for table in tables:
            print(f"\n{table.parent.name.removeprefix('shared-')}: {table.stem}")
            for line in table.read_text().splitlines():
                print("  " + "  ".join(f"{key} {_shown(value)}" for key, value in json.loads(line).items()))


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
