"""What is wrong while pghot runs on, looked up once a second: what `Live.degraded` holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.kernel.watched import Space
from pghot.live.degraded import DEMOTION, GUESTS, HUGETLB, JOURNAL, KNOBS, SHORTAGE, TARGETS, Degraded
from pghot.live.journal import Journal
from pghot.live.knobs import Knobs
from pghot.live.live_settings import LiveSettings
from pghot.live.machine.linux import LinuxMachine
from pghot.live.machine.spaces import Spaces
from pghot.live.sources.access_source import AccessSource, Degrades, SeesHugetlb
from pghot.policies.live_rules import unseen_is_cold


def troubles(
    root: SysRoot,
    settings: LiveSettings,
    *,
    knobs: Knobs,
    spaces: Spaces,
    machine: LinuxMachine,
    sources: Sequence[AccessSource],
    started: Sequence[AccessSource],
    journal: Journal | None,
    now_ms: int,
) -> list[Degraded]:
    """`started` are those of the `sources` that see by now. In a shortage what has to be asked for may be missing."""
    found: list[Degraded] = []
    with contextlib.suppress(ShortageError):
        found.extend(_asked(root, settings, knobs, spaces, machine, sources, started, journal, now_ms))
    if lacking := root.shortages.lasting(now_ms):
        found.append(Degraded(SHORTAGE, f"{lacking}; meanwhile nothing is known of what was asked about"))
    return found


def _asked(
    root: SysRoot,
    settings: LiveSettings,
    knobs: Knobs,
    spaces: Spaces,
    machine: LinuxMachine,
    sources: Sequence[AccessSource],
    started: Sequence[AccessSource],
    journal: Journal | None,
    now_ms: int,
) -> Iterator[Degraded]:
    yield from (Degraded(TARGETS, problem) for problem in settings.targets.troubles(root))
    if journal is not None:
        yield from (Degraded(JOURNAL, problem) for problem in (journal.trouble, journal.moved) if problem)
    if not spaces.spaces:
        return  # there is nothing to see or move
    yield from (Degraded(KNOBS, problem) for problem in knobs.changed_by_others())
    if by_hint_faults(started):
        yield from (Degraded(GUESTS, _blind_to_guest(space)) for space in spaces.with_guests())
    for source in started:
        if isinstance(source, Degrades):
            yield from (Degraded(source.name, problem) for problem in source.degraded())
    if machine.lru_would_not_leave_out:
        yield Degraded(DEMOTION, _no_room("it would not leave out the nodes that are left out", sources))
    if machine.lru is not None and (trouble := machine.lru.trouble(now_ms)):
        yield Degraded(DEMOTION, _no_room(trouble, sources))
    for node in machine.pools.full_now():
        yield Degraded(
            HUGETLB,
            f"the pool of 2 MiB pages on node {node} is full, so hugetlb pages stay; raise nr_hugepages there",
        )


def by_hint_faults(sources: Iterable[AccessSource]) -> bool:
    return any(source.mechanism == "hint fault" for source in sources)


def see_hugetlb(sources: Iterable[AccessSource]) -> bool:
    return any(isinstance(source, SeesHugetlb) and source.sees_hugetlb for source in sources)


def _no_room(trouble: str, sources: Sequence[AccessSource]) -> str:
    why, remedy = "", ""
    if not unseen_is_cold(sources):
        names = " and ".join(source.name for source in sources)
        why, remedy = f", as {names} sees none of its pages", ", or add a source that sees the top tier"
    return f"the kernel's LRU should pick what goes down from a full fast node{why}, but {trouble}{remedy}"


def _blind_to_guest(space: Space) -> str:
    return (
        f"process {space.pid} ({space.name}) runs a virtual machine: what that touches is faulted in by KVM and vhost "
        "without a page fault of the program, so hint faults do not show it; --source idle does, where it works"
    )
