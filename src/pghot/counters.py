"""Every counter of pghot, declared once: name, help, unit, kind.

The text tables, `--json`, the metrics endpoint and the HTML report derive from these declarations. Names
follow the kernel's `/proc/vmstat` where the kernel has the counter (FACTS sections 2 and 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pghot.errors import unknown_name

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class Counter:
    """One statistic. A `counter` only rises; a `gauge` is a level."""

    name: str
    help: str
    unit: str
    kind: Kind = "counter"


_DECLARED = (
    # What the sources handed to the engine.
    Counter("pghot_reported_accesses", "accesses that the enabled sources reported", "accesses"),
    Counter("pghot_ignored_accesses", "reported accesses of pages on the top tier or not placed", "accesses"),
    Counter("pghot_dropped_accesses", "reported accesses lost because the hash table was full", "accesses"),
    Counter(
        "pghot_recorded_accesses", "accesses of lower-tier pages that entered a hotness record", "accesses"
    ),
    Counter("pghot_recorded_hintfaults", "of the recorded accesses, NUMA hint faults", "accesses"),
    Counter(
        "pghot_recorded_hwhints", "of the recorded accesses, hardware samples and device counts", "accesses"
    ),
    Counter("pghot_recorded_pgtscans", "of the recorded accesses, page-table A-bit scans", "accesses"),
    # What the stores hold and what they dropped.
    Counter("pghot_records_hash", "pages with a record in the hash table", "pages", "gauge"),
    Counter("pghot_records_heap", "pages waiting in the heaps of the top-tier nodes", "pages", "gauge"),
    Counter(
        "pghot_records_dropped", "refused pages that found no room on their return to the hash table", "pages"
    ),
    Counter("pghot_heap_full", "times a hot page found the heap of its node full", "pages"),
    Counter(
        "pghot_records_pruned", "records dropped because their page was not seen for a long time", "pages"
    ),
    # The consumers: kmigrated and kpromoted.
    Counter("kpromoted_cold_old", "hot pages refused because their last access was too long ago", "pages"),
    Counter("kpromoted_dropped", "hot pages whose record was lost without a promotion", "pages"),
    # The gate and the migrations.
    Counter("pgpromote_candidate", "pages that the rate limit judged", "pages"),
    Counter("pgpromote_candidate_nrl", "pages let through because the target had free space", "pages"),
    Counter("pgpromote_rate_limited", "pages refused by the rate limit, once for each refusal", "pages"),
    Counter("pgpromote_success", "pages promoted", "pages"),
    Counter("pgdemote_proactive", "pages demoted on request", "pages"),
    Counter("pgmigrate_success", "pages moved, either way", "pages"),
    Counter("pgmigrate_fail", "pages that could not be moved", "pages"),
    # The sources' own losses and costs.
    Counter("numa_pte_updates", "page-table entries marked PROT_NONE", "pages"),
    Counter("numa_hint_faults", "NUMA hint faults taken", "faults"),
    Counter("hwhint_total_events", "hardware samples and hot-list entries delivered", "events"),
    Counter("hwhint_useful_events", "of these, those that named a page pghot may promote", "events"),
    Counter("hwhint_dropped_events", "hardware samples and hot-list entries lost to a full ring", "events"),
    # Live only: what the sources saw and why some of it was not tracked.
    Counter("pghot_sightings", "addresses that the sources reported", "sightings"),
    Counter("pghot_skipped_foreign", "sightings in processes that are not tracked", "sightings"),
    Counter("pghot_skipped_unmapped", "sightings of addresses where nothing is mapped any more", "sightings"),
    Counter("pghot_skipped_file", "sightings of pages of mapped files: --kinds file moves them", "sightings"),
    Counter("pghot_skipped_shmem", "sightings of shared memory: --kinds shmem moves it", "sightings"),
    Counter("pghot_skipped_anon", "sightings of anonymous memory: --kinds anon moves it", "sightings"),
    Counter(
        "pghot_skipped_shared", "sightings of pages that programs map which are not tracked", "sightings"
    ),
    Counter("pghot_skipped_special", "sightings of device and kernel-provided mappings", "sightings"),
    Counter(
        "pghot_skipped_hugetlb",
        "sightings of hugetlb pages: --kinds hugetlb moves those of 2 MiB",
        "sightings",
    ),
    Counter(
        "pghot_skipped_bound", "sightings of memory for which its owner set a strict policy", "sightings"
    ),
    Counter(
        "pghot_skipped_policy_unknown",
        "sightings of memory of which it is not known yet whether its owner bound it",
        "sightings",
    ),
    Counter("pghot_skipped_left_out", "sightings of pages on memory nodes that are left out", "sightings"),
    Counter("pghot_skipped_no_section", "sightings that found no free section", "sightings"),
    Counter("perf_corrupt_records", "records of perf rings whose size made no sense", "records"),
    Counter("softdirty_scans", "times the soft-dirty bits of a program were read and cleared", "scans"),
    Counter(
        "softdirty_unknown_pages", "soft-dirty pages of mappings that changed since the last look", "pages"
    ),
    Counter("idle_scans", "times the idle bits of a program's pages were read and set", "scans"),
    Counter("idle_moved_pages", "pages that were in another frame at the second look", "pages"),
    Counter("idle_untracked_pages", "pages that the idle bitmap does not track: on no LRU list", "pages"),
    Counter("damon_aggregations", "aggregations of one program that were read", "aggregations"),
    Counter("damon_regions", "regions in these aggregations", "regions"),
    Counter("damon_lost_regions", "regions that the trace ring had no room for", "regions"),
    Counter("damon_refused_targets", "times DAMON refused a changed list of programs", "times"),
    Counter("damos_nr_tried", "regions in which DAMON looked for pages to move", "regions"),
    Counter("damos_sz_tried", "size of these regions, counted each time", "bytes"),
    Counter("damos_nr_applied", "regions of which DAMON moved pages", "regions"),
    Counter("damos_sz_applied", "memory that DAMON moved, or only looked at in a dry run", "bytes"),
    Counter("damos_qt_exceeds", "times DAMON had more to move than its quota", "times"),
    Counter("damos_held_back", "times promotion by DAMON was held back for the free floor", "times"),
    Counter("damos_refused_commits", "times DAMON refused a change", "times"),
    Counter("lru_gen_walks", "ageing walks asked of the multi-gen LRU", "walks"),
    Counter("lru_gen_active_top", "anonymous pages in use, on the top tier", "pages", "gauge"),
    Counter("lru_gen_active_lower", "anonymous pages in use, below the top tier", "pages", "gauge"),
    Counter("lru_gen_inactive_top", "anonymous pages out of use, on the top tier", "pages", "gauge"),
    Counter("lru_gen_inactive_lower", "anonymous pages out of use, below the top tier", "pages", "gauge"),
    Counter("swapins_faults", "major faults of tracked programs: pages that came back from swap", "faults"),
    Counter("replay_slices", "slices of the recording played", "slices"),
    Counter("perf_throttled", "times the kernel throttled an event", "events"),
    Counter("perf_aux_gaps", "times the hardware lost records of its own; it does not say how many", "times"),
    Counter(
        "perf_not_running_ms", "time, over all CPUs, in which other events used the hardware", "milliseconds"
    ),
    Counter("pghot_pingpong_pages", "promoted pages that pghot had demoted before", "pages"),
    Counter(
        "pghot_demotion_withheld",
        "pages for which room was wanted on a full node, while nothing could tell what is cold there",
        "pages",
    ),
    Counter("pghot_bound_bytes", "memory left alone because its owner set a strict policy", "bytes", "gauge"),
    Counter(
        "pghot_policy_unknown_bytes",
        "memory of programs of which it is not known yet what their owner bound: it does not move",
        "bytes",
        "gauge",
    ),
    Counter(
        "pghot_unscanned_bytes",
        "memory that gets no hint faults because its owner set a policy, such as preferred or interleave",
        "bytes",
        "gauge",
    ),
    Counter("pghot_hugetlb_bytes", "mappings of hugetlb pages that are left alone", "bytes", "gauge"),
    Counter(
        "pghot_unseen_hugetlb_bytes",
        "mappings of hugetlb pages that may move, while no source in use sees any",
        "bytes",
        "gauge",
    ),
    Counter(
        "pghot_hugetlb_no_room",
        "pages of 4 KiB, in hugetlb pages that stayed because the pool on the target node had none free",
        "pages",
    ),
    Counter("pghot_virtual_machines", "tracked programs that run virtual machines", "programs", "gauge"),
    Counter("pghot_compressed_out", "pages put into compressed swap", "pages"),
    Counter("pghot_compressed_fetched", "pages that pghot brought back from compressed swap", "pages"),
    Counter("pghot_compressed_faulted", "pages that came back when their program touched them", "pages"),
    Counter("pghot_compressed_locked", "pages that cannot be swapped out: their mapping is locked", "pages"),
    Counter("pghot_compressed_pages", "pages of tracked programs in compressed swap", "pages", "gauge"),
    Counter(
        "pghot_compressed_bytes", "memory that compressed swap takes, for all programs", "bytes", "gauge"
    ),
    Counter(
        "pghot_compressed_saved_bytes",
        "memory saved: what these pages took before, less what compressed swap takes",
        "bytes",
        "gauge",
    ),
    Counter("pghot_sections", "sections of 128 MiB of addresses in use", "sections", "gauge"),
    Counter("pghot_cpu_seconds", "CPU time that pghot itself used", "seconds"),
    Counter("pghot_resident_bytes", "memory that pghot itself holds", "bytes", "gauge"),
)

COUNTERS: dict[str, Counter] = {counter.name: counter for counter in _DECLARED}

# The ways in which live sources can lose sightings. Each source has the counters that apply to it. One count of either
# of the last two stands for an unknown number of sightings.
LOSSES = (
    "hwhint_dropped_events",
    "damon_lost_regions",
    "perf_corrupt_records",
    "perf_aux_gaps",
    "perf_throttled",
)


def counter(name: str) -> Counter:
    """The declaration of a counter. Raises `UsageError` for a name that is not declared.

    >>> counter("pgpromote_success").unit
    'pages'
    """
    if name not in COUNTERS:
        raise unknown_name("counter", name, sorted(COUNTERS))
    return COUNTERS[name]
