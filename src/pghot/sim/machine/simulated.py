"""A machine with memory tiers that exists only in the lab: placement, time, migration, reclaim.

It keeps one clock. A slice of a trace advances the clock by what the slice's misses cost where their pages are
(`run_slice`), plus the time that tracking and moving took from the program since the last slice. Kernel threads run
beside the program. Each can do only as much work as time passes.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pghot.arrays import F64, I16, I64, NOWHERE, U32, Bool
from pghot.errors import PghotError
from pghot.policies import tiers
from pghot.policies.decisions import HeldBack
from pghot.policies.machine import Moves
from pghot.sim.compressed.access import Access
from pghot.sim.compressed.node import CompressedNode, Contents
from pghot.sim.machine.accounts import KernelThread, Ledger
from pghot.sim.machine.local_low import LocalLow
from pghot.sim.machine.lru import AGEING_MS, Generations
from pghot.sim.machine.move_costs import BY_PROGRAM, DIRECT_RECLAIM, MoveCosts
from pghot.sim.machine.relocation import movable, relocate, slowest_node
from pghot.sim.machine.slice_timing import SliceTiming
from pghot.sim.machine.topology import Topology
from pghot.sim.machine.touch import Rows, allocate, serve
from pghot.sim.machine.watcher import Watcher
from pghot.ties import first_page
from pghot.units import format_size

# Kernel time over which the latency that kernel threads' copies meet is averaged: kswapd's sleep (HZ / 10).
COPY_MEAN_MS = 100.0


class SimulatedMachine:
    """N nodes in M tiers.

    place       uint8[pages]   node of each page, 255 before its first touch
    preferred   int16[pages]   node that a policy wants for a page's allocation, -1 for the default zonelist
    free_pages  int64[nodes]
    lower       bool[nodes]    True below the top tier
    private     bool[nodes]    True for a compressed node: pages get there only by demotion, never at first touch
    compressed  the state of that node; None without one
    latency_ns  float64[nodes] loaded latency in the last slice
    used_share  float64[nodes] share of each node's bandwidth in use in the last slice
    timing      how long slices take, and what the cores' counters say of the last one
    local_low   what tenants are sure of on the top tier; None unless a policy protects it
    written     bool[pages]    set for pages that the program writes; None unless a policy asks for it. It clears it
    watcher     hears where pages go; None unless somebody asks for it
    """

    def __init__(
        self,
        topology: Topology,
        pages: int,
        page_bytes: int,
        capacity_pages: I64,
        threads: int,
        mlp: float | F64 = 0.0,
        group_pages: float = 1.0,
        contents: Contents | None = None,
        folio_bytes: int = 0,
        crews: int = 1,
        seed: int = 0,
    ) -> None:
        """group_pages  K, real pages that one page stands for: it matters where work is done in batches
        mlp          misses in flight per core, not sequential: for all pages, or float64[pages]; 0: the costs' default
        contents     how well the pages compress; needed if a node compresses
        folio_bytes  size of the real pages that are moved; 0: `page_bytes`
        crews        1: all threads share the accesses. Else each of so many nodes has its part of the threads, which do
                     that node's accesses, and every slice lasts until the slowest node is done
        seed         decides which of equally old pages is demoted first
        """
        count = len(topology.nodes)
        self.topology, self.costs = topology, topology.costs
        self.pages, self.page_bytes, self.threads, self.group_pages = pages, page_bytes, threads, group_pages
        link_gb_s = min(node.bandwidth_gb_s for node in topology.nodes)
        folio = max(page_bytes, folio_bytes)
        self.move_costs = MoveCosts(topology.costs, page_bytes, folio, group_pages, threads, link_gb_s)
        in_flight = np.broadcast_to(mlp, pages)
        self.overlap = (1 / np.where(in_flight > 0, in_flight, topology.costs.mlp_random)).astype(np.float32)
        self.instruction_ns = topology.costs.instruction_ns
        self.rank = np.array(topology.ranks(), np.int64)
        self.lower = self.rank > 0
        self.top_nodes = topology.top_nodes()
        distances = topology.distance_matrix()
        self.demotion_targets = [
            tiers.demotion_order(node, self.rank.tolist(), distances) for node in range(count)
        ]
        self.promotion_targets = [
            sorted(self.top_nodes, key=lambda top: (distances[node][top], top)) for node in range(count)
        ]
        self._fallback = np.array([tiers.fallback_order(node, distances) for node in range(count)], np.int64)

        self.capacity_pages = capacity_pages.astype(np.int64)
        self.free_pages = self.capacity_pages.copy()
        marks = topology.watermarks
        self.min_pages, self.low_pages, self.high_pages = (
            np.ceil(self.capacity_pages * share).astype(np.int64)
            for share in (marks.min, marks.low, marks.high)
        )
        # Between two marks is at least a page, however many real ones it stands for: else kswapd would never wake up.
        self.low_pages = np.maximum(self.low_pages, self.min_pages + 1)
        self.high_pages = np.maximum(self.high_pages, self.low_pages + 1)
        self.place = np.full(pages, NOWHERE, np.uint8)
        self.preferred = np.full(pages, -1, np.int16)
        self.generations = Generations(pages, AGEING_MS * 1e6 / group_pages, first_page(seed, pages))
        self.written: Bool | None = None
        self.local_low: LocalLow | None = None
        self.watcher: Watcher | None = None
        self.demotion_enabled = False
        self.budget_ends_with = HeldBack.BUSY

        self.now_ns = 0.0
        self.slice_ns = 0.0
        self.timing = SliceTiming(topology, threads, crews, COPY_MEAN_MS * 1e6 / group_pages)
        self._slowdown = self.timing.slowdown  # of kernel threads' copies
        self.latency_ns, self.used_share = self.timing.latency_ns, self.timing.used_share
        self.ledger = Ledger(served=self.timing.served_total)
        self.kernel_threads: dict[str, KernelThread] = {}
        self._app_debt_ns = 0.0
        self._was_promoted = np.zeros(pages, np.bool_)
        self.newly_promoted: list[U32] = []  # read and emptied by the measure of responsiveness
        self._set_up_compression(contents)

    def _set_up_compression(self, contents: Contents | None) -> None:
        nodes = self.topology.nodes
        self.private = np.array([node.compressed is not None for node in nodes])
        self._public = np.flatnonzero(~self.private).tolist()
        self._reclaimed = [node for node in self._public if self.demotion_targets[node]]
        # Programs may allocate memory down to this many free pages; of a private node, none.
        self._allocation_floor = np.where(self.private, np.iinfo(np.int64).max, self.min_pages)
        self.compressed: CompressedNode | None = None
        if (held := self.topology.compression) is None:
            return
        if contents is None:
            raise ValueError("a compressed node needs the contents of the pages")
        # The medium shrinks in proportion to the node.
        shrink = self.capacity_pages[held.node] * self.page_bytes / held.promised
        self.compressed = CompressedNode(
            held.device,
            held.access,
            real_bytes=int(held.real * shrink),
            reserve_bytes=int(held.reserve * shrink),
            contents=contents,
            page_bytes=self.page_bytes,
            group_pages=self.group_pages,
        )
        self._access = Access(
            self,
            self.compressed,
            held.node,
            hit_ns=held.latency_ns,
            link_gb_s=held.bandwidth_gb_s,
        )

    def set_latency(self, node: int, latency_ns: float) -> None:
        """Set how long reads and writes of a node take in the slice that is about to be timed."""
        self.timing.set_latency(node, latency_ns)

    def occupy(self, node: int, bytes_moved: float) -> None:
        """Something other than the program uses bandwidth of a node in this slice."""
        self.timing.moving_bytes[node] += bytes_moved

    def set_capacity(self, node: int, pages: int) -> None:
        """Change the size of a node. Call it only before anything is placed."""
        self.free_pages[node] += pages - self.capacity_pages[node]
        self.capacity_pages[node] = pages

    # ---- the program runs

    def run_slice(
        self, page: U32, touches: U32, misses: U32, sequential: U32, writes: U32, node: I16, instructions: int
    ) -> float:
        """Run one slice; returns how long it took, ns. Raises `PghotError` when memory runs out."""
        rows = self._living_rows(Rows(page, touches, misses, sequential, writes, node))
        if self.compressed is not None:
            rows = self._settle(rows)
        if self._serve(rows):
            rows = self._allocate(rows)
            self._serve(rows)
        if self.written is not None:
            self.written[rows.page[rows.writes > 0]] = True
        if self.compressed is not None:
            self._access.load(self.timing.served)
        for thread in self.kernel_threads.values():
            thread.copy(self.now_ns, self.slice_ns, self.timing.moving_bytes)
        compute_ns = instructions * self.instruction_ns
        busy_ns = (compute_ns + self._app_debt_ns) / self.threads
        duration_ns, copied_ns = self.timing.run_slice(busy_ns, self.now_ns)
        self._app_debt_ns = 0.0
        self.now_ns += duration_ns
        self.slice_ns = duration_ns
        self.ledger.moving_app_ns += copied_ns
        self.ledger.elapsed_ns += duration_ns
        self.ledger.compute_ns += compute_ns
        return duration_ns

    def living(self, page: U32) -> npt.NDArray[np.bool_] | None:
        """Which rows are of tenants that were not killed; None: all rows."""
        return self._access.living(page) if self.compressed is not None else None

    def _serve(self, rows: Rows) -> int:
        return serve(*rows, self.place, self.generations.young, self.overlap, self.timing.served)

    def _settle(self, rows: Rows) -> Rows:
        """Do what first touches and writes to compressed pages cause. It comes first: it decides where misses go.

        Returns the rows that are left, because tenants may be killed.
        """
        if self._access.touches(rows.page):
            rows = self._allocate(rows)
            self._access.touches(rows.page)
        self._access.writes(rows.page, rows.writes)
        return self._living_rows(rows)

    def _living_rows(self, rows: Rows) -> Rows:
        kept = self.living(rows.page)
        return rows if kept is None else rows.only(kept)

    def _allocate(self, rows: Rows) -> Rows:
        """Place pages at their first touch; returns the rows that are left.

        With a compressed node, demotion can make room: a full machine reclaims directly. If that does not help, it
        kills the tenant that asks for most. Without a compressed node it raises `PghotError`.
        """
        while failed := self._allocate_once(rows):
            if self.compressed is None:
                total = format_size(int(self.capacity_pages.sum()) * self.page_bytes)
                raise PghotError(
                    f"the simulated machine ran out of memory: {total} are not enough for the program",
                    "give the tiers more capacity or a larger --fast-share",
                )
            # Pages that this slice has touched are not the ones that the program used least.
            self._access.touches(rows.page)
            if not self.reclaim_directly(failed):
                self._access.out_of_memory(rows.page[self.place[rows.page] == NOWHERE])
                rows = self._living_rows(rows)
        return rows

    def _allocate_once(self, rows: Rows) -> int:
        """Place what is unplaced; returns how many pages found no room. kswapd works meanwhile.

        It wakes up when a node falls below its `low` watermark, and goes on as the pages down to `min` are used up.
        Once it is stuck, the rest is placed at once: no page grows old, and no time comes, inside a slice.
        """
        if not self.demotion_enabled:
            return self._place(rows.page, rows.node)
        fresh = np.flatnonzero(self.place[rows.page] == NOWHERE)
        least = max(1, int((self.low_pages - self.min_pages)[self._public].min()))
        failed = first = 0
        stuck = not self._reclaimed
        while first < len(fresh):
            above_low = int((self.free_pages - self.low_pages)[self._reclaimed].min(initial=len(fresh)))
            part = fresh[first : len(fresh) if stuck else first + max(least, above_low)]
            failed += self._place(rows.page[part], rows.node[part])
            self.generations.young[rows.page[part]] = 1
            stuck = not self._kswapd()
            first += len(part)
        return failed

    def _place(self, page: U32, node: I16) -> int:
        watched = None if self.watcher is None else np.unique(page[self.place[page] == NOWHERE])
        failed = allocate(
            page,
            node,
            self.place,
            self.preferred,
            self.free_pages,
            self._allocation_floor,
            self._fallback,
        )
        if watched is not None and self.watcher is not None:
            self.watcher.placed(watched, self.place[watched])
        return failed

    def reclaim_directly(self, pages: int, on: int | None = None) -> int:
        """The program itself demotes the `pages` that it used least, and some more, up to the high watermarks.

        on  the node that needs room; None: any node
        Returns how many moved. The program waits (mm/page_alloc.c, __alloc_pages_direct_reclaim).
        """
        done = 0
        for node in self._public if on is None else (on,):
            wanted = pages - done + int(self.high_pages[node] - self.min_pages[node])
            cold, walks = self.generations.oldest(self.place, node, wanted, self.now_ns)
            if len(cold) < wanted:  # too few old pages: take those touched longest ago
                rest = self.generations.coldest(self.place, node, wanted)
                cold = np.concatenate([cold, rest[~np.isin(rest, cold)]])[:wanted]
            self._pay_app(walks * self.pages * self.costs.age_pte_ns)
            done += self.demote(cold, node, DIRECT_RECLAIM)
            if done >= pages:
                break
        return done

    def marginal_ns(self) -> F64:
        """See `SliceTiming.marginal_ns`."""
        return self.timing.marginal_ns()

    # ---- what tracking and moving cost

    @property
    def hash_list_step_ns(self) -> float:
        return self.costs.hash_list_step_ns

    def charge_tracking(self, app_ns: float, kernel_ns: float, thread: str) -> None:
        """Account for time that a source took from the program's threads (summed) and from a kernel thread."""
        self.ledger.tracking_app_ns += app_ns
        self._app_debt_ns += app_ns
        if kernel_ns:
            self.ledger.tracking_kernel_ns += kernel_ns
            self._kernel_work(thread, kernel_ns)

    def thread(self, name: str) -> KernelThread:
        if name not in self.kernel_threads:
            self.kernel_threads[name] = KernelThread(np.zeros(len(self.free_pages)))
        return self.kernel_threads[name]

    def _kernel_work(self, name: str, lasts_ns: float, cpu_ns: float | None = None) -> None:
        """Have a thread work so long. cpu_ns: the CPU time that it takes, if that is another one."""
        self.thread(name).run(self.now_ns, lasts_ns, cpu_ns)
        if not self.topology.spare_cores:
            self._app_debt_ns += lasts_ns if cpu_ns is None else cpu_ns

    def pages_in_budget(self, thread: str, sleep_ns: float = 0.0) -> int:
        """Pages that `thread` can start to migrate now; 0 while it is busy.

        sleep_ns  how long it sleeps between two rounds, on this machine's clock

        It has as long as it sleeps, or the length of a slice if that is more. The last page may take it beyond that:
        then it starts its next round later.
        """
        span_ns = max(self.slice_ns, sleep_ns)
        mover = self.thread(thread)
        page_ns, _ = self.move_costs.thread_ns(mover.copying_by, self.timing.worst_slowdown())
        return math.ceil(mover.budget_ns(self.now_ns, self.now_ns + span_ns) / page_ns)

    # ---- moving pages

    def room(self, node: int) -> int:
        """Pages that can be put on `node` without touching its reserve."""
        if self.private[node] and self.compressed is not None:
            return min(int(self.free_pages[node]), self.compressed.admissible)
        return max(0, int(self.free_pages[node] - self.min_pages[node]))

    def migrate(self, page: U32, target: int, payer: str, batch_pages: int = 512) -> Moves:
        """Move pages to `target`, as many as fit.

        page         uint32[K], each page at most once
        payer        "app": the faulting threads migrate one page after the other, and flush its TLB entry;
                     "hint fault": the same, but the page is mapped PROT_NONE and no TLB has an entry of it
                     (kernel mode 2; see `policies.numab2`);
                     "task work": as "app", but a 2 MiB page takes one flush;
                     anything else names the kernel thread that migrates in batches of `batch_pages`

        Pages that are not placed, or are on the target already, are left out: they count neither as moved nor as
        failed.
        """
        out = np.empty_like(page)
        page = out[: movable(page, self.place, target, out)]
        if self.demotion_enabled and len(page) > self.room(target):
            self.reclaim(target, len(page) - self.room(target))
        return self._put(page, target, payer, batch_pages)

    def _put(self, page: U32, target: int, payer: str, batch_pages: int) -> Moves:
        """Move the pages that fit; a private node decides itself which it admits."""
        wait_ns = 0.0
        if self.private[target] and self.compressed is not None:
            came = self.compressed.admit(page[: int(self.free_pages[target])], payer == DIRECT_RECLAIM)
            self._access.compress(len(came) * self.page_bytes)
            moves = Moves(
                came, np.setdiff1d(page, came, assume_unique=True) if len(came) < len(page) else page[:0]
            )
        else:
            fit = min(len(page), self.room(target))
            moves = Moves(page[:fit], page[fit:])
            if self.compressed is not None:
                wait_ns = self._access.leave(moves.moved)
        if len(moves.moved):
            slowest = slowest_node(moves.moved, self.place, target, self._slowdown)
            self._relocate(moves.moved, target, payer)
            self._pay(len(moves.moved), slowest, payer, batch_pages, wait_ns)
        return moves

    def _relocate(self, page: U32, target: int, payer: str, copied_bytes: float | None = None) -> None:
        page_bytes = float(self.page_bytes) if copied_bytes is None else copied_bytes
        if self.watcher is not None:
            self.watcher.moved(page, self.place[page], target, payer)
        promoted = np.empty_like(page)
        climbed, sunk, again = relocate(
            page, target, page_bytes, self.place, self.rank, self.free_pages,
            self.timing.moving_bytes if payer in BY_PROGRAM else self.thread(payer).copying,
            self._was_promoted, promoted,
        )  # fmt: skip
        if climbed:
            self.newly_promoted.append(promoted[:climbed])
        self.ledger.promoted += climbed
        self.ledger.demoted += sunk
        self.ledger.pingpong += again
        self.ledger.exchanged_bytes += len(page) * int(page_bytes)

    def _pay(self, pages: int, slowest: int, payer: str, batch_pages: int, wait_ns: float) -> None:
        """Have `payer` pay for moves whose copies wait for the node `slowest`.

        The program's own copies wait as long as that node lets them wait in this very slice. A kernel thread's stretch
        over slices, and take what copies took in the mean of the last ones. With the latency of the last slice alone,
        one that many moves filled would make the next moves dear, and these the ones after them cheap.
        """
        costs = self.costs
        flushes = self.move_costs.flushes(payer, pages, batch_pages)
        interrupts_ns = flushes * costs.shootdown_ipi_ns * self.threads
        overhead_ns = wait_ns + flushes * costs.shootdown_ns
        if payer in BY_PROGRAM:
            remap_ns, copy_ns = self.move_costs.program_parts_ns()
            self.timing.copy_ns[slowest] += pages * copy_ns
            self._pay_app(pages * remap_ns + overhead_ns + interrupts_ns)
            return
        lasts_ns, cpu_ns = self.move_costs.thread_ns(
            self.thread(payer).copying_by, max(1.0, float(self._slowdown[slowest]))
        )
        self._kernel_work(payer, pages * lasts_ns + overhead_ns, pages * cpu_ns + overhead_ns)
        self._pay_app(interrupts_ns)

    def _pay_app(self, time_ns: float) -> None:
        self.ledger.moving_app_ns += time_ns
        self._app_debt_ns += time_ns

    def reclaim(self, node: int, pages: int) -> int:
        """Demote the coldest pages of `node`: up to `pages`, plus what its high watermark lacks; returns how many.

        The node's kswapd does this, in the time that it has.
        """
        name = f"kswapd{node}"
        shortfall = max(0, int(self.high_pages[node] - self.free_pages[node]))
        wanted = min(pages + shortfall, self.pages_in_budget(name))
        if wanted <= 0 or not self.demotion_targets[node]:
            return 0
        if self.local_low is not None and not self.lower[node]:
            return self.local_low.reclaim(self, node, wanted, name)
        return len(self.demote_oldest(node, wanted, name))

    def demote_oldest(self, node: int, pages: int, thread: str) -> U32:
        """Have `thread` demote up to `pages` of the oldest generations of `node`; returns those that went."""
        cold = self.oldest(node, pages, thread)
        self.demote(cold, node, thread)
        went: U32 = cold[self.place[cold] != node]
        return went

    def oldest(self, node: int, pages: int, thread: str, spared: Bool | None = None) -> U32:
        """Have `thread` find up to `pages` of the oldest generations of `node`, none that is `spared` (bool[pages])."""
        cold, walks = self.generations.oldest(self.place, node, pages, self.now_ns, spared)
        if walks:
            self._kernel_work(thread, walks * self.pages * self.costs.age_pte_ns)
        return cold

    def demote(self, page: U32, node: int, thread: str) -> int:
        """Move `page` from `node` to its demotion targets in order; returns how many moved."""
        done = 0
        for target in self.demotion_targets[node]:
            if len(page) == 0:
                break
            moves = self._put(page, target, thread, 512)
            done += len(moves.moved)
            page = moves.failed
        return done

    def age_generations(self, thread: str) -> None:
        """One ageing walk over all page tables by `thread`; none while it is still busy."""
        if self.thread(thread).free_at_ns > self.now_ns:
            return
        self.generations.age(self.now_ns)
        self._kernel_work(thread, self.pages * self.costs.age_pte_ns)

    def balance(self) -> None:
        """kswapd wakes up: it demotes from each node below its low watermark, up to the high one."""
        self._kswapd()

    def _kswapd(self) -> bool:
        """As `balance`; returns False when it can do no more in this slice: on no node could it demote a page."""
        if not self.demotion_enabled:
            return False
        below = self.free_pages < self.low_pages
        able = [self.reclaim(node, 0) > 0 if below[node] else True for node in self._reclaimed]
        return any(able)

    def free(self, page: U32) -> None:
        """The program that owned the pages is gone."""
        page = page[self.place[page] != NOWHERE]
        source = self.place[page]
        if self.watcher is not None:
            self.watcher.freed(page, source)
        if self.compressed is not None:
            self.compressed.release(page[self.private[source]])
        self.free_pages += np.bincount(source, minlength=len(self.free_pages))
        self.place[page] = NOWHERE
