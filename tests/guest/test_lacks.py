"""A machine that cannot boot the guest is told by name what it lacks, and the tests are skipped, not failed."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

import debian
import pytest
import suites
import vm
from debian import CannotFetchError, fetch
from emulator import CannotBootError, find_emulator
from kernels import Kernel
from vm import MACHINES, Emulator, Guest


def path_with(place: Path, *programs: str) -> str:
    """A PATH on which there are only these programs."""
    for program in programs:
        (place / program).symlink_to(shutil.which(program) or "/bin/true")
    return str(place)


@pytest.mark.parametrize(
    "present, missing",
    [((), "package qemu-system-x86"), (("qemu-system-x86_64",), "package busybox-static")],
    ids=["qemu", "busybox"],
)
def test_programs(
    present: tuple[str, ...], missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path_with(tmp_path, *present))
    with pytest.raises(CannotBootError, match=missing):
        find_emulator.__wrapped__(tmp_path)


def test_a_busybox_with_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not start before the guest has our files."""
    path_with(tmp_path, "qemu-system-x86_64")
    shutil.copy("/bin/ls", tmp_path / "busybox")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBootError, match="not the static one"):
        find_emulator.__wrapped__(tmp_path)


def test_no_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotFetchError, match="no apt-get"):
        debian._mirror.__wrapped__()


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt-get")
def test_no_way_to_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_mirror", lambda: ("http://127.0.0.1:9/debian", "bookworm"))
    with pytest.raises(CannotFetchError, match=r"apt-get update \(bookworm\)"):
        fetch(["bookworm"], ["hello"], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [7, 10])
def test_the_cxl_device_is_there_from_qemu_10_on(version: int, tmp_path: Path) -> None:
    emulator, kernel = Emulator(("qemu",), version), Kernel(tmp_path, tmp_path)
    command = Guest(MACHINES["one_node"])._qemu(emulator, kernel, tmp_path, tmp_path, tmp_path)
    assert any("cxl-type3" in word for word in command) == (version >= 10)


def test_a_lack_skips_every_test_of_the_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: object) -> None:
        raise CannotBootError("no busybox (package busybox-static)")

    monkeypatch.setattr(suites, "CACHE", tmp_path)
    monkeypatch.setattr(suites, "prepare", lack)
    result = suites.Suites().result("two_tiers", "any")
    assert (result.outcome, result.text) == ("skipped", "no guest: no busybox (package busybox-static)")


def test_preparations_that_fail_are_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a program that does not compile: nothing that the machine lacks. And only one attempt is made."""
    attempts = []

    def fail(*_: object) -> None:
        attempts.append(1)
        raise subprocess.CalledProcessError(1, "cc", stderr="program.c:1: error")

    monkeypatch.setattr(suites, "CACHE", tmp_path)
    monkeypatch.setattr(suites, "prepare", fail)
    booted = suites.Suites()
    assert booted.result("two_tiers", "one").outcome == "failed"
    assert "program.c:1: error" in booted.result("two_tiers", "other").text
    assert len(attempts) == 1


ASSERTION = "qemu-system-x86_64: system/physmem.c:2678: iotlb_to_section: Assertion `i < n' failed.\n"


@pytest.mark.parametrize(
    "said, results, boots",
    [(ASSERTION, False, 2), (ASSERTION, True, 1), ("--- end of the kernel's log ---\n", False, 1)],
    ids=["the emulator died at once", "it died later", "the guest died"],
)
def test_an_emulator_that_dies_before_the_first_test_is_started_again(
    said: str, results: bool, boots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and only then: whatever else ends a guest is a failure that shows."""
    outputs = []

    def run(*_: object) -> tuple[None, str]:
        outputs.append(said)
        (tmp_path / "shared-two_tiers").mkdir(exist_ok=True)
        if results:
            (tmp_path / "shared-two_tiers/results.jsonl").touch()
        return None, said

    monkeypatch.setattr(suites, "CACHE", tmp_path)
    monkeypatch.setattr(suites, "prepare", lambda *_: None)
    monkeypatch.setattr(Guest, "run", run)
    assert suites.Suites().result("two_tiers", "any").outcome == "failed"
    assert len(outputs) == boots


def test_two_kinds_run_at_a_time_and_each_boots_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each guest ends only when the other runs, too; what they need is prepared in turn."""
    both, ran, preparing = threading.Barrier(2, timeout=60), list[str](), list[int]()

    def prepare(*_: object) -> None:
        preparing.append(1)
        assert len(preparing) == 1
        time.sleep(0.01)
        preparing.pop()

    def run(guest: Guest, *_: object) -> tuple[int, str]:
        (shared,) = guest.writable
        both.wait()
        ran.append(shared.name)
        shared.mkdir()
        (shared / "results.jsonl").write_text(
            json.dumps({"test": "t", "outcome": "passed", "text": "", "seconds": 1, "cpu_s_so_far": 1})
        )
        return 0, ""

    monkeypatch.setattr(suites, "CACHE", tmp_path)
    monkeypatch.setattr(suites, "prepare", prepare)
    monkeypatch.setattr(Guest, "run", run)
    booted = suites.Suites()
    booted.begin({"two_tiers": ["t"], "one_node": ["t"]})
    booted.begin({"two_tiers": ["another"]})
    for kind in ("one_node", "two_tiers"):
        assert booted.result(kind, "t").outcome == "passed"
        assert booted.result(kind, "another").outcome == "failed"
    assert sorted(ran) == ["shared-one_node", "shared-two_tiers"]
    assert list(booted.booted) == ["two_tiers", "one_node"]


@pytest.mark.parametrize(
    "chosen, mark, words",
    [
        (["a.py::one[x y]", "b.py::two"], "", ["a.py::one[x y]", "b.py::two"]),
        ([], "", ["-m", "two_tiers", str(suites.HERE / "inside")]),
        ([], "guest_table", ["-m", "guest_table", str(suites.HERE / "inside")]),
    ],
)
def test_inside_run_the_tests_that_were_chosen(
    chosen: list[str], mark: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def run(_: Guest, command: list[str], *__: object) -> tuple[int, str]:
        (tmp_path / "shared-two_tiers").mkdir()
        commands.append(command)
        return 0, ""

    monkeypatch.setattr(suites, "CACHE", tmp_path)
    monkeypatch.setattr(suites, "prepare", lambda *_: None)
    monkeypatch.setattr(suites, "fetch_redis", lambda *_: None)
    monkeypatch.setattr(Guest, "run", run)
    suites.boot("two_tiers", chosen, mark)
    (command,) = commands
    assert command[command.index("--durations=0") + 1 :] == words


def test_a_guest_that_falls_silent_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said before is kept."""
    silent = iter([False, True])
    monkeypatch.setattr(vm.select, "select", lambda *given: ([], [], []) if next(silent) else given[:3])
    assert vm._output(["sh", "-c", "echo said; exec sleep 100000"]) == "said\n"
