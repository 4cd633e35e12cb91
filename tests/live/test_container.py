"""pghot in a container: pid, cgroup and mount namespaces of its own, made by unshare(1)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders.daemon_process import CHILD, PGHOT, trace
from pghot.recording.writer import write_recording

CONTAINER = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--cgroup", "--kill-child"]
# Says what it found, a line of JSON each, and stays until its input ends.
INSIDE = """
import json, os, subprocess, sys
place, pghot, child_code, host_pid = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
child = subprocess.Popen([sys.executable, "-c", child_code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()

def run(*words):
    done = subprocess.run([pghot, *words], capture_output=True, text=True)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}

replay = ["run", "--source", "replay", "--set", f"replay.file={place}/hot.pghot", "--duration", "0.2s", "--json"]
print(json.dumps({
    "child": child.pid,
    "by pid": run(*replay, "--apply", "--journal", f"{place}/j.pghot-journal", "-p", str(child.pid)),
    "by size": run(*replay, "--min-size", "1KiB"),
    "host's pid": run(*replay, "-p", host_pid),
    "doctor": run("doctor", "--json"),
}), flush=True)
sys.stdin.read()
child.kill()
"""


def can_contain() -> bool:
    return (
        os.geteuid() == 0
        and shutil.which("unshare") is not None
        and subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode == 0
    )


pytestmark = pytest.mark.skipif(
    not can_contain(), reason="no root, or unshare(1) cannot make namespaces here"
)


@dataclass
class Contained:
    """A container that runs until `end`, and what pghot said in it."""

    place: Path
    process: subprocess.Popen[str]
    said: dict[str, Any]

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contained]:
    place = tmp_path_factory.mktemp("container")
    write_recording(place / "hot.pghot", trace(0))
    command = [*CONTAINER, sys.executable, "-c", INSIDE, str(place), PGHOT, CHILD, str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Contained(place, process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


def test_programs_are_tracked_by_the_containers_own_pids(container: Contained) -> None:
    child, found = container.said["child"], container.said["by pid"]
    assert child < 20, "as processes are numbered from 1 there"
    assert found["status"] == 0, found["err"]
    facts = json.loads(found["out"])
    assert [program["pid"] for program in facts["programs"]] == [child]
    assert facts["tracking"]["tracked_pages"] >= 64, "the kernel was asked where its memory is"


def test_only_programs_of_the_container_are_chosen(container: Contained) -> None:
    found = container.said["by size"]
    assert found["status"] == 0, found["err"]
    pids = {program["pid"] for program in json.loads(found["out"])["programs"]}
    assert container.said["child"] in pids
    assert len(pids) <= 3, "the shell of the container, the child, and nobody of the host"


def test_a_pid_of_the_host_is_no_process_there(container: Contained) -> None:
    found = container.said["host's pid"]
    assert found["status"] == 2
    assert "in a container pids are its own" in found["err"]


def test_the_doctor_says_what_a_container_keeps_from_it(container: Contained) -> None:
    notes = json.loads(container.said["doctor"]["out"])["notes"]
    assert any(
        note.startswith("this is a container: programs outside of it cannot be tracked") for note in notes
    )
    assert "cgroups are named from the root of this container" in notes
    facts = json.loads(container.said["doctor"]["out"])
    (lrugen,) = (each for each in facts["sources"] if each["name"] == "lrugen")
    assert any("cgroup namespace of its own" in need["why"] for need in lrugen["needs"])


def test_a_journal_of_a_container_is_undone_there_or_when_it_has_ended(container: Contained) -> None:
    """The last test: it ends the container."""
    undo = [PGHOT, "undo", str(container.place / "j.pghot-journal")]
    refused = subprocess.run(undo, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "was written in a container that still runs (pid " in refused.stderr
    assert "nsenter -t " in refused.stderr
    elsewhere = subprocess.run([*CONTAINER, *undo], capture_output=True, text=True, check=False)
    assert elsewhere.returncode == 2
    assert "was not written in this container" in elsewhere.stderr
    container.end()
    done = subprocess.run([*undo, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (
        facts["nothing"]
        == "the container in which the journal was written has ended, and its programs with it"
    )
    assert facts["pages_back"] == facts["pages_gone"] == 0
