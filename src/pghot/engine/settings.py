"""The settings of a hotness engine, and the quirks of the published designs by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

from pghot.errors import UsageError, unknown_name
from pghot.parameters import Knob, knobs_of

PACKED = ("default", "precise")
MOST = 1e9  # so that products stay within 64 bits
ALL_STORES = ("default", "precise", "hashed")


@dataclass(frozen=True, slots=True)
class Quirk:
    """A quirk of the published versions, the stores that have it, and whether it only shows in the lab."""

    help: str
    stores: tuple[str, ...]
    lab_only: bool = False


FAITHFUL: dict[str, Quirk] = {
    "frequency-wrap": Quirk(
        "the 3-bit frequency wraps from 7 to 0, so the hottest pages leave the heap (v2)",
        ("hashed",),
    ),
    "long-hash-lists": Quirk(
        "every report walks a hash list that grows to 1024 records (v2); only its time differs",
        ("hashed",),
        lab_only=True,  # it is charged, not spent
    ),
    "never-expire": Quirk("records of pages that went cold stay in the hash and the heap (v2)", ("hashed",)),
    "time-aliasing": Quirk(
        "the short modular timestamp is taken at its word, so a long untouched page looks fresh (v4..v8)",
        PACKED,
    ),
    "consumed-before-gate": Quirk(
        "a page that is refused or could not be moved loses its history", ALL_STORES
    ),
    "candidate-counts-refused": Quirk(
        "pgpromote_candidate and the dynamic threshold count a refused page every time it is judged",
        ALL_STORES,
    ),
    "address-order": Quirk("kmigrated promotes in address order, not hottest first (v4..v8)", PACKED),
}


def faithful_options(store: str) -> frozenset[str]:
    """The quirks of this store's published version; for a store from outside, every known quirk."""
    if store not in ALL_STORES:
        return frozenset(FAITHFUL)
    return frozenset(name for name, quirk in FAITHFUL.items() if store in quirk.stores)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine, its store, its gate and its consumer are built from.

    store               "default", "precise", "hashed" or the name of a store registered from outside
    pages, page_bytes   size of the dense index space and of one page
    nodes               number of memory nodes, at most 255
    top_nodes           the top-tier nodes: where promotions go
    target_nid          the top-tier node for pages whose accessing node is unknown or not recorded
    top_of_node         for each node the top-tier node its accesses promote to; None: itself when it is a
                        top-tier node, `target_nid` otherwise
    freq_threshold      accesses inside the window that make a page hot
    window_ms           kernel ms after which a page starts over; None: the store's published 3000/5000/5000
    rate_limit_mb_s     promotion rate limit of each target node, MiB/s as the kernel counts
    sleep_ms            kernel ms between two rounds of the consumer; None: the published 100/20
    batch_nr            pages in one migration batch (kmigrated) or popped from a heap in one round
                        (kpromoted); None: the published 512/1024
    group_pages         real pages that one page stands for, K in the lab: the rate limit, kpromoted's batch and
                        the gate's 1 GiB are divided by it. Times are not: the caller's clock runs K times faster
    first_page          page that kmigrated's walk begins at
    faithful            quirks of the published versions to reproduce, see `FAITHFUL`
    table_share         hashed store: hash table entries as a share of the pages
    heap_share          hashed store: entries of each top-tier node's heap as a share of the hash entries
    prune_age           windows after which the record of an unseen page is dropped
    enabled_sources     names of the sources that are recorded at start; None: all
    """

    store: str
    pages: int
    page_bytes: int
    nodes: int
    top_nodes: tuple[int, ...]
    target_nid: int
    top_of_node: tuple[int, ...] | None = None
    freq_threshold: Annotated[int, Knob(1, MOST, 1, 7)] = 2
    window_ms: Annotated[int | None, Knob(1, MOST, 250, 10_000)] = None
    rate_limit_mb_s: Annotated[float, Knob(0, MOST, 16, 65536)] = 65536.0
    sleep_ms: Annotated[int | None, Knob(1, MOST, 20, 1000)] = None
    batch_nr: Annotated[int | None, Knob(1, MOST, 64, 1024)] = None
    group_pages: float = 1.0
    first_page: int = 0
    faithful: frozenset[str] = field(default_factory=frozenset)
    table_share: Annotated[float, Knob(1e-6, 1)] = 0.5
    heap_share: Annotated[float, Knob(1e-6, 1)] = 0.25
    prune_age: Annotated[float, Knob(1, MOST, 1, 10)] = 2.0
    enabled_sources: frozenset[str] | None = None

    def __post_init__(self) -> None:
        _check_nodes(self)
        _check_ranges(self)
        check_faithful(self.store, self.faithful)

    def target_of(self, node: int) -> int:
        """The top-tier node that a page accessed from `node` (-1: unknown) is promoted to."""
        if not 0 <= node < self.nodes:
            return self.target_nid
        if self.top_of_node is not None:
            return self.top_of_node[node]
        return node if node in self.top_nodes else self.target_nid


def check_faithful(store: str, faithful: Iterable[str]) -> None:
    """Raise `UsageError` for a quirk that does not exist or that this store never had."""
    for name in sorted(faithful):
        if name not in FAITHFUL:
            raise unknown_name("faithful option", name, sorted(FAITHFUL))
        if name not in faithful_options(store):
            raise UsageError(
                f"faithful option '{name}' is not a quirk of the '{store}' store",
                f"give some of its own: {', '.join(sorted(faithful_options(store)))}",
            )


def _check_nodes(settings: EngineSettings) -> None:
    if not 1 <= settings.nodes <= 255:
        raise UsageError(f"an engine cannot serve {settings.nodes} memory nodes", "give 1 to 255 nodes")
    if not settings.top_nodes:
        raise UsageError("no top-tier node is named", "name at least one node in top_nodes")
    for node in settings.top_nodes:
        if not 0 <= node < settings.nodes:
            raise UsageError(f"top-tier node {node} does not exist", f"give one of 0 to {settings.nodes - 1}")
    if settings.target_nid not in settings.top_nodes:
        raise UsageError(
            f"target_nid {settings.target_nid} is not a top-tier node", f"choose one of {settings.top_nodes}"
        )
    targets = settings.top_of_node
    if targets is not None and (len(targets) != settings.nodes or set(targets) - set(settings.top_nodes)):
        raise UsageError(
            f"top_of_node {targets} does not map every node to a top-tier node",
            f"give {settings.nodes} numbers out of {settings.top_nodes}",
        )


def _check_ranges(settings: EngineSettings) -> None:
    bad = [
        ("pages", settings.pages, 1 <= settings.pages < 2**32 - 1, "between 1 and 2**32 - 2"),
        ("page_bytes", settings.page_bytes, settings.page_bytes >= 1, "at least 1"),
        ("group_pages", settings.group_pages, 0 < settings.group_pages <= MOST, "more than 0"),
    ]
    for name, knob in KNOBS.items():
        value = getattr(settings, name)
        bad.append((name, value, value is None or knob.least <= value <= knob.most, knob.words))
    for name, value, ok, remedy in bad:
        if not ok:
            raise UsageError(f"{name} is {value}, which is out of range", f"give {remedy}")


KNOBS = knobs_of(EngineSettings)
