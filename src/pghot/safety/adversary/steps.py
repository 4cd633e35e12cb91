"""What tenants may do, one step each, and the loop that plays a trace of steps.

A trace is int32[steps, 3]: operation, page, argument. The argument of stores and flushes is a line of the page, that of
`WAIT` a number of line times. Tenants have no other rights. In particular, only a demotion puts a page on the device.
"""

from __future__ import annotations

import numpy as np

from pghot.arrays import I32, I64
from pghot.jit import kernel
from pghot.safety.adversary.host import (
    close_batch,
    demote,
    events,
    kills,
    leave,
    may_write,
    settle_all,
)
from pghot.safety.adversary.state import (
    DIRTY,
    LEAST,
    LEAST_STEP,
    NEXT_KILL,
    NOW,
    P_BLOCKS,
    P_CACHE,
    P_LINE_PS,
    P_LINES,
    P_PAGES,
    P_PIN_PROMOTES,
    P_PINS,
    P_REAL,
    PINNED,
    REFUSED,
    STEPS,
    USED,
    WARNED,
    State,
)
from pghot.safety.adversary.storage import dirty, evict, forget, write

OPERATIONS = (
    "store-zero",  # write a line of zeros
    "store-raw",  # write a line that does not compress
    "flush",  # CLFLUSH: needs no privilege, and no right to write
    "cold",  # leave a page alone until the host demotes it
    "free",
    "pin",
    "unpin",
    "dma-zero",  # a device writes a line of a pinned page, past page tables and cache
    "dma-raw",
    "read",  # reads something else: in a full cache, a dirty line has to make room
    "wait",
)
STORE_ZERO, STORE_RAW, FLUSH, COLD, FREE, PIN, UNPIN, DMA_ZERO, DMA_RAW, READ, WAIT = range(len(OPERATIONS))


@kernel
def store(s: State, page: int, line: int, content: int) -> None:
    """A tenant's store: to DRAM at once, or to the device through the cache if the rule allows it."""
    if s.place[page] and may_write(s, page):
        dirty(s, line, content)
        events(s)
    else:
        s.content[line] = content


@kernel
def dma(s: State, page: int, line: int, content: int) -> None:
    """A zero-copy device writes to a pinned page, past the page tables. A dirty copy in the cache is dropped."""
    if not s.pinned[page]:
        return
    if not s.place[page]:
        s.content[line] = content
        return
    if s.slot_of[line] >= 0:
        forget(s, line)
    write(s, line, content)
    events(s)


@kernel
def pin(s: State, page: int) -> None:
    """Pin a page for a long time. Beyond the limit this is refused."""
    if s.pinned[page]:
        return
    if s.var[PINNED] >= s.par[P_PINS]:
        s.var[REFUSED] += 1
        return
    if s.place[page] and s.par[P_PIN_PROMOTES]:
        leave(s, page)
    s.pinned[page] = 1
    s.var[PINNED] += 1


@kernel
def free(s: State, page: int) -> None:
    """Give a page back. It is all zeros afterwards."""
    if s.pinned[page]:
        return
    if s.place[page]:
        leave(s, page)
    lines = s.par[P_BLOCKS] * s.par[P_LINES]
    s.content[page * lines : (page + 1) * lines] = 0


@kernel
def wait(s: State, line_times: int) -> None:
    """Let time pass, in which the host settles all that is pending."""
    settle_all(s)
    s.var[NOW] += line_times * s.par[P_LINE_PS]
    events(s)


@kernel
def step(s: State, operation: int, page: int, argument: int) -> None:
    """One step of a tenant, and what the host has done by its end."""
    line = page * s.par[P_BLOCKS] * s.par[P_LINES] + argument
    if s.locked[page] and operation not in (COLD, READ, WAIT):
        close_batch(s)  # a tenant that touches a page in a move waits until the move is done
    if operation <= STORE_RAW:
        store(s, page, line, operation)
    elif operation == FLUSH:
        if s.slot_of[line] >= 0:
            write(s, line, forget(s, line))
            events(s)
    elif operation == COLD:
        demote(s, page)
    elif operation == FREE:
        free(s, page)
    elif operation == PIN:
        pin(s, page)
    elif operation == UNPIN:
        if s.pinned[page]:
            s.pinned[page] = 0
            s.var[PINNED] -= 1
    elif operation <= DMA_RAW:
        dma(s, page, line, operation - DMA_ZERO)
    elif operation == READ:
        if s.var[DIRTY] == s.par[P_CACHE]:
            read_evicts(s)
            events(s)
    else:
        wait(s, argument)
    if s.var[NOW] >= s.var[NEXT_KILL]:
        kills(s)
    s.var[STEPS] += 1


@kernel
def read_evicts(s: State) -> None:
    """A clean line takes the place of a dirty one."""
    slot = evict(s)
    last = s.var[DIRTY] - 1
    s.var[DIRTY] = last
    if slot != last:
        s.slot_line[slot] = s.slot_line[last]
        s.slot_content[slot] = s.slot_content[last]
        s.slot_of[s.slot_line[slot]] = slot


@kernel
def play(s: State, trace: I32) -> None:
    """Play int32[steps, 3]."""
    for i in range(len(trace)):
        step(s, trace[i, 0], trace[i, 1], trace[i, 2])


@kernel
def record(s: State, trace: I32, every: int, out: I64) -> None:
    """As `play`. Of each `every` steps, record the one in which least remained.

    A step is judged by its worst moment, because a kill is at its worst in the middle of a step.

    out  int64[ceil(steps / every), 5]: step from 0, time (ps), least remaining bytes in the step, dirty lines in the
         cache, 1 while a warning stands
    """
    least, when = s.var[LEAST], s.var[LEAST_STEP]
    for i in range(len(trace)):
        s.var[LEAST] = s.par[P_REAL] - s.var[USED]
        step(s, trace[i, 0], trace[i, 1], trace[i, 2])
        remaining = s.var[LEAST]
        if remaining < least:
            least, when = remaining, s.var[LEAST_STEP]
        row = i // every
        if i % every == 0 or remaining < out[row, 2]:
            out[row, 0] = i
            out[row, 1] = s.var[NOW]
            out[row, 2] = remaining
            out[row, 3] = s.var[DIRTY]
            out[row, 4] = s.var[WARNED]
    s.var[LEAST], s.var[LEAST_STEP] = least, when


@kernel
def audit(s: State) -> int:
    """Bytes in all blocks of pages on the device, counted anew. The result must equal `var[USED]`."""
    total = 0
    for page in range(s.par[P_PAGES]):
        if s.place[page]:
            for block in range(page * s.par[P_BLOCKS], (page + 1) * s.par[P_BLOCKS]):
                raw = 0
                for line in range(block * s.par[P_LINES], (block + 1) * s.par[P_LINES]):
                    raw += s.content[line]
                total += s.size[raw]
    return total


def trace_of(*parts: np.ndarray) -> np.ndarray:
    """The parts of a trace, joined."""
    return np.ascontiguousarray(np.concatenate(parts), np.int32)
