"""The host: what it admits, what may be written, what it does when the device warns. Compiled kernels on `State`."""

from __future__ import annotations

from pghot.jit import kernel
from pghot.safety.adversary.state import (
    ACTIVE,
    BATCHED,
    DEMOTED,
    DIRTY,
    DRAIN_HAND,
    FAULTS,
    GRANT_HAND,
    GRANTED,
    IN_PLACE,
    KILLED,
    LEFT,
    NEVER,
    NEXT_DRAIN,
    NEXT_KILL,
    NEXT_REPORT,
    NOW,
    P_ASK_BATCH,
    P_BATCH,
    P_BLOCKS,
    P_BUDGET,
    P_BUDGETS,
    P_CHARGE,
    P_CLEAR,
    P_DRAINS,
    P_FLUSH,
    P_GRANTS,
    P_INTERRUPT_PS,
    P_KILL_PS,
    P_LINES,
    P_PAGE_PS,
    P_PAGES,
    P_PROTECT_PS,
    P_REAL,
    P_REFUSES,
    P_REPORT_PS,
    P_RESERVE,
    P_TENANTS,
    P_WARN,
    P_WRITES,
    PENDING,
    PROTECT_AT,
    REFUSED,
    REPORTED,
    SETTLING,
    USED,
    WARNED,
    State,
)
from pghot.safety.adversary.storage import account, dirty, forget, page_bytes, write
from pghot.units import PAGE_BYTES


@kernel
def report(s: State) -> None:
    """The control plane reports the remaining capacity. The report includes what was settled before."""
    s.var[REPORTED] = s.par[P_REAL] - s.var[USED]
    s.var[SETTLING] = 0
    s.var[NEXT_REPORT] = s.var[NOW] + s.par[P_REPORT_PS]
    if s.par[P_BUDGETS]:
        for tenant in range(s.par[P_TENANTS]):
            s.reported_by[tenant] = s.used_by[tenant]
            s.settling_by[tenant] = 0
            if s.used_by[tenant] > s.par[P_BUDGET] and s.kill_at[tenant] == NEVER:
                s.kill_at[tenant] = s.var[NOW] + s.par[P_INTERRUPT_PS] + s.par[P_KILL_PS]
                s.var[NEXT_KILL] = min(s.var[NEXT_KILL], s.kill_at[tenant])


@kernel
def calm(s: State) -> None:
    """Once enough remains, take a warning back and stop all that it started."""
    if s.par[P_REAL] - s.var[USED] > s.par[P_CLEAR]:
        s.var[WARNED] = 0
        s.var[PENDING] = -1
        s.var[NEXT_DRAIN] = s.var[PROTECT_AT] = NEVER


@kernel
def warn(s: State) -> None:
    """The device's interrupts: too little remains, or enough remains again."""
    if s.var[WARNED]:
        calm(s)
    elif s.var[PENDING] < 0 and s.par[P_REAL] - s.var[USED] < s.par[P_WARN]:
        s.var[PENDING] = s.var[NOW] + s.par[P_INTERRUPT_PS]
    if not s.var[WARNED] and 0 <= s.var[PENDING] <= s.var[NOW]:
        s.var[WARNED] = 1
        if s.par[P_DRAINS]:
            s.var[NEXT_DRAIN] = s.var[PENDING] + s.par[P_PAGE_PS]
            if s.par[P_PROTECT_PS] >= 0:
                s.var[PROTECT_AT] = s.var[PENDING] + s.par[P_PROTECT_PS]


@kernel
def leave(s: State, page: int) -> None:
    """A page goes to DRAM, along with its lines in the cache. Its frame on the device is zeroed and takes nothing."""
    blocks, lines = s.par[P_BLOCKS], s.par[P_LINES]
    account(s, page, -page_bytes(s, page))
    for line in range(page * blocks * lines, (page + 1) * blocks * lines):
        if s.slot_of[line] >= 0:
            s.content[line] = forget(s, line)
    for block in range(page * blocks, (page + 1) * blocks):
        s.raw_lines[block] = 0
    s.place[page] = 0
    s.var[LEFT] += 1
    if s.grant[page] >= 0:
        s.granted[s.grant[page]] = -1
        s.grant[page] = -1
        s.var[ACTIVE] -= s.charge[page]
        s.charge[page] = 0


@kernel
def drain(s: State) -> None:
    """Move pages away in the order of their addresses, as fast as time allows, until the warning is taken back."""
    pages = s.par[P_PAGES]
    while s.var[NEXT_DRAIN] <= s.var[NOW]:
        page = s.var[DRAIN_HAND]
        looked = 0
        while looked < pages and (not s.place[page] or s.pinned[page] or s.locked[page]):
            page = (page + 1) % pages
            looked += 1
        s.var[DRAIN_HAND] = page
        s.var[NEXT_DRAIN] += s.par[P_PAGE_PS]
        if looked == pages:
            s.var[NEXT_DRAIN] = s.var[NOW] + pages * s.par[P_PAGE_PS] if s.par[P_PAGE_PS] < NEVER else NEVER
        else:
            leave(s, page)
            calm(s)


@kernel
def events(s: State) -> None:
    """What is due by now: reports, interrupts, promotions under way. Kills wait for the end of a step."""
    if s.var[NOW] >= s.var[NEXT_REPORT]:
        report(s)
    warn(s)
    if s.var[NOW] >= s.var[NEXT_DRAIN]:
        drain(s)


@kernel
def flush_page(s: State, page: int) -> None:
    """Write back a page's lines in the cache. Nothing can move the page meanwhile."""
    first = page * s.par[P_BLOCKS] * s.par[P_LINES]
    for line in range(first, first + s.par[P_BLOCKS] * s.par[P_LINES]):
        if s.slot_of[line] >= 0:
            write(s, line, forget(s, line))
            events(s)


@kernel
def close_batch(s: State) -> None:
    """The demotion under way ends. Its pages may be used again; their charge is dropped at the next report."""
    if s.par[P_FLUSH]:
        for i in range(s.var[BATCHED]):
            flush_page(s, s.batch[i])
    for i in range(s.var[BATCHED]):
        page = s.batch[i]
        s.locked[page] = 0
        s.var[ACTIVE] -= PAGE_BYTES
        s.var[SETTLING] += PAGE_BYTES
        tenant = page % s.par[P_TENANTS]
        s.active_by[tenant] -= PAGE_BYTES
        s.settling_by[tenant] += PAGE_BYTES
    s.var[BATCHED] = 0


@kernel
def room(s: State, size: int) -> bool:
    """Whether `size` more bytes leave the reserve free, with all that was admitted at its worst."""
    return bool(s.var[REPORTED] - s.var[ACTIVE] - s.var[SETTLING] - size >= s.par[P_RESERVE])


@kernel
def admitted(s: State, page: int) -> bool:
    """Whether a page may be demoted. A host that asks only once for each batch checks only the first page."""
    if s.par[P_ASK_BATCH] and s.var[BATCHED] > 0:
        return True
    if s.var[WARNED] and s.par[P_REFUSES]:
        return False  # where a warning lets the last resort through, tenants can bring about that case
    tenant = page % s.par[P_TENANTS]
    if s.par[P_BUDGETS]:
        owed = s.reported_by[tenant] + s.active_by[tenant] + s.settling_by[tenant]
        if s.kill_at[tenant] < NEVER or owed + PAGE_BYTES > s.par[P_BUDGET]:
            return False
    return room(s, PAGE_BYTES)


@kernel
def demote(s: State, page: int) -> None:
    """Move a cold page to the device, through the cache. A refused page stays where it is and is counted."""
    if s.place[page] or s.pinned[page]:
        return
    if not admitted(s, page):
        s.var[REFUSED] += 1
        return
    s.batch[s.var[BATCHED]] = page
    s.var[BATCHED] += 1
    s.locked[page] = 1
    s.var[ACTIVE] += PAGE_BYTES
    s.active_by[page % s.par[P_TENANTS]] += PAGE_BYTES
    s.place[page] = 1
    s.var[DEMOTED] += 1
    account(s, page, s.par[P_BLOCKS] * s.size[0])
    first = page * s.par[P_BLOCKS] * s.par[P_LINES]
    for line in range(first, first + s.par[P_BLOCKS] * s.par[P_LINES]):
        content = s.content[line]
        s.content[line] = 0
        dirty(s, line, content)
        events(s)
    if s.var[BATCHED] == s.par[P_BATCH]:
        close_batch(s)


@kernel
def protect(s: State, page: int) -> None:
    """Make a writable page read-only again. Its charge is dropped at the next report."""
    if s.par[P_FLUSH]:
        flush_page(s, page)
    s.granted[s.grant[page]] = -1
    s.grant[page] = -1
    s.var[ACTIVE] -= s.charge[page]
    s.var[SETTLING] += s.charge[page]
    s.charge[page] = 0


@kernel
def charged(s: State, page: int) -> int:
    """What the host reserves before a page may be written (`Host.charge`)."""
    if s.par[P_CHARGE] == 0:
        return PAGE_BYTES
    if s.par[P_CHARGE] == 1:
        return PAGE_BYTES - page_bytes(s, page)
    growth = 0
    for lines in range(1, len(s.size)):
        growth = max(growth, s.size[lines] - s.size[lines - 1])
    return growth


@kernel
def grant(s: State, page: int) -> bool:
    """Let a read-only page be written, if the device could take it at its worst."""
    place = s.var[GRANT_HAND]
    if s.granted[place] >= 0:
        protect(s, s.granted[place])
    size = charged(s, page)
    if not room(s, size):
        return False
    s.var[GRANT_HAND] = (place + 1) % s.par[P_GRANTS]
    s.granted[place] = page
    s.grant[page] = place
    s.charge[page] = size
    s.var[ACTIVE] += size
    return True


@kernel
def may_write(s: State, page: int) -> bool:
    """Whether a store to a page on the device may go there. If not, the page has been moved to DRAM."""
    writes = s.par[P_WRITES]
    if writes == IN_PLACE and s.var[NOW] < s.var[PROTECT_AT]:
        return True
    if writes == GRANTED and s.grant[page] >= 0:
        return True
    s.var[FAULTS] += 1
    if writes == GRANTED and grant(s, page):
        return True
    leave(s, page)
    return False


@kernel
def settle_all(s: State) -> None:
    """The host's timer: the demotion under way ends, and all writable pages become read-only again."""
    close_batch(s)
    for place in range(s.par[P_GRANTS]):
        if s.granted[place] >= 0:
            protect(s, s.granted[place])


@kernel
def kill(s: State, tenant: int) -> None:
    """Stop a tenant for good. This plays the worst case: all its dirty lines arrive before its pages are zeroed."""
    close_batch(s)
    for slot in range(s.var[DIRTY] - 1, -1, -1):
        line = s.slot_line[slot]
        if line // (s.par[P_LINES] * s.par[P_BLOCKS]) % s.par[P_TENANTS] == tenant:
            write(s, line, forget(s, line))
    for page in range(tenant, s.par[P_PAGES], s.par[P_TENANTS]):
        if s.place[page]:
            leave(s, page)
    s.kill_at[tenant] = NEVER
    s.var[KILLED] += 1


@kernel
def kills(s: State) -> None:
    """Kill the tenants whose time has come."""
    s.var[NEXT_KILL] = NEVER
    for tenant in range(s.par[P_TENANTS]):
        if s.kill_at[tenant] <= s.var[NOW]:
            kill(s, tenant)
        s.var[NEXT_KILL] = min(s.var[NEXT_KILL], s.kill_at[tenant])
