"""Moving pages to a node that holds a copy of them already: nothing is copied."""

from __future__ import annotations

from pghot.arrays import U32
from pghot.sim.machine.simulated import SimulatedMachine


def remap(machine: SimulatedMachine, page: U32, target: int, thread: str) -> None:
    """Have `thread` map pages to their copies on `target`, as many as fit.

    page  uint32[K]  distinct pages, each on another node

    It takes the thread as long as a migration without the copy, and the program the same interrupts.
    """
    page = page[: machine.room(target)]
    if len(page):
        machine._relocate(page, target, thread, copied_bytes=0.0)
        remap_ns, _ = machine.costs.migrate_parts_ns(machine.page_bytes)
        flushes = machine.move_costs.batches(len(page))
        machine._kernel_work(thread, len(page) * remap_ns + flushes * machine.costs.shootdown_ns)
        machine._pay_app(flushes * machine.costs.shootdown_ipi_ns * machine.threads)
