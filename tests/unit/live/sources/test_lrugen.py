"""The multi-gen LRU: its text, whose memory is whose, ageing, and demotion of the oldest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.scan_trees import Process, get, put, watched
from pghot.errors import NotPermittedError, PghotError, UnsupportedError
from pghot.kernel import lru_gen
from pghot.kernel.knob_files import DEMOTION_ENABLED
from pghot.kernel.lru_gen import (
    ENABLED,
    LRU_GEN,
    Generation,
    demote_oldest,
    memcg_path,
    parse_lru_gen,
    read_lru_gen,
)
from pghot.kernel.needs import require
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Watched
from pghot.live.sources.lrugen import LruGen

# Linux 6.12: a program of 64 MiB in "my group", a quarter of it in use, demoted in part.
TEXT = """\
memcg     1 /
 node     0
          0      34680          0        -0 
          1      34680          0        3534 
          2      34680       4363           0 
          3      34680       7558       32298 
 node     1
          0      34680          0           0 
          1      34680          0           0 
          2      34680          0           0 
          3      34680          0           0 
memcg     2 /my group
 node     0
          3       9900       5272           3 
          4       2100          0           0 
          5       1400       4097           1 
          6        300          0           0 
 node     1
         12       9000          0           0 
         13       8000          0           0 
         14       7000       7037           0 
         15        200          0           0 
memcg     3 /my group/below
 node     0
          0       9000        100           0 
          1       8000         10           0 
"""  # noqa: W291


def test_the_kernels_text() -> None:
    found = parse_lru_gen(TEXT)
    assert len(found) == 18
    assert found[8] == Generation(2, "/my group", 0, 3, 9900, 5272, 3, active=False)
    assert [each.number for each in found if each.memcg == 2 and each.active] == [5, 6, 14, 15]
    assert all(each.active for each in found if each.memcg == 3), "with two generations none is evicted"


lines = st.sampled_from(
    [*TEXT.splitlines(), "memcg", "memcg x /", "memcg 1", " node", " node 0 0", "1 2 3", "1 2 x 4", ""]
)


@given(st.lists(lines).map("\n".join) | st.text())
def test_other_text_is_a_value_error(text: str) -> None:
    try:
        found = parse_lru_gen(text)
    except ValueError:
        return
    assert all(each.memcg >= 0 and each.node >= 0 and each.anon_pages >= 0 for each in found)


def test_an_unknown_form_is_one_line_with_the_file(tmp_path: Path) -> None:
    put(tmp_path, LRU_GEN, "something else\n")
    with pytest.raises(PghotError, match="lru_gen: unknown line 'something else'"):
        read_lru_gen(SysRoot(tmp_path))


@pytest.mark.parametrize(
    "cgroup, memcg",
    [
        ("/my group", "/my group"),
        ("/my group/no memcg/here", "/my group"),
        ("/other", "/"),
        ("/", "/"),
        ("", "/"),
    ],
)
def test_memory_is_charged_to_the_nearest_memcg(cgroup: str, memcg: str) -> None:
    assert memcg_path(cgroup, parse_lru_gen(TEXT)) == memcg


# ---- the source


def lru_tree(tree: Path) -> SysRoot:
    put(tree, ENABLED, "0x0007\n")
    put(tree, LRU_GEN, TEXT)
    put(tree, "/sys/devices/system/node/has_memory", "0-1\n")
    put(tree, "/sys/devices/system/node/node0/cpulist", "0-1\n")
    put(tree, "/sys/devices/system/node/node1/cpulist", "\n")
    put(tree, "/sys/devices/virtual/memory_tiering/memory_tier4/nodelist", "0\n")
    put(tree, "/sys/devices/virtual/memory_tiering/memory_tier45/nodelist", "1\n")
    return SysRoot(tree)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to lru_gen, which stays as it was."""
    written: list[str] = []
    real = SysRoot.write

    def write(root: SysRoot, name: str, text: str) -> None:
        written.append(text) if name == LRU_GEN else real(root, name, text)

    monkeypatch.setattr(SysRoot, "write", write)
    return written


def sizes_of(tree: Path, seen: Watched, period_ms: int = 0) -> dict[str, int]:
    source = LruGen(lru_tree(tree), period_ms)
    source.start(seen, lambda path, value: None)
    assert source.poll(0) == [], "it names no pages"
    return source.counters()


def test_a_cgroup_and_what_is_below_it(tmp_path: Path, commands: list[str]) -> None:
    assert sizes_of(tmp_path, Watched((), "my group")) == {
        "lru_gen_walks": 0, "lru_gen_active_top": 4097 + 110, "lru_gen_active_lower": 7037,
        "lru_gen_inactive_top": 5272, "lru_gen_inactive_lower": 0,
    }  # fmt: skip
    assert commands == []


def test_programs_by_the_memcg_that_they_are_in(tmp_path: Path, commands: list[str]) -> None:
    process = Process(tmp_path, 100, 1, 4, 64)
    put(tmp_path, "/proc/100/cgroup", "0::/my group/below/without memcg\n")
    assert sizes_of(tmp_path, watched(process))["lru_gen_active_top"] == 110


def test_ageing_asks_each_memcg_and_node_for_a_younger_generation(
    tmp_path: Path, commands: list[str]
) -> None:
    """With the two ones: without swap the kernel else looks at no page table of anonymous memory."""
    counts = sizes_of(tmp_path, Watched((), "/sys/fs/cgroup/my group"), 5000)
    assert commands == ["+ 2 0 6 1 1", "+ 2 1 15 1 1", "+ 3 0 1 1 1"]
    assert counts["lru_gen_walks"] == 3


def test_it_looks_once_in_a_period(tmp_path: Path, commands: list[str]) -> None:
    source = LruGen(lru_tree(tmp_path), 5000)
    source.start(Watched((), "my group"), lambda path, value: None)
    source.set_effort(0.5)
    for now_ms in (0, 9999, 10_000):
        source.poll(now_ms)
    assert source.counters()["lru_gen_walks"] == 6
    assert "aged every 10000 ms" in source.sampling()


def test_a_memcg_that_goes_away_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(root: SysRoot, name: str, text: str) -> None:
        if text.startswith("+ 2"):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(SysRoot, "write", write)
    assert sizes_of(tmp_path, Watched((), "my group"), 5000)["lru_gen_walks"] == 1


# ---- demotion


def test_the_oldest_are_demoted_first_and_never_the_active(tmp_path: Path, commands: list[str]) -> None:
    root = lru_tree(tmp_path)
    put(tmp_path, DEMOTION_ENABLED, "true\n")
    put(tmp_path, LRU_GEN, TEXT.replace("2100          0", "2100        400"))
    demote_oldest(root, ["/my group"], 0, 5500)
    assert commands == ["- 2 0 3 200 5272", "- 2 0 4 200 228"]
    commands.clear()
    demote_oldest(root, ["/my group"], 0, 50_000)
    assert commands == ["- 2 0 3 200 5272", "- 2 0 4 200 400"]
    commands.clear()
    demote_oldest(root, ["/my group/below", "/"], 1, 100)
    assert commands == []


def test_without_demotion_nothing_is_evicted(tmp_path: Path, commands: list[str]) -> None:
    """It would be swapped out."""
    root = lru_tree(tmp_path)
    put(tmp_path, DEMOTION_ENABLED, "false\n")
    with pytest.raises(UnsupportedError) as caught:
        demote_oldest(root, ["/my group"], 0, 100)
    assert caught.value.hint == f"echo 1 > {DEMOTION_ENABLED}"
    assert commands == []


# ---- needs


def verdict(root: SysRoot) -> str:
    try:
        require("lrugen", LruGen(root).needs())
    except PghotError as error:
        return f"{error.exit_code}: {error.hint}"
    return "yes"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    assert "CONFIG_LRU_GEN" in verdict(SysRoot(tmp_path))
    root = lru_tree(tmp_path)
    assert verdict(root) == "yes"
    put(tmp_path, ENABLED, "0x0000\n")
    assert verdict(root) == f"3: echo y > {ENABLED}"
    put(tmp_path, ENABLED, "0x0007\n")
    (tmp_path / LRU_GEN.lstrip("/")).unlink()
    assert "mount -t debugfs" in verdict(root)
    assert verdict(root).startswith(f"{NotPermittedError('').exit_code}:")


def test_the_file_is_not_touched_by_looking(tmp_path: Path) -> None:
    root = lru_tree(tmp_path)
    verdict(root)
    assert get(tmp_path, lru_gen.LRU_GEN) == TEXT
