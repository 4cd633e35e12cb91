"""The edges of what settings allow, and where accesses of each node promote to."""

from __future__ import annotations

import pytest

from pghot.engine import STORES
from pghot.engine.settings import MOST, EngineSettings, faithful_options
from pghot.engine.store import HotnessStore
from pghot.errors import UsageError


def made(settings: EngineSettings) -> HotnessStore:
    return STORES.make(settings.store, settings)


def make(store="precise", **changes) -> EngineSettings:
    values = {"pages": 100, "page_bytes": 4096, "nodes": 4, "top_nodes": (0, 1), "target_nid": 1}
    return EngineSettings(store, **{**values, **changes})


ALLOWED = [
    {"pages": 1},
    {"pages": 4_294_967_294},  # 2**32 - 2
    {"page_bytes": 1},
    {"nodes": 255},
    {"nodes": 1, "top_nodes": (0,), "target_nid": 0},
    {"top_nodes": (3, 1)},
    {"freq_threshold": 1},
    {"rate_limit_mb_s": 0},
    {"rate_limit_mb_s": MOST},
    {"group_pages": MOST},
    {"prune_age": MOST},
    {"group_pages": 0.001},
    {"table_share": 1},
    {"heap_share": 1},
    {"table_share": 0.001},
    {"heap_share": 0.001},
    {"prune_age": 1},
    {"window_ms": 1},
    {"sleep_ms": 1},
    {"batch_nr": 1},
]
REFUSED = [
    ({"pages": 0}, "pages"),
    ({"pages": 4_294_967_295}, "pages"),
    ({"page_bytes": 0}, "page_bytes"),
    ({"nodes": 0}, "0 memory nodes"),
    ({"nodes": 256}, "256 memory nodes"),
    ({"top_nodes": ()}, "no top-tier node"),
    ({"top_nodes": (4, 1)}, "top-tier node 4"),
    ({"top_nodes": (1, -1)}, "top-tier node -1"),
    ({"target_nid": 2}, "target_nid 2"),
    ({"top_of_node": (0, 1, 1)}, "top_of_node"),
    ({"top_of_node": (0, 1, 1, 2)}, "top_of_node"),
    ({"freq_threshold": 0}, "freq_threshold"),
    ({"rate_limit_mb_s": -0.1}, "rate_limit_mb_s"),
    ({"rate_limit_mb_s": MOST * 1.01}, "rate_limit_mb_s"),
    ({"group_pages": MOST * 1.01}, "group_pages"),
    ({"prune_age": MOST * 1.01}, "prune_age"),
    ({"group_pages": float("nan")}, "group_pages"),
    ({"group_pages": 0}, "group_pages"),
    ({"table_share": 0}, "table_share"),
    ({"table_share": 1.01}, "table_share"),
    ({"heap_share": 0}, "heap_share"),
    ({"heap_share": 1.01}, "heap_share"),
    ({"prune_age": 0.99}, "prune_age"),
    ({"window_ms": 0}, "window_ms"),
    ({"sleep_ms": 0}, "sleep_ms"),
    ({"batch_nr": 0}, "batch_nr"),
]


@pytest.mark.parametrize("changes", ALLOWED, ids=str)
def test_the_last_value_that_is_allowed(changes):
    settings = make(**changes)
    assert all(getattr(settings, name) == value for name, value in changes.items())


@pytest.mark.parametrize("changes, named", REFUSED, ids=str)
def test_the_first_value_that_is_refused(changes, named):
    with pytest.raises(UsageError) as caught:
        make(**changes)
    assert named in str(caught.value)
    assert caught.value.hint


# The time field's last value is 31 ticks of 128 ms = 3968 ms; 2**14 - 1 ms; 2**19 - 1 ms.
@pytest.mark.parametrize(
    "store, window_ms, freq", [("default", 3968, 3), ("precise", 16_383, 7), ("hashed", 524_287, 7)]
)
def test_the_layout_s_last_window_and_frequency(store, window_ms, freq):
    assert made(make(store, window_ms=window_ms - 1, freq_threshold=freq)).window_ms == window_ms - 1
    for changes in ({"window_ms": window_ms}, {"freq_threshold": freq + 1}):
        with pytest.raises(UsageError):
            made(make(store, **changes))


@pytest.mark.parametrize("store, published", [("default", 3000), ("precise", 5000), ("hashed", 5000)])
def test_the_published_windows(store, published):
    assert made(make(store)).window_ms == published


def test_defaults_are_the_published_ones():
    settings = make()
    assert (settings.freq_threshold, settings.rate_limit_mb_s, settings.group_pages) == (2, 65_536, 1)
    assert (settings.table_share, settings.heap_share, settings.prune_age) == (0.5, 0.25, 2)


def test_accesses_promote_to_their_own_top_tier_node_or_to_target_nid():
    assert [make().target_of(node) for node in (-1, 0, 1, 2, 3, 4)] == [1, 0, 1, 1, 1, 1]
    mapped = make(top_of_node=(1, 0, 0, 1))
    assert [mapped.target_of(node) for node in (-1, 0, 1, 2, 3, 4)] == [1, 1, 0, 0, 1, 1]


def test_the_quirks_of_each_store():
    both = {"consumed-before-gate", "candidate-counts-refused"}
    assert (
        faithful_options("default")
        == faithful_options("precise")
        == both | {"time-aliasing", "address-order"}
    )
    assert faithful_options("hashed") == both | {"frequency-wrap", "long-hash-lists", "never-expire"}
