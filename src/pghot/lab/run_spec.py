"""A run that a comparison asks for: policy, sources, options, where it runs and who moves; and how it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pghot.errors import UsageError
from pghot.parameters import check_several
from pghot.policies.runs_on import RunsOn, moves_in_fault, places
from pghot.sim.machine.movers import FAULT, mover_named
from pghot.sim.policies import POLICIES
from pghot.sim.sources import SOURCES


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A policy with its options and the sources it listens to.

    access  name of the compressed node's access rule; None: the one in the tiers file
    where   one of the places where it can run (`policies.runs_on`); None: the one that an operator can have today
    mover   who moves the pages (`sim.machine.movers`), by its name; None: the policy's own mover
    """

    policy: str
    sources: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    source_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    access: str | None = None
    where: RunsOn | None = None
    mover: str | None = None

    def __post_init__(self) -> None:
        check_several("sources", self.sources)
        if self.mover is not None:
            self._check_mover(self.mover)

    def _check_mover(self, name: str) -> None:
        if mover_named(name) is None:
            raise UsageError(
                f"'{name}' is not another mover", "leave the mover out: then the policy's own moves"
            )
        if POLICIES.get(self.policy).kind != "mover":
            raise UsageError(f"'{self.policy}' chooses no pages to move", f"leave the mover '{name}' out")
        if self.where not in (None, "to come"):
            raise UsageError(
                f"'{self.policy}' moved by '{name}' does not run in the class '{self.where}'",
                "leave the class out",
            )

    @property
    def label(self) -> str:
        """Policy, sources and, if they are named, the mover, the access rule and where it runs.

        `labels` tells apart the runs that share it.

        >>> RunSpec("pghot-default", ("chmu",), access="ro-cow").label
        'pghot-default/chmu [ro-cow]'
        >>> RunSpec("pghot-default", ("pebs",), where="to come").label
        'pghot-default/pebs [to come]'
        >>> RunSpec("numab2", ("hintfaults",), mover="dma").label
        'numab2/hintfaults [dma]'
        """
        mover = f"{self.policy}/{'+'.join(self.sources)}" if self.sources else self.policy
        return " ".join([mover, *(f"[{named}]" for named in (self.mover, self.access, self.where) if named)])

    def places(self) -> tuple[RunsOn, ...]:
        """Where it can run: see `policies.runs_on.places`. No released kernel has another mover than the policy's."""
        policy = POLICIES.get(self.policy)
        able = places(policy, [SOURCES.get(name) for name in self.sources])
        if self.mover is None or able == ("nowhere",) or (self.mover == FAULT and moves_in_fault(policy)):
            return able
        return ("to come",)

    @property
    def runs_on(self) -> RunsOn:
        """Where it runs."""
        return self.where or self.places()[0]

    def facts(self, label: str) -> dict[str, Any]:
        """What the log of decisions says of the run that has this label.

        hot_from  what its policy must have counted of a page to call it hot; None: it does not say
        """
        options = {**POLICIES.options(self.policy), **self.options}
        return {
            "label": label,
            "policy": self.policy,
            "hot_from": options.get("freq_threshold", getattr(POLICIES.get(self.policy), "hot_from", None)),
            "kind": POLICIES.get(self.policy).kind,
            "runs_on": self.runs_on,
            "sources": self.sources,
            "options": self.option_texts(),
        }

    def option_texts(self) -> list[str]:
        """The options as `--set` takes them: the policy's as NAME=VALUE, a source's as SOURCE.NAME=VALUE.

        >>> RunSpec("hemem", ("pebs",), {}, {"pebs": {"period_misses": 499}}).option_texts()
        ['pebs.period_misses=499']
        """
        own = [f"{name}={value}" for name, value in self.options.items()]
        return own + [
            f"{source}.{name}={value}"
            for source in self.sources
            for name, value in self.source_options.get(source, {}).items()
        ]


def labels(specs: Sequence[RunSpec]) -> list[str]:
    """A label for each run, no two the same: where runs would share one, it names the options in which they differ.

    >>> labels([RunSpec("hemem", ("pebs",)), RunSpec("hemem", ("pebs",), {}, {"pebs": {"period_misses": 499}})])
    ['hemem/pebs', 'hemem/pebs pebs.period_misses=499']
    """
    plain: list[str] = []
    for spec in specs:
        alike = [set(other.option_texts()) for other in specs if other.label == spec.label]
        shared = set.intersection(*alike)
        own = [text for text in spec.option_texts() if text not in shared]
        plain.append(f"{spec.label} {', '.join(own)}" if own else spec.label)
    # Options can differ and still print the same (1 and '1'): the later labels get a number.
    before = [plain[:place].count(label) for place, label in enumerate(plain)]
    return [f"{label} #{many + 1}" if many else label for label, many in zip(plain, before, strict=True)]
