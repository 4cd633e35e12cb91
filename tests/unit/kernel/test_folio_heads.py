"""Which page stands for a folio, told from pagemap and kpageflags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pghot.kernel.folio_heads import first_in_block, first_in_folio
from pghot.kernel.kpageflags import KPF_COMPOUND_HEAD, KPF_COMPOUND_TAIL
from pghot.kernel.pagemap import PRESENT
from pghot.kernel.sysroot import SysRoot

PAGES = 64
LRU = 1 << 5


@pytest.fixture
def root(tmp_path: Path) -> SysRoot:
    """Process 7 maps: pages 0 to 15 a folio of 16 at frame 1024; 16 a small page; 17 to 20 the last four pages of a
    folio of 16 at frame 1040, of which it unmapped the first twelve; 21 nothing; 22 frame 0, hidden."""
    entries, flags = np.zeros(PAGES, np.uint64), np.full(2048, LRU, np.uint64)
    entries[:16] = np.uint64(PRESENT) | np.arange(1024, 1040, dtype=np.uint64)
    entries[16] = PRESENT | 600
    entries[17:21] = np.uint64(PRESENT) | np.arange(1052, 1056, dtype=np.uint64)
    entries[22] = PRESENT
    for head in (1024, 1040):
        flags[head] |= np.uint64(KPF_COMPOUND_HEAD)
        flags[head + 1 : head + 16] |= np.uint64(KPF_COMPOUND_TAIL)
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/pagemap").write_bytes(entries.tobytes())
    (tmp_path / "proc/kpageflags").write_bytes(flags.tobytes())
    return SysRoot(tmp_path)


def firsts(root: SysRoot, *pages: int) -> list[int]:
    address = np.array(pages, np.uint64) * np.uint64(4096)
    return (first_in_folio(root, 7, address) // 4096).tolist()


def test_every_page_of_a_folio_leads_to_its_first(root: SysRoot) -> None:
    assert firsts(root, *range(16)) == [0] * 16
    assert firsts(root, 15, 3, 15, 16) == [0, 0, 0, 16]


def test_what_is_small_or_mapped_in_parts_or_hidden_stays(root: SysRoot) -> None:
    assert firsts(root, 16, 17, 20, 21, 22, 63, 1000) == [16, 17, 20, 21, 22, 63, 1000]


def test_without_rights_or_a_process_nothing_is_told(root: SysRoot) -> None:
    root.path("/proc/kpageflags").unlink()
    assert firsts(root, 3) == [3]
    root.path("/proc/7/pagemap").unlink()
    assert firsts(root, 3) == [3]


def test_blocks_of_a_page_table_entry() -> None:
    address = np.array([0x12345678, 0x12345678, 0x12345678, 0x7FFF_FFFF_F123], np.uint64)
    size = np.array([4096, 2 << 20, 0, 1 << 30], np.uint64)
    assert first_in_block(address, size).tolist() == [0x12345000, 0x12200000, 0x12345000, 0x7FFF_C000_0000]
