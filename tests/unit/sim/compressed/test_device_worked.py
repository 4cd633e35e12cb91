"""The device that compresses, in figures worked by hand: how far a written line reaches, and the limits of its keys."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pghot.sim.compressed.device import CompressedDevice

KEYS = {
    "description": "", "block": 4096, "line": 64, "granule": 64, "spoil": "block", "line_overhead": 64,
    "raw_after_lines": 0, "zero_flag": True, "dedup": False, "algorithm": "zstd", "low_share": 0.05,
    "high_share": 0.08, "interrupt_us": 10.0, "report_us": 1.0, "hit_share": 0.5, "miss_ns": 1500.0,
    "compress_gb_s": 8.0,
}  # fmt: skip


def test_the_keys_have_the_values_that_their_text_names() -> None:
    assert CompressedDevice().model_dump() == KEYS


@pytest.mark.parametrize(
    "keys",
    [
        {"block": 64}, {"block": 2048, "granule": 2048}, {"line": 4096}, {"granule": 1}, {"granule": 4096},
        {"low_share": 0.05, "high_share": 0.0501}, {"interrupt_us": 0}, {"report_us": 0}, {"hit_share": 0},
        {"hit_share": 1}, {"line": 1}, {"compress_gb_s": 0.5}, {"miss_ns": 0.5},
        {"low_share": 1e-9}, {"high_share": 0.999},
    ],
)  # fmt: skip
def test_possible_devices(keys: dict[str, Any]) -> None:
    CompressedDevice(**keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"line": 0}, "line must be 1 B"),
        ({"block": 32}, "must hold at least one line"),
        ({"block": 4000}, "multiple of line and divide"),
        ({"block": 8192}, "multiple of line and divide"),
        ({"block": 1536}, "multiple of line and divide"),  # 24 lines, but no part of 4096
        ({"block": 2048, "line": 1024 + 512}, "multiple of line and divide"),
        ({"granule": 0}, "granule must be between"),
        ({"granule": 4097}, "granule must be between"),
        ({"low_share": 0.08}, "must be below high_share"),
        ({"low_share": 0.0}, "low_share"),
        ({"high_share": 1.0}, "high_share"),
        ({"raw_after_lines": -1}, "raw_after_lines"),
        ({"interrupt_us": -0.5}, "interrupt_us"),
        ({"report_us": -0.5}, "report_us"),
        ({"hit_share": -0.1}, "hit_share"),
        ({"hit_share": 1.1}, "hit_share"),
        ({"miss_ns": 0}, "miss_ns"),
        ({"compress_gb_s": 0}, "compress_gb_s"),
        ({"block": "much"}, "block"),
    ],
)
def test_impossible_devices(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CompressedDevice(**keys)


def test_sizes_are_read_as_people_write_them() -> None:
    assert CompressedDevice(block="2 KiB", line="128 B").lines_per_block == 16
    assert CompressedDevice(block="1 KiB").blocks_per_page == 4


def test_a_line_stored_raw_takes_its_bytes_and_its_overhead_in_granules() -> None:
    """100 B before; each line adds 64 + 32. 196, 292 and 388 are 256, 320 and 448 in granules of 64."""
    device = CompressedDevice(spoil="line", line_overhead=32)
    assert [device.stored_bytes_bound(100, lines) for lines in range(4)] == [100, 256, 320, 448]
    # 100 + 41 x 96 = 4036, which is 4096 in granules; with one more line it is raw.
    assert [device.stored_bytes_bound(100, lines) for lines in (40, 41, 42, 64)] == [3968, 4096, 4096, 4096]
    assert device.line_growth_bytes == 128  # 96, 192, 288: 128, 192, 320


def test_a_block_with_so_many_written_lines_is_raw() -> None:
    device = CompressedDevice(spoil="line", raw_after_lines=3)
    assert [device.stored_bytes_bound(64, lines) for lines in (1, 2, 3)] == [192, 320, 4096]
    assert device.line_growth_bytes == 4096 - 2 * 128


@pytest.mark.parametrize(
    "keys", [{}, {"spoil": "line", "dedup": True}, {"spoil": "line", "raw_after_lines": 1}]
)
def test_one_line_can_spoil_a_block(keys: dict[str, Any]) -> None:
    device = CompressedDevice(block=2048, **keys)
    assert [device.stored_bytes_bound(64, lines) for lines in (0, 1, 2)] == [64, 2048, 2048]
    assert device.line_growth_bytes == 2048


def test_blocks_of_zeros_and_of_equal_content_take_nothing() -> None:
    assert CompressedDevice().smallest_bytes == 0
    assert CompressedDevice(zero_flag=False, granule=128).smallest_bytes == 128
    assert CompressedDevice(zero_flag=False, dedup=True, granule=128).smallest_bytes == 0
    assert CompressedDevice(zero_flag=False, granule=128).line_growth_bytes == 4096 - 128
    assert CompressedDevice(line=4096, spoil="line").line_growth_bytes == 4096, "the one line that there is"
