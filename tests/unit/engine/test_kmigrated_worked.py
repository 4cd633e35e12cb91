"""kmigrated's walk by worked examples: sections of 32768 pages, address order."""

from __future__ import annotations

import numpy as np

from pghot.engine.kmigrated import BATCH_NR, SLEEP_MS, take_ready
from pghot.engine.packed import sweep
from pghot.engine.precise import PreciseStore


def test_flagged_sections_are_emptied_of_ready_records_in_address_order():
    records = np.zeros(70_000, np.uint8)
    # 32768 and 65535 are the ends of section 1; 65536 is in section 2, which has no flag; 7 is not READY.
    records[[69_999, 32_768, 65_535, 32_767, 0, 7]] = [0x80, 0x81, 0xFF, 0x82, 0x83, 0x03]
    hot = np.array([1, 1, 0], np.uint8)
    page, record = take_ready(records, hot, 0x80)
    assert page.tolist() == [0, 32_767, 32_768, 65_535]
    assert record.tolist() == [0x83, 0x82, 0x81, 0xFF]
    assert np.flatnonzero(records).tolist() == [7, 69_999]
    assert hot.tolist() == [0, 0, 0]


def test_the_last_section_ends_with_the_pages():
    records = np.zeros(32_770, np.uint32)
    records[[32_768, 32_769]] = 0x8000_0001
    page, record = take_ready(records, np.array([0, 1], np.uint8), 0x8000_0000)
    assert page.tolist() == [32_768, 32_769]
    assert record.tolist() == [2_147_483_649] * 2


def test_nothing_is_flagged():
    records, hot = np.full(10, 0x80, np.uint8), np.zeros(1, np.uint8)
    page, record = take_ready(records, hot, 0x80)
    assert (len(page), page.dtype, len(record), record.dtype) == (0, np.uint32, 0, np.uint8)
    assert (records == 0x80).all()


def test_its_rhythm_is_100_ms_and_512_pages():
    assert (SLEEP_MS, BATCH_NR) == (100, 512)
    assert (PreciseStore.sleep_ms, PreciseStore.batch_nr) == (100, 512)


def test_a_sweep_drops_what_is_older_than_the_limit_at_the_stamp():
    # default's layout: time in bits 2 to 6. Ticks 1, 4, 5, 31; at stamp 5 their ages are 4, 1, 0 and 6 (modulo 32).
    records = np.array([1 << 2 | 1, 4 << 2 | 2, 5 << 2 | 3, 31 << 2 | 1, 0], np.uint8)
    assert sweep(records, 2, 31, 5, 1) == 2
    assert records.tolist() == [0, 18, 23, 0, 0]
    assert sweep(records, 2, 31, 5, -1) == 2
    assert not records.any()
