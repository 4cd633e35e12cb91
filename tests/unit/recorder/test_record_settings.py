"""What a recording can be asked for, and how the command is taken apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from pghot.cli.record import split_words
from pghot.errors import UsageError
from pghot.recorder.build import Emulator, plugin_sources
from pghot.recorder.child import command_prefix
from pghot.recorder.record_settings import FILTER_BYTES, MAX_CACHES, RecordSettings
from pghot.recorder.status_line import Totals, describe
from pghot.recording import bundled


def test_the_filter_that_the_metadata_states_is_the_one_in_the_plugin() -> None:
    assert f"FILTER_LINES = {FILTER_BYTES // 64}," in plugin_sources()["plugin.c"]
    assert f"MAX_CACHES = {MAX_CACHES}," in plugin_sources()["plugin.c"]


def test_the_defaults_are_the_ones_of_the_issue() -> None:
    settings = RecordSettings()
    settings.check()
    assert (settings.slice_instructions, settings.cache_sets) == (500_000, (1024, 4096, 32768))


@pytest.mark.parametrize(
    "caches", [(), (2 << 20, 1 << 20), (1 << 20, 1 << 20), tuple(n << 20 for n in range(1, 6))]
)
def test_caches_are_few_and_ascend(caches: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="last-level caches cannot be modelled"):
        RecordSettings(cache_bytes=caches).check()


@pytest.mark.parametrize("llc_ways", [1, 11, 12, 16, 128])
def test_any_associativity_divides_the_cache(llc_ways: int) -> None:
    settings = RecordSettings(cache_bytes=(1 << 20,), llc_ways=llc_ways)
    settings.check()
    assert 0 <= (1 << 20) - settings.modelled_bytes[0] < llc_ways * 64


@pytest.mark.parametrize(
    ("version", "api"), [((6, 2), 1), ((7, 2), 1), ((8, 2), 1), ((9, 0), 2), ((10, 1), 2)]
)
def test_the_plugin_api_follows_the_version_of_qemu(version: tuple[int, int], api: int) -> None:
    assert Emulator("qemu", version).plugin_api == api


def test_commas_in_paths_do_not_end_an_option_of_qemu() -> None:
    prefix = command_prefix(Emulator("q", (7, 2)), Path("/a,b/p.so"), Path("/c,d"), RecordSettings())
    assert prefix[-1].startswith("/a,,b/p.so,dir=/c,,d,slice=500000,sets=1024+4096+32768,")


@pytest.mark.parametrize(
    ("words", "output", "path", "command"),
    [
        (["a.pghot", "ls", "-l"], "", "a.pghot", ["ls", "-l"]),
        (["ls", "-l"], "a", "a", ["ls", "-l"]),
        (["x.pghot"], "a.pghot", "a.pghot", ["x.pghot"]),
    ],
)
def test_the_recording_is_the_first_word_or_the_option(
    words: list[str], output: str, path: str, command: list[str]
) -> None:
    assert split_words(words, output) == (Path(path), command)


@pytest.mark.parametrize("words", [["ls", "-l"], ["a.pghot"]])
def test_a_command_without_a_recording_or_the_other_way_round_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        split_words(words, "")


def test_a_progress_line_fits_a_terminal() -> None:
    state = Totals(1000.0, 123_456_000_000, 999 * 10**8, 123456, 1 << 24, 999 << 20, 64, 12345.0)
    assert len(describe(state)) < 100


def test_an_unknown_bundled_recording_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown bundled recording 'redis'"):
        bundled.path("redis")
