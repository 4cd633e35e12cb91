"""What the live verbs share: settings and the status line."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, get_args

from pydantic import ValidationError

from pghot.cli.progress import EVERY_S, PATIENCE_S
from pghot.errors import UsageError, unknown_name
from pghot.kernel.needs import require
from pghot.kernel.sysroot import SysRoot
from pghot.live.damos.damos_needs import damos_needs
from pghot.live.damos.plan import DamosSettings
from pghot.live.degraded import DegradedSoFar
from pghot.live.live_settings import LiveSettings, check_sources, with_damos
from pghot.live.loop import Live
from pghot.live.machine.chosen_nodes import AS_THEY_ARE, NodeChoice, choose_nodes
from pghot.live.machine.kinds import BY_DEFAULT, Kinds
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.machine.nodes import read_nodes
from pghot.live.sources import LIVE_SOURCES
from pghot.live.status import line
from pghot.live.targets import Targets
from pghot.policies import LIVE_POLICIES
from pghot.policies.options import parse_options
from pghot.printable import printable

_MOVER_OPTIONS = {
    "kind": "--mover",
    "rate_limit_mb_s": "--rate",
    "target": "--target",
    "free_floor": "--free-floor",
    "batch_pages": "--batch",
    "demotion": "--demotion",
    "compressed": "--compressed",
    "cold_after_s": "--cold-after",
}


def mover_settings(**given: object) -> MoverSettings:
    """The settings that options were given for. Raises `UsageError` that names the option."""
    try:
        return MoverSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    field, value = str(first["loc"][0]), first["input"]
    option = _MOVER_OPTIONS[field]
    if first["type"] == "literal_error":
        raise unknown_name(option, value, list(get_args(MoverSettings.model_fields[field].annotation)))
    raise UsageError(
        f"{option} {str(value).removesuffix('.0')}: {first['msg']}", "give a value within these bounds"
    )


def kinds_of(names: str | None) -> Kinds:
    """The kinds of memory of --kinds. Raises `UsageError`."""
    return BY_DEFAULT if names is None else Kinds.of([name.strip() for name in names.split(",")])


def live_settings(
    sources: str,
    policy: str,
    options: Sequence[str],
    mover: MoverSettings | None = None,
    max_cpu_percent: float = 0.0,
    nodes: NodeChoice = AS_THEY_ARE,
    kinds: Kinds = BY_DEFAULT,
    configured: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> LiveSettings:
    """Settings of the live loop from the command line. Targets are added once they are known.

    configured  options by source and policy, from a file; those of the command line come before them

    Raises for sources that do not work here, before a command is started in vain.
    """
    names = tuple(dict.fromkeys(name.strip() for name in sources.split(",") if name.strip()))
    if not names:
        raise UsageError(
            "no source is named", "give --source; `pghot doctor` says which work on this machine"
        )
    chosen = parse_options(
        options,
        [*names, policy],
        lambda name: (LIVE_SOURCES if name in names else LIVE_POLICIES).options(name),
    )
    settings = LiveSettings(
        targets=Targets(),
        sources=names,
        source_options={name: {**configured.get(name, {}), **chosen.get(name, {})} for name in names},
        policy=policy,
        policy_options={**configured.get(policy, {}), **chosen.get(policy, {})},
        mover=mover or MoverSettings(),
        kinds=kinds,
        max_cpu_percent=max_cpu_percent or math.inf,
        nodes=nodes,
    )
    check_sources(SysRoot(), settings)
    return settings


def damos_settings(
    options: Sequence[str], mover: MoverSettings, by_cgroup: bool, nodes: NodeChoice = AS_THEY_ARE
) -> LiveSettings:
    """Settings of a run in which DAMON finds and moves. Raises before a command is started in vain."""
    chosen = parse_options(options, ["damos"], lambda _: asdict(DamosSettings()))
    settings = with_damos(LiveSettings(targets=Targets(), mover=mover, nodes=nodes), chosen.get("damos", {}))
    root = SysRoot()
    require("damos", damos_needs(root, choose_nodes(root, read_nodes(root), nodes), by_cgroup))
    return settings


def status_on_stderr() -> Callable[[Live], None]:
    """Shows the status line: twice a second in place on a terminal, a new line every few seconds elsewhere.

    What begins to be wrong, and what is well again, is a line of its own at once.
    """
    terminal = sys.stderr.isatty()
    every_s = 0.5 if terminal else EVERY_S
    said = time.monotonic() + PATIENCE_S - every_s
    degraded = DegradedSoFar()

    def show(live: Live) -> None:
        nonlocal said
        for what, states in zip(
            ("degraded", "no longer degraded"), degraded.look(live.degraded), strict=True
        ):
            for each in states:
                note = f"note: {what}: {printable(each.part)}: {printable(each.problem)}"
                print(f"\r\x1b[K{note}" if terminal else note, file=sys.stderr, flush=True)
        if (now := time.monotonic()) - said < every_s:
            return
        said = now
        print(
            f"\r\x1b[K{line(live)}" if terminal else line(live),
            end="" if terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    return show
