"""The adversary's engine in plain Python, slow and direct: what the compiled one is checked against.

Bytes in use are never kept, but always counted from the contents. Pages are objects, the cache is a list. What tenants
and the host do is written down a second time here; what a rule means is read from the same `AccessRule`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pghot.safety.adversary.scene import Scene
from pghot.safety.adversary.state import FIFO, LIFO, NEVER, PICO
from pghot.safety.adversary.steps import OPERATIONS
from pghot.units import PAGE_BYTES


@dataclass(slots=True)
class Page:
    """A page of a tenant; `lines` are what memory holds: True where it does not compress."""

    lines: list[bool]
    on_device: bool = False
    moving: bool = False
    pinned: bool = False
    charge: int = 0
    tenant: int = 0


@dataclass
class Reference:
    """A scene being played. Attributes carry the names of `state`'s variables."""

    scene: Scene
    order: int = FIFO
    now: int = 0
    reported: int = 0
    settling: int = 0
    lost: int = 0
    failed: bool = False
    refused: int = 0
    least: int = 0
    warned: bool = False
    pending: int | None = None
    next_report: int = 0
    next_drain: int = NEVER
    protect_at: int = NEVER
    drain_hand: int = 0
    fifo_hand: int = 0
    last: int = 0
    grant_hand: int = 0
    pages: list[Page] = field(default_factory=list)
    cache: list[tuple[int, bool]] = field(default_factory=list)
    granted: list[int | None] = field(default_factory=list)
    batch: list[int] = field(default_factory=list)
    kill_at: dict[int, int] = field(default_factory=dict)
    tenant_reported: list[int] = field(default_factory=list)
    tenant_settling: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        scene = self.scene
        self.page_lines = PAGE_BYTES // scene.device.line
        self.pages = [
            Page([False] * self.page_lines, tenant=number % scene.tenants) for number in range(scene.pages)
        ]
        self.granted = [None] * scene.host.grants
        self.reported = self.least = scene.real
        self.next_report = self.report_ps = round(scene.device.report_us * 1e6)
        self.interrupt_ps = round(scene.device.interrupt_us * 1e6)
        self.line_ps = round(scene.device.line / (scene.host.write_gb_s * 1e9) * PICO)
        drain = scene.host.promotion_gb_s * 1e9
        self.page_ps = round(PAGE_BYTES / drain * PICO) if drain else NEVER
        self.warn_below = max(round(scene.device.low_share * scene.real), scene.reserve)
        spread = round((scene.device.high_share - scene.device.low_share) * scene.real)
        self.clear_above = self.warn_below + spread
        self.budget = (scene.real - scene.reserve) // scene.tenants
        self.tenant_reported = [0] * scene.tenants
        self.tenant_settling = [0] * scene.tenants

    # ---- what the device holds

    def block_bytes(self, page: Page, block: int) -> int:
        device = self.scene.device
        lines = page.lines[block * device.lines_per_block : (block + 1) * device.lines_per_block]
        return device.stored_bytes_bound(device.smallest_bytes, sum(lines))

    def page_bytes(self, page: Page) -> int:
        if not page.on_device:
            return 0
        return sum(self.block_bytes(page, block) for block in range(self.scene.device.blocks_per_page))

    def used(self, tenant: int | None = None) -> int:
        return sum(self.page_bytes(page) for page in self.pages if tenant in (None, page.tenant))

    def write(self, line: int, raw: bool) -> None:
        self.now += self.line_ps
        page = self.pages[line // self.page_lines]
        before = self.page_bytes(page)
        page.lines[line % self.page_lines] = raw
        self.check(self.page_bytes(page) - before)

    def check(self, growth: int) -> None:
        remaining = self.scene.real - self.used()
        if growth > 0 and (remaining < 0 or self.failed):
            self.failed = True
            self.lost += 1
        self.least = min(self.least, remaining)

    # ---- the cache

    def slot(self, line: int) -> int | None:
        return next((slot for slot, held in enumerate(self.cache) if held[0] == line), None)

    def forget(self, line: int) -> bool:
        """Take a dirty line out of the cache without writing it; its content."""
        return self.drop([held for held, _ in self.cache].index(line))

    def drop(self, slot: int) -> bool:
        """Remove a slot, the last one moving into the gap; what it held."""
        content = self.cache[slot][1]
        moved = self.cache.pop()
        if self.last == len(self.cache):
            self.last = slot
        if slot < len(self.cache):
            self.cache[slot] = moved
        return content

    def evict(self) -> int:
        if self.order == LIFO:
            slot = self.last
        else:
            slot = self.fifo_hand
            self.fifo_hand = (slot + 1) % self.scene.cache_lines
        self.write(*self.cache[slot])
        return slot

    def dirty(self, line: int, raw: bool) -> None:
        slot = self.slot(line)
        if slot is None:
            if len(self.cache) < self.scene.cache_lines:
                slot = len(self.cache)
                self.cache.append((line, raw))
            else:
                slot = self.evict()
            self.last = slot
        self.cache[slot] = (line, raw)

    # ---- the host's clockwork

    def events(self) -> None:
        if self.now >= self.next_report:
            self.report()
        remaining = self.scene.real - self.used()
        if self.warned:
            self.calm()
        elif self.pending is None and remaining < self.warn_below:
            self.pending = self.now + self.interrupt_ps
        if not self.warned and self.pending is not None and self.pending <= self.now:
            self.warned = True
            if self.scene.rule.drains == "in time":
                self.next_drain = self.pending + self.page_ps
                if self.scene.host.protect_us is not None:
                    self.protect_at = self.pending + round(self.scene.host.protect_us * 1e6)
        while self.next_drain <= self.now:
            self.drain_one()

    def calm(self) -> None:
        if self.scene.real - self.used() > self.clear_above:
            self.warned, self.pending = False, None
            self.next_drain = self.protect_at = NEVER

    def report(self) -> None:
        self.reported = self.scene.real - self.used()
        self.settling = 0
        self.next_report = self.now + self.report_ps
        if not self.scene.rule.budgets:
            return
        for tenant in range(self.scene.tenants):
            self.tenant_reported[tenant] = self.used(tenant)
            self.tenant_settling[tenant] = 0
            if self.tenant_reported[tenant] > self.budget and tenant not in self.kill_at:
                kill_ps = round(self.scene.host.kill_us * 1e6)
                self.kill_at[tenant] = self.now + self.interrupt_ps + kill_ps

    def drain_one(self) -> None:
        count = len(self.pages)
        order = [(self.drain_hand + i) % count for i in range(count)]
        able = [
            number
            for number in order
            if self.pages[number].on_device and not (self.pages[number].pinned or self.pages[number].moving)
        ]
        self.next_drain += self.page_ps
        if not able:
            self.next_drain = self.now + count * self.page_ps if self.page_ps < NEVER else NEVER
            return
        self.drain_hand = able[0]
        self.leave(able[0])
        self.calm()

    # ---- pages come and go

    def lines_of(self, number: int) -> range:
        return range(number * self.page_lines, (number + 1) * self.page_lines)

    def leave(self, number: int) -> None:
        page = self.pages[number]
        for line in self.lines_of(number):
            if self.slot(line) is not None:
                page.lines[line % self.page_lines] = self.forget(line)
        page.on_device = False
        if number in self.granted:
            self.granted[self.granted.index(number)] = None
            page.charge = 0

    def flush_page(self, number: int) -> None:
        for line in self.lines_of(number):
            if self.slot(line) is not None:
                self.write(line, self.forget(line))
                self.events()

    def active(self, tenant: int | None = None) -> int:
        return sum(page.charge for page in self.pages if tenant in (None, page.tenant))

    def room(self, size: int) -> bool:
        return self.reported - self.active() - self.settling - size >= self.scene.reserve

    def admitted(self, page: Page) -> bool:
        if self.scene.host.ask == "batch" and self.batch:
            return True
        if self.warned and self.scene.rule.refuses_last_resort:
            return False
        if self.scene.rule.budgets:
            owed = (
                self.tenant_reported[page.tenant]
                + self.active(page.tenant)
                + self.tenant_settling[page.tenant]
            )
            if page.tenant in self.kill_at or owed + PAGE_BYTES > self.budget:
                return False
        return self.room(PAGE_BYTES)

    def demote(self, number: int) -> None:
        page = self.pages[number]
        if page.on_device or page.pinned:
            return
        if not self.admitted(page):
            self.refused += 1
            return
        self.batch.append(number)
        contents, page.lines = page.lines, [False] * self.page_lines
        page.on_device, page.moving, page.charge = True, True, PAGE_BYTES
        self.check(self.page_bytes(page))
        for line, raw in zip(self.lines_of(number), contents, strict=True):
            self.dirty(line, raw)
            self.events()
        if len(self.batch) == self.scene.host.batch_pages:
            self.close_batch()

    def close_batch(self) -> None:
        if self.scene.host.flush:
            for number in self.batch:
                self.flush_page(number)
        for number in self.batch:
            page = self.pages[number]
            page.moving, page.charge = False, 0
            self.settling += PAGE_BYTES
            self.tenant_settling[page.tenant] += PAGE_BYTES
        self.batch = []

    # ---- writable pages

    def protect(self, number: int) -> None:
        if self.scene.host.flush:
            self.flush_page(number)
        self.granted[self.granted.index(number)] = None
        self.settling += self.pages[number].charge
        self.pages[number].charge = 0

    def grant(self, number: int) -> bool:
        oldest = self.granted[self.grant_hand]
        if oldest is not None:
            self.protect(oldest)
        size = {
            "page": PAGE_BYTES,
            "growth": PAGE_BYTES - self.page_bytes(self.pages[number]),
            "line": self.scene.device.line_growth_bytes,
        }[self.scene.host.charge]
        if not self.room(size):
            return False
        self.granted[self.grant_hand] = number
        self.grant_hand = (self.grant_hand + 1) % len(self.granted)
        self.pages[number].charge = size
        return True

    def may_write(self, number: int) -> bool:
        rule = self.scene.rule
        if rule.writes == "in place" and self.now < self.protect_at:
            return True
        if rule.writes == "granted" and (number in self.granted or self.grant(number)):
            return True
        self.leave(number)
        return False

    def kill(self, tenant: int) -> None:
        self.close_batch()
        for slot in range(len(self.cache) - 1, -1, -1):
            line = self.cache[slot][0]
            if self.pages[line // self.page_lines].tenant == tenant:
                self.write(line, self.drop(slot))
        for number, page in enumerate(self.pages):
            if page.tenant == tenant and page.on_device:
                self.leave(number)
        del self.kill_at[tenant]

    # ---- the tenants' steps

    def step(self, operation: int, number: int, argument: int) -> None:
        name = OPERATIONS[operation]
        page = self.pages[number]
        if page.moving and name not in ("cold", "read", "wait"):
            self.close_batch()
        line = number * self.page_lines + argument
        if name in ("store-zero", "store-raw"):
            self.store(number, line, name == "store-raw")
        elif name == "flush":
            if self.slot(line) is not None:
                self.write(line, self.forget(line))
                self.events()
        elif name == "cold":
            self.demote(number)
        elif name == "free":
            self.free(number)
        elif name in ("pin", "unpin"):
            self.pin(number, name == "pin")
        elif name in ("dma-zero", "dma-raw"):
            self.dma(number, line, name == "dma-raw")
        elif name == "read":
            if len(self.cache) == self.scene.cache_lines:
                self.drop(self.evict())
                self.events()
        else:
            self.wait(argument)
        for tenant in range(self.scene.tenants):
            if self.kill_at.get(tenant, NEVER) <= self.now:
                self.kill(tenant)

    def store(self, number: int, line: int, raw: bool) -> None:
        page = self.pages[number]
        if page.on_device and self.may_write(number):
            self.dirty(line, raw)
            self.events()
        else:
            page.lines[line % self.page_lines] = raw

    def free(self, number: int) -> None:
        page = self.pages[number]
        if not page.pinned:
            if page.on_device:
                self.leave(number)
            page.lines = [False] * self.page_lines

    def pin(self, number: int, wanted: bool) -> None:
        page = self.pages[number]
        if wanted and not page.pinned:
            if sum(p.pinned for p in self.pages) >= self.scene.host.pinned // PAGE_BYTES:
                self.refused += 1
                return
            moves = self.scene.host.pin_promotes and self.scene.rule.read_only
            if page.on_device and moves:
                self.leave(number)
        page.pinned = wanted

    def dma(self, number: int, line: int, raw: bool) -> None:
        page = self.pages[number]
        if not page.pinned:
            return
        if not page.on_device:
            page.lines[line % self.page_lines] = raw
            return
        if self.slot(line) is not None:
            self.forget(line)
        self.write(line, raw)
        self.events()

    def wait(self, line_times: int) -> None:
        self.close_batch()
        for number in list(self.granted):
            if number is not None:
                self.protect(number)
        self.now += line_times * self.line_ps
        self.events()
