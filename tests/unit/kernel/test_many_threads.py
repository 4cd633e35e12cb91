"""A program with very many threads: its children are found without a question to each of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builders.live_loop import FakeKernel, maps_line
from builders.machine_trees import put
from pghot.kernel import process
from pghot.kernel.process import MANY_THREADS, descendants
from pghot.kernel.sysroot import SysRoot


def tree(tmp_path: Path, threads: int, parents: dict[int, int]) -> SysRoot:
    """Processes with their parents; 500 has so many threads, each with a list of children that is read."""
    kernel = FakeKernel(tmp_path)
    for pid, parent in parents.items():
        kernel.program(pid, [maps_line(0x1000, 1)])
        path = tmp_path / f"proc/{pid}/stat"
        head, _, tail = path.read_text().rpartition(")")
        state, _, *others = tail.split()
        path.write_text(f"{head}) {state} {parent} {' '.join(others)}")
    for tid in range(10_000, 10_000 + threads):
        first = " ".join(str(pid) for pid, parent in parents.items() if parent == 500 and tid == 10_000)
        put(tmp_path, f"proc/500/task/{tid}/children", first)
    for pid in parents:
        if pid != 500:
            put(
                tmp_path,
                f"proc/{pid}/task/{pid}/children",
                " ".join(str(p) for p, of in parents.items() if of == pid),
            )
    return kernel.root


PARENTS = {500: 1, 600: 500, 601: 500, 700: 600, 800: 1}


@pytest.mark.parametrize("threads", [1, MANY_THREADS, MANY_THREADS + 1, 400])
def test_children_are_the_same_and_many_threads_are_not_asked_one_by_one(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, asked, read_or = tree(tmp_path, threads, PARENTS), [], SysRoot.read_or

    def spied(self: SysRoot, path: str, default: str = "") -> str:
        asked.append(path)
        return read_or(self, path, default)

    monkeypatch.setattr(SysRoot, "read_or", spied)
    assert sorted(descendants(root, 500)) == [500, 600, 601, 700]
    of_threads = sum(path.startswith("/proc/500/task/") for path in asked)
    assert of_threads == (threads if threads <= MANY_THREADS else 0)


def test_with_more_processes_than_threads_the_threads_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = dict.fromkeys(range(1000, 1000 + MANY_THREADS), 1)
    root = tree(tmp_path, MANY_THREADS + 2, {500: 1, 600: 500} | others)
    monkeypatch.setattr(process, "read_stat", lambda *_: pytest.fail("a question to each process"))
    assert descendants(root, 500) == [500, 600]


def test_a_child_of_a_real_thread_has_the_process_as_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
    import subprocess, sys, threading
    def run():
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        print(child.pid, flush=True)
        sys.stdin.read()
        child.stdin.close()
        child.wait()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    """
    words = [sys.executable, "-c", "\n".join(line[4:] for line in script.splitlines())]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        child, root = int(program.stdout.readline()), SysRoot()
        assert process.children(root, program.pid) == [child]
        monkeypatch.setattr(process, "MANY_THREADS", 0)
        monkeypatch.setattr(process, "pids", lambda _: [child])  # fewer than it has threads
        assert process.children(root, program.pid) == [child]
        program.stdin.close()
