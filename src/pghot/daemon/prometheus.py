"""Metrics for Prometheus. Names, help and units come from `pghot.counters`; the labels are few and bounded."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pghot.counters import COUNTERS, Counter
from pghot.live.degraded import DEMOTION, GUESTS, KNOBS, SHORTAGE, TARGETS
from pghot.version import __version__

_NODE_GAUGES = (
    Counter("pghot_node_capacity", "memory of the node", "bytes", "gauge"),
    Counter("pghot_node_free", "free memory of the node", "bytes", "gauge"),
    Counter("pghot_node_floor", "what promotion leaves free on the node", "bytes", "gauge"),
    Counter("pghot_node_tracked", "memory of tracked programs on the node", "bytes", "gauge"),
)

_DEGRADED = Counter(
    "pghot_degraded", "things that are wrong while pghot runs on: its log says what", "states", "gauge"
)

_GROUP_METRICS = (
    (Counter("pghot_group", "programs of the group now", "programs", "gauge"), "programs"),
    (Counter("pghot_group_promoted", "pages of the group that were promoted", "pages"), "promoted_pages"),
)

_BUILD = Counter("pghot_build", "1, with the version that runs", "info", "gauge")
_FAILED = Counter("pghot_moves_failed", "pages that did not move, by errno", "pages")
# Of the daemon as a whole: what it is called, and how it follows from the facts.
_STATES: tuple[tuple[Counter, Callable[[Mapping[str, Any]], float]], ...] = (
    (
        Counter("pghot_apply", "1: pages are moved; 0: a dry run", "enabled", "gauge"),
        lambda facts: facts["mode"] == "apply",
    ),
    (
        Counter("pghot_effort", "share of their full rate at which the sources sample", "ratio", "gauge"),
        lambda facts: facts["budget"]["effort"],
    ),
    (
        Counter("pghot_tracked", "programs that are tracked now", "programs", "gauge"),
        lambda facts: len(facts["programs"]),
    ),
    (Counter("pghot_rounds", "rounds of the daemon", "rounds"), lambda facts: facts["rounds"]),
    (
        Counter("pghot_late", "rounds that began later than two intervals after the one before", "rounds"),
        lambda facts: facts["rounds_late"],
    ),
    (
        Counter("pghot_last_reload", "0: the last reload was refused; the log says why", "accepted", "gauge"),
        lambda facts: facts["reload_accepted"],
    ),
    (
        Counter("pghot_journal", "size of the journal, which lies in memory", "bytes", "gauge"),
        lambda facts: facts["journal_bytes"],
    ),
)


def metric_name(counter: Counter) -> str:
    """The name in the exposition: with the project's prefix and, as Prometheus wants it, the unit at the end.

    >>> metric_name(COUNTERS["pgpromote_success"])
    'pghot_pgpromote_success_pages'
    """
    name = counter.name if counter.name.startswith("pghot_") else f"pghot_{counter.name}"
    return name if name.endswith(f"_{counter.unit}") else f"{name}_{counter.unit}"


def families(facts: Mapping[str, Any]) -> Iterator[Metric]:
    """The metric families of one status."""
    by_source: dict[str, list[tuple[str, float]]] = {}
    for source in facts["sources"]:
        for name, value in source["counters"].items():
            by_source.setdefault(name, []).append((source["name"], value))
    for name, value in facts["counters"].items():
        if name not in by_source:
            yield _family(COUNTERS[name], [], [([], value)])
    for name, values in by_source.items():
        yield _family(COUNTERS[name], ["source"], [([source], value) for source, value in values])
    yield _family(_BUILD, ["version"], [([__version__], 1)])
    for counter, value_of in _STATES:
        yield _family(counter, [], [([], float(value_of(facts)))])
    yield _family(_FAILED, ["errno"], [([name], count) for name, count in facts["moves"]["failed"].items()])
    wrong = Counts(each["part"] for each in facts["degraded"])
    parts = dict.fromkeys(
        [*(source["name"] for source in facts["sources"]), KNOBS, TARGETS, DEMOTION, GUESTS, SHORTAGE, *wrong]
    )
    yield _family(_DEGRADED, ["part"], [([part], wrong[part]) for part in parts])
    for counter, key in _GROUP_METRICS if facts["groups"] else ():
        yield _family(counter, ["group"], [([group["name"]], group[key]) for group in facts["groups"]])
    for gauge in _NODE_GAUGES:
        key = f"{gauge.name.removeprefix('pghot_node_')}_bytes"
        yield _family(gauge, ["node"], [([str(node["node"])], node[key]) for node in facts["nodes"]])


def _family(counter: Counter, labels: list[str], values: list[tuple[list[str], float]]) -> Metric:
    kind = CounterMetricFamily if counter.kind == "counter" else GaugeMetricFamily
    family = kind(metric_name(counter), f"{counter.help} [{counter.unit}]", labels=labels, unit=counter.unit)
    for label, value in values:
        family.add_metric(label, value)
    return family
