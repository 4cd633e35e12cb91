"""The device and the CPU's cache in front of it: compiled kernels on `State`.

The device counts every byte: `var[USED]` is the sum over all blocks. A write that would exceed the medium is lost, and
so is every growing write after it (the fail-safe). The account goes on as if the medium were larger, to show how much
was missing.
"""

from __future__ import annotations

from pghot.jit import kernel
from pghot.safety.adversary.state import (
    DIRTY,
    FAILED,
    FIFO,
    FIRST_LOSS,
    HAND,
    LAST,
    LEAST,
    LEAST_STEP,
    LIFO,
    LOST,
    NOW,
    P_BLOCKS,
    P_BUDGETS,
    P_CACHE,
    P_LINE_PS,
    P_LINES,
    P_ORDER,
    P_REAL,
    P_TENANTS,
    RANDOMS,
    STEPS,
    USED,
    State,
)


@kernel
def account(s: State, page: int, growth: int) -> None:
    """`page` takes `growth` more bytes; negative: fewer."""
    s.var[USED] += growth
    if s.par[P_BUDGETS]:
        s.used_by[page % s.par[P_TENANTS]] += growth
    remaining = s.par[P_REAL] - s.var[USED]
    if growth > 0 and (remaining < 0 or s.var[FAILED]):
        if not s.var[FAILED]:
            s.var[FAILED] = 1
            s.var[FIRST_LOSS] = s.var[STEPS]
        s.var[LOST] += 1
    if remaining < s.var[LEAST]:
        s.var[LEAST] = remaining
        s.var[LEAST_STEP] = s.var[STEPS]


@kernel
def write(s: State, line: int, content: int) -> None:
    """The device takes a line and compresses its block anew. This takes the time of one line."""
    s.var[NOW] += s.par[P_LINE_PS]
    if s.content[line] == content:
        return
    block = line // s.par[P_LINES]
    before = s.raw_lines[block]
    after = before + 1 if content else before - 1
    s.content[line] = content
    s.raw_lines[block] = after
    growth = s.size[after] - s.size[before]
    if growth != 0:
        account(s, block // s.par[P_BLOCKS], growth)


@kernel
def page_bytes(s: State, page: int) -> int:
    """Bytes that a page on the device takes."""
    blocks = s.par[P_BLOCKS]
    total = 0
    for block in range(page * blocks, (page + 1) * blocks):
        total += s.size[s.raw_lines[block]]
    return total


@kernel
def forget(s: State, line: int) -> int:
    """Take a dirty line out of the cache without writing it; returns its content. The last line fills the gap."""
    slot = s.slot_of[line]
    content = s.slot_content[slot]
    s.var[DIRTY] -= 1
    last = s.var[DIRTY]
    if s.var[LAST] == last:
        s.var[LAST] = slot
    if slot != last:
        s.slot_line[slot] = s.slot_line[last]
        s.slot_content[slot] = s.slot_content[last]
        s.slot_of[s.slot_line[slot]] = slot
    s.slot_of[line] = -1
    return int(content)


@kernel
def victim(s: State) -> int:
    """The place in a full cache that is evicted next. "fifo" goes round in order, as long as nobody flushes."""
    cache = s.par[P_CACHE]
    if s.par[P_ORDER] == LIFO:
        return int(s.var[LAST])
    if s.par[P_ORDER] == FIFO:
        slot = s.var[HAND]
        s.var[HAND] = (slot + 1) % cache
        return int(slot)
    s.var[RANDOMS] = (s.var[RANDOMS] * 1103515245 + 12345) % 2147483648
    return int((s.var[RANDOMS] >> 8) % cache)


@kernel
def evict(s: State) -> int:
    """Write back one dirty line of a full cache; returns its place, which must be filled at once."""
    slot = victim(s)
    line = s.slot_line[slot]
    s.slot_of[line] = -1
    write(s, line, s.slot_content[slot])
    return slot


@kernel
def dirty(s: State, line: int, content: int) -> None:
    """A store to a line of the device: the line is in the cache now, and another may have to make room."""
    slot = s.slot_of[line]
    if slot < 0:
        if s.var[DIRTY] < s.par[P_CACHE]:
            slot = s.var[DIRTY]
            s.var[DIRTY] += 1
        else:
            slot = evict(s)
        s.slot_line[slot] = line
        s.slot_of[line] = slot
        s.var[LAST] = slot
    s.slot_content[slot] = content
