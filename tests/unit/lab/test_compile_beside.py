"""What is compiled beside: every kernel of the sources and policies with the types that a comparison has."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path

import pytest

from pghot.lab import compile_beside
from pghot.lab.compare import plan_runs
from pghot.lab.compile_beside import compiling_beside, play_few_pages
from pghot.lab.run_spec import RunSpec
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES

SPEC = RunSpec("numab2", ("hintfaults",))


@pytest.mark.parametrize("source", SOURCES.names())
def test_every_policy_plays_a_few_pages(source: str) -> None:
    for spec in plan_runs(POLICIES.names(), [source]):
        if POLICIES.get(spec.policy).kind == "mover":
            play_few_pages(spec)


def test_a_comparison_then_finds_all_kernels_of_sources_and_policies_compiled() -> None:
    """In a process of its own: in this one other tests have used them."""
    code = """
import sys
from multiprocessing import active_children
from numba.core.registry import CPUDispatcher
import pghot
from pghot.lab.compare import plan_runs
from pghot.lab.compile_beside import play_few_pages
from pghot.sim.policies import POLICIES

def kernels():
    return {
        (name, each, signature)
        for name, module in list(sys.modules.items())
        if name.startswith(("pghot.engine.", "pghot.policies.", "pghot.sim.sources.", "pghot.sim.policies."))
        for each, found in vars(module).items()
        if isinstance(found, CPUDispatcher)
        for signature in found.signatures
    }

specs = plan_runs(["pghot-hashed", "pghot-default", "hemem", "lru-bw"], ["hintfaults", "pebs"])
for spec in specs:
    if POLICIES.get(spec.policy).kind == "mover":
        play_few_pages(spec)
before = kernels()
pghot.compare("bundled:duckdb-mix", policies=specs, duration_s=60.0, seeds=1)
print(len(before), sorted({each[:2] for each in kernels() - before}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, rest = done.stdout.split(" ", 1)
    assert int(count) > 20
    assert rest == "[]\n"


def test_another_process_compiles_and_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    monkeypatch.setattr(compile_beside, "compiled", lambda kernels: False)
    monkeypatch.setattr(
        compile_beside, "play_few_pages", lambda spec: said.write_text(f"{os.getpid()} {spec.policy}")
    )
    with compiling_beside([RunSpec("none"), SPEC], workers=2) as wait:
        wait()
        pid, policy = said.read_text().split()
    assert policy == "numab2"
    assert int(pid) != os.getpid()


def test_who_does_not_wait_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the trace turns out to be empty."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(compile_beside, "compiled", lambda kernels: False)
    monkeypatch.setattr(compile_beside, "play_few_pages", lambda spec: pipe.read_text())  # waits for a writer
    with compiling_beside([SPEC], workers=2):
        pass
    assert not active_children()


@pytest.mark.parametrize(("workers", "known"), [(1, False), (2, True)])
def test_one_process_that_may_work_or_nothing_to_compile_starts_no_other(
    workers: int, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_beside, "compiled", lambda kernels: known)
    monkeypatch.delattr(compile_beside, "_fork")
    with compiling_beside([SPEC], workers) as wait:
        wait()
