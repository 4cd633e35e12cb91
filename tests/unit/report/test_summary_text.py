"""What a recording holds, in words."""

from __future__ import annotations

from typing import Any

from pghot.report.summary_text import render

FACTS: dict[str, Any] = {
    "name": "tiny",
    "command": ["redis-server", "--port", "0"],
    "duration_ns": 5_000_000,
    "slices": 5,
    "footprint_bytes": 3 << 20,
    "caches": [{"bytes": 1 << 20, "misses": 1024}],
    "touches": 2300,
    "misses": 1024,
    "page_bytes": 4096,
    "notes": ["a note"],
    "not_known": ["writes"],
    "hot_ranges": [],
    "sites": [],
    "writes": 7,
    "patterns": {"sequential": None, "strided": None, "dependent": None},
    "processes": [],
    "tasks": [],
    "verification": "verified",
    "doubt": "",
    "seal": "0badcafe",
    "hot_set": [{"pages": 0.01, "misses": 0.25}, {"pages": 0.5, "misses": 0.9}],
    "compressibility": None,
    "regions": [{"name": "[heap]\x1b[31m", "kind": "heap", "pages": 700, "misses": 1000, "writes": 7}],
}


def lines(facts: dict[str, Any]) -> list[str]:
    return [line.plain for line in render(facts)]


def test_every_figure_has_its_words() -> None:
    assert lines(FACTS) == [
        "verified, seal 0badcafe",
        "tiny: redis-server --port 0",
        "5.00 ms in 5 slices; footprint 3.0 MiB; cache 1.0 MiB",
        "2,300 touches, 1,024 misses, 7 writes",
        "hottest 1.0 % of the pages take 25.0 % of the misses",
        "hottest 50.0 % of the pages take 90.0 % of the misses",
        "note: a note",
        "not known: writes",
        "region                             touched          misses   share        writes",
        r"[heap]\x1b[31m                    2.73 MiB           1,000  97.7 %             7",
    ]


def test_what_is_doubtful_comes_first() -> None:
    assert lines(FACTS | {"verification": "unverified", "doubt": "it has no seal\n"})[0] == (
        r"unverified: it has no seal\n"
    )


def test_several_caches_patterns_and_threads() -> None:
    more = {
        "caches": [{"bytes": 1 << 20, "misses": 1024}, {"bytes": 4 << 20, "misses": 512}],
        "patterns": {"sequential": 256, "strided": 0, "dependent": None},
        "processes": [{"pid": 7, "name": "sh"}, {"pid": 8, "name": "redis"}],
        "tasks": [
            {"tid": 7, "process": 0, "name": "sh", "touches": 30, "misses": 24},
            {"tid": 9, "process": 1, "name": "io", "touches": 2270, "misses": 1000},
        ],
    }
    assert lines(FACTS | more)[4:8] == [
        "512 misses with a cache of 4.0 MiB",
        "of the misses are 25.0 % sequential, 0.0 % strided",
        "thread 9 io of redis: 1,000 misses",
        "thread 7 sh of sh: 24 misses",
    ]


def ranges(*misses: int, pages: int = 10) -> list[dict[str, Any]]:
    return [
        {
            "name": "[heap]",
            "start_address": 0x1000 * n,
            "end_address": 0x1000 * (n + 1),
            "pages": pages,
            "misses": count,
        }
        for n, count in enumerate(misses, 1)
    ]


def test_a_region_is_parted_into_its_hot_ranges_where_that_says_something() -> None:
    heap = {"name": "[heap]", "kind": "heap", "pages": 700, "misses": 1000, "writes": 7}
    stack = {"name": "[stack]", "kind": "stack", "pages": 20, "misses": 10, "writes": 7}
    facts = FACTS | {"regions": [heap, stack], "hot_ranges": ranges(400, 300, 100, 50, 40, 10)}
    assert lines(facts)[-7:] == [
        "[heap]                            2.73 MiB           1,000  97.7 %             7",
        "  1000-2000                       40.0 KiB             400  39.1 %",
        "  2000-3000                       40.0 KiB             300  29.3 %",
        "  3000-4000                       40.0 KiB             100   9.8 %",
        "  4000-5000                       40.0 KiB              50   4.9 %",
        "  2 more hot ranges               80.0 KiB              50   4.9 %",
        "[stack]                           80.0 KiB              10   1.0 %             7",
    ]
    # One range that is more than half of its region says nothing new; one of half of it does.
    assert len(lines(facts | {"hot_ranges": ranges(400, pages=351)})) == len(lines(facts)) - 5
    assert len(lines(facts | {"hot_ranges": ranges(400, pages=350)})) == len(lines(facts)) - 4
    # Nor where the region has less than 1 % of the misses.
    assert len(lines(facts | {"misses": 100_001})) == len(lines(facts)) - 5


def test_sites_are_shown_by_the_call_behind_the_library() -> None:
    """Of 1,000 misses; a chain of libraries alone is shown by its innermost call, and a long name without its file. Two
    that differ in the caller are 200 misses."""
    found = [
        (["a_function_of_many_words+0x78 (libdemo.so.11)", "one+0x1 (demo)"], 80),
        (["a_function_of_many_words+0x78 (libdemo.so.11)", "two+0x1 (demo)"], 120),
        (["libc.so.6+0x95f28", "malloc+0x19a (libc.so.6)", "fill+0xe (demo)", "main+0x1b (demo)"], 750),
        (["mmap64+0x5 (libc.so.6)", "ld-linux-x86-64.so.2+0xa781"], 2),
    ]
    sites = [
        {"frames": frames, "pages": 256, "touches": 900, "misses": misses, "writes": 12}
        for frames, misses in found
    ]
    shown = "\n".join(lines(FACTS | {"misses": 1_000, "sites": sites}))
    assert shown.endswith(
        "mapped by                          touched          misses   share        writes\n"
        "fill+0xe (demo)                   1.00 MiB             750  75.0 %            12\n"
        "a_function_of_many_words+0x78     2.00 MiB             200  20.0 %            24\n"
        "mmap64+0x5 (libc.so.6)            1.00 MiB               2   0.2 %            12"
    )
    assert "mapped by" not in "\n".join(lines(FACTS))
