"""Device, host, rule and reserve of one attack, and the same scene scaled down.

All that matters for safety is linear. If bytes and times are divided by one factor and rates stay as they are, every
term of `pghot.safety.margin` is divided by that factor. So attacks run on a device of a few megabytes. Pages and lines
do not shrink. In the small scene a term of less than a page or a line is played as a whole one, and the scene's reserve
is larger by the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pghot.errors import UsageError
from pghot.rules import AccessRule
from pghot.safety.margin import Host, Margins, margins
from pghot.sim.compressed.device import CompressedDevice
from pghot.units import PAGE_BYTES, format_size

FEW_PAGES, MANY_PAGES = 4096, 1 << 16  # promised pages of a scaled scene: 16 .. 256 MiB
LEAST_LINES = 64  # lines that the cache of a scaled scene should hold


@dataclass(frozen=True, slots=True)
class Scene:
    """The two sides of an attack. Sizes in bytes; `scale` is how many times larger the full-size scene is.

    rounding  the part of `reserve` that is there because pages and lines did not shrink; it may be negative
    """

    device: CompressedDevice
    host: Host
    real: int
    promised: int
    rule: AccessRule
    reserve: int
    tenants: int = 2
    scale: float = 1.0
    rounding: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.reserve <= self.real <= self.promised:
            raise UsageError(
                f"a reserve of {format_size(self.reserve)}, {format_size(self.real)} real and "
                f"{format_size(self.promised)} promised do not go together",
                "give reserve <= real <= promised",
            )

    @property
    def pages(self) -> int:
        return self.promised // PAGE_BYTES

    @property
    def cache_lines(self) -> int:
        return max(1, self.host.llc // self.device.line)

    def margins(self) -> Margins:
        return margins(self.device, self.host, self.real, self.promised)

    def needed(self) -> float:
        """The calculator's reserve for this scene's rule, in bytes; infinite if no reserve is enough."""
        return self.margins().rules[self.rule.name].reserve_bytes

    @property
    def real_reserve(self) -> int:
        """The reserve of the full-size scene."""
        return round((self.reserve - self.rounding) * self.scale)

    def with_reserve(self, reserve: int) -> Scene:
        return replace(self, reserve=reserve, rounding=0.0)


def convenient_pages(scene: Scene) -> int:
    """Pages of a scaled scene: few, but with enough lines in the cache for the terms to show."""
    wanted = scene.pages * LEAST_LINES // scene.cache_lines
    return max(FEW_PAGES, min(MANY_PAGES, wanted))


def scaled(scene: Scene, pages: int = 0) -> Scene:
    """The scene with `pages` promised pages, or a convenient number of them; it never grows."""
    pages = pages or convenient_pages(scene)
    factor = max(1.0, scene.pages / pages)
    pages = min(pages, scene.pages)
    if scene.real / factor < PAGE_BYTES:
        raise UsageError(
            f"{format_size(scene.real)} real are too little to play an attack with {format_size(scene.promised)} "
            "promised",
            "give --promised nearer to --real",
        )
    device, host = scene.device, scene.host
    real = round(scene.real / factor / PAGE_BYTES) * PAGE_BYTES
    if scene.promised > scene.real:
        real = max(PAGE_BYTES, min(real, (pages - 1) * PAGE_BYTES))  # otherwise it could no longer run out
    small = replace(
        scene,
        device=device.model_copy(
            update={"report_us": device.report_us / factor, "interrupt_us": device.interrupt_us / factor}
        ),
        host=replace(
            host,
            # A cache larger than all pages makes no difference, but takes memory.
            llc=max(device.line, min(round(host.llc / factor), pages * PAGE_BYTES)),
            batch_pages=max(1, min(round(host.batch_pages / factor), pages)),
            grants=max(1, min(round(host.grants / factor), pages)),
            pinned=round(host.pinned / factor),
            kill_us=host.kill_us / factor,
            protect_us=None if host.protect_us is None else host.protect_us / factor,
        ),
        real=real,
        promised=pages * PAGE_BYTES,
        reserve=0,
        scale=scene.scale * factor,
    )
    share = scene.reserve / factor
    reserve = min(max(0, math.ceil(share + _rounding(scene, small, factor))), real)
    return replace(small, reserve=reserve, rounding=reserve - share)


def _rounding(scene: Scene, small: Scene, factor: float) -> float:
    """What the small scene needs beyond its share of what `scene` needs, in bytes."""
    beyond = small.needed() - scene.needed() / factor
    return beyond if math.isfinite(beyond) else 0.0
