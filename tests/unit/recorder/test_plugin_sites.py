"""The plug-in's tables of calls and of sites, compiled alone, beside plain ones of pages and lists."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import record_programs as programs
from pghot.recorder.build import plugin_sources

pytestmark = programs.needs_qemu
CALLS, CHAIN, MAX_SITES, MAX_PLACED, GONE = 1024, 16, 1 << 13, 1 << 16, 1 << 31

_AROUND = """
#include "plugin_sites.h"
#include <stdlib.h>
static struct call_stack stack;
void begin(void)
{
    free(sites), free(site_slots), free(placed);
    sites = calloc(MAX_SITES, sizeof *sites);
    site_slots = calloc(SITE_SLOTS, sizeof *site_slots);
    placed = calloc(MAX_PLACED, sizeof *placed);
    stack.used = sites_used = sites_lost = placed_used = any_gone = 0;
}
void enter(uint64_t slot, uint64_t back) { enter_call(&stack, slot, back); }
void leave(uint64_t slot) { leave_calls(&stack, slot); }
uint32_t chain_of(uint64_t *chain) { return call_chain(&stack, chain); }
void put(uint64_t start, uint64_t end, uint32_t site) { place(start, end, site); }
void put_again(uint64_t start, uint64_t end, uint64_t to, int gone) { place_again(start, end, to, gone); }
void drop(void) { drop_gone(); }
void forget(void) { forget_chains(); }
uint32_t at(uint64_t address, uint64_t *stop) { return site_at(address, stop); }
uint64_t ranges(void) { return placed_used; }
uint64_t lost(void) { return sites_lost; }
uint32_t number(const uint64_t *chain, uint32_t frames)
{
    struct site *fresh = NULL;
    return number_site(chain, frames, &fresh) | (fresh ? GONE : 0);
}
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Gives the compiled tables, empty."""
    folder = tmp_path_factory.mktemp("tables")
    for name, text in plugin_sources().items():
        (folder / name).write_text(text)
    (folder / "tables.c").write_text(_AROUND)
    subprocess.run(
        ["cc", "-O1", "-shared", "-fPIC", "-o", folder / "tables.so", folder / "tables.c"], check=True
    )
    library = ctypes.CDLL(str(folder / "tables.so"))
    for name in ("enter", "leave", "put", "put_again"):
        getattr(library, name).argtypes = [ctypes.c_uint64] * {"leave": 1, "enter": 2}.get(name, 3) + (
            [ctypes.c_int] if name == "put_again" else []
        )
    library.at.argtypes = [ctypes.c_uint64, ctypes.POINTER(ctypes.c_uint64)]
    library.at.restype = library.number.restype = ctypes.c_uint32
    library.ranges.restype = library.lost.restype = ctypes.c_uint64

    def fresh() -> Any:
        library.begin()
        return library

    return fresh


def chain_of(tables: Any) -> list[int]:
    chain = (ctypes.c_uint64 * CHAIN)()
    return list(chain[: tables.chain_of(chain)])


def site_at(tables: Any, address: int) -> tuple[int, int]:
    stop = ctypes.c_uint64()
    return tables.at(address, ctypes.byref(stop)), stop.value


def number(tables: Any, *chain: int) -> tuple[int, bool]:
    """A chain's number, and whether it is new."""
    found = tables.number((ctypes.c_uint64 * len(chain))(*chain), len(chain))
    return found & ~GONE, bool(found & GONE)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=80))
def test_calls_are_those_above_the_slot(plugin: Callable[[], Any], steps: list[tuple[bool, int]]) -> None:
    tables = plugin()
    calls: list[tuple[int, int]] = []
    for back, (enters, slot) in enumerate(steps):
        calls = [call for call in calls if call[0] > slot]
        if enters:
            calls.append((slot, back))
            tables.enter(slot, back)
        else:
            tables.leave(slot)
        assert chain_of(tables) == [back for _, back in reversed(calls[-CHAIN:])]


def test_of_a_deep_recursion_the_innermost_calls_are_known(plugin: Callable[[], Any]) -> None:
    tables = plugin()
    for depth in range(CALLS + 30):
        tables.enter(10_000 - depth, depth)
    assert chain_of(tables) == list(range(CALLS + 29, CALLS + 13, -1))
    tables.leave(10_000 - 40)  # the 40th and all inside of it returned: 10 of those outside were kept
    assert chain_of(tables) == list(range(39, 29, -1))


PAGES = 24
_PAGE = st.integers(0, PAGES)
_STEP = st.one_of(
    st.tuples(st.just("put"), _PAGE, _PAGE, st.integers(0, 3)),
    st.tuples(st.just("gone"), _PAGE, _PAGE, st.just(0)),
    st.tuples(st.just("move"), _PAGE, _PAGE, st.just(0)),
    st.tuples(st.just("drop"), st.just(0), st.just(0), st.just(0)),
)


@given(st.lists(_STEP, max_size=30))
def test_ranges_are_runs_of_pages(plugin: Callable[[], Any], steps: list[tuple[str, int, int, int]]) -> None:
    """Moves go to 100 pages further, so that they never overlap."""
    tables = plugin()
    pages: dict[int, int] = {}
    for what, start, end, site in steps:
        if what == "put":
            tables.put(start, end, site)
            pages |= dict.fromkeys(range(start, end), site)
        elif what == "gone":
            tables.put_again(start, end, start, 1)
            pages |= {at: pages[at] | GONE for at in range(start, end) if pages.get(at)}
        elif what == "move":
            tables.put_again(start, end, start + 100, 0)
            pages |= {at + 100: pages.get(at, 0) & ~GONE for at in range(start, end)}
        else:
            tables.drop()
            pages = {at: site for at, site in pages.items() if not site & GONE}
        wanted = [pages.get(at, 0) for at in range(PAGES + 101)]
        assert [site_at(tables, at)[0] for at in range(PAGES + 101)] == wanted
        runs = [(site, len(list(run))) for site, run in groupby(wanted)]
        assert tables.ranges() == sum(site != 0 for site, _ in runs)
    runs_end = 0
    for site, run in groupby(wanted if steps else []):
        begin, runs_end = runs_end, runs_end + len(list(run))
        if site or any(wanted[runs_end:]):
            assert site_at(tables, begin) == (site, runs_end)


def test_a_full_table_says_what_it_lost_and_keeps_the_others(plugin: Callable[[], Any]) -> None:
    tables = plugin()
    for at in range(MAX_PLACED):
        tables.put(2 * at + 1, 2 * at + 2, 1)
    assert (tables.ranges(), tables.lost()) == (MAX_PLACED, 0)
    tables.put(4, 5, 2)  # between two: the one behind it makes room
    assert (tables.ranges(), tables.lost()) == (MAX_PLACED, 1)
    assert [site_at(tables, at)[0] for at in (3, 4, 5, 7)] == [1, 2, 0, 1]
    tables.put(1 << 30, 1 << 31, 2)  # beside none
    assert (tables.ranges(), tables.lost()) == (MAX_PLACED, 2)
    assert site_at(tables, 1 << 30)[0] == 0
    tables.put(3, 4, 3)  # in place of one
    tables.put(8, 9, 1)  # joins two
    assert (tables.ranges(), tables.lost()) == (MAX_PLACED - 1, 2)
    assert [site_at(tables, at)[0] for at in (3, 7, 8, 9)] == [3, 1, 1, 1]


def test_chains_have_one_number_each_until_code_is_unmapped(plugin: Callable[[], Any]) -> None:
    tables = plugin()
    assert [number(tables, 5, 6), number(tables, 5), number(tables, 5, 6)] == [
        (1, True),
        (2, True),
        (1, False),
    ]
    tables.forget()
    assert [number(tables, 5, 6), number(tables, 5, 6)] == [(3, True), (3, False)]
    for back in range(MAX_SITES - 3):
        assert number(tables, 1000 + back)[1]
    assert number(tables, 7) == (0, False)
    assert number(tables, 1000) == (4, False)
    assert tables.lost() == 1
