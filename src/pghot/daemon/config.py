"""The daemon's configuration: a TOML file, validated by pydantic; a mistake names its line and key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pghot.daemon.paths import JOURNAL, SOCKET
from pghot.documents import Strict, find_line, parse_document, read_text
from pghot.errors import UsageError, unknown_name
from pghot.kernel.sysroot import SysRoot
from pghot.live.damos.plan import DamosSettings
from pghot.live.machine.chosen_nodes import parse_nodes
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.sources import LIVE_SOURCES
from pghot.live.targets import LeftOut, Targets
from pghot.parameters import checked_options
from pghot.policies import LIVE_POLICIES
from pghot.policies.live_rules import INTERVAL_MS
from pghot.trusted import distrust
from pghot.units import parse_size


def _size(value: Any) -> Any:
    try:
        return parse_size(value)
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


def _nodes(value: Any) -> Any:
    try:
        return parse_nodes(str(value), "the list")
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


Nodes = Annotated[tuple[int, ...] | None, BeforeValidator(_nodes)]
Size = Annotated[int, BeforeValidator(_size)]


class LeftOutConfig(Strict):
    """Programs that are left out of those that fit: see `pghot.live.targets.LeftOut`."""

    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()


class TargetsConfig(Strict):
    """Which programs: see `pghot.live.targets.Targets`."""

    pids: tuple[int, ...] = ()
    cgroups: tuple[str, ...] = ()
    children: bool = True
    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    min_size: Size = 0
    leave_out: LeftOutConfig = LeftOutConfig()

    @model_validator(mode="after")
    def _some(self) -> TargetsConfig:
        if not (self.pids or self.cgroups or self.names or self.users or self.min_size):
            raise ValueError("name at least one of pids, cgroups, names, users, min_size")
        return self

    def targets(self) -> Targets:
        """What the live loop is told."""
        leave_out = self.leave_out
        return Targets(
            self.pids,
            self.cgroups,
            self.children,
            self.names,
            self.users,
            self.min_size,
            LeftOut(leave_out.names, leave_out.users, leave_out.cgroups),
        )


class NodesConfig(Strict):
    """Which memory nodes are fast, slow and left out, as lists such as "0-1,4"; what is not said follows the kernel."""

    fast: Nodes = None
    slow: Nodes = None
    leave_out: Nodes = None


class ServiceConfig(Strict):
    """The service itself. An empty `metrics` serves none; an empty `socket_group` keeps the socket to its owner."""

    interval_ms: int = Field(INTERVAL_MS, ge=1, le=60_000)
    max_cpu_percent: float = Field(10.0, gt=0)
    socket: Path = Path(SOCKET)
    socket_group: str = ""
    metrics: str = "127.0.0.1:9864"
    journal: Path = Path(JOURNAL)
    log: Literal["json", "text"] = "json"

    @field_validator("metrics")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and (not host or not port.isdigit() or int(port) > 65535):
            raise ValueError("write an address and a port, such as 127.0.0.1:9864")
        return value


class Config(Strict):
    """The whole file. `options` holds a table for each source or policy that is not to run with its defaults."""

    apply: bool = False
    sources: tuple[str, ...] = Field(("faults",), min_length=1)
    policy: str = "pghot-default"
    tracked: Size = 64 << 30
    targets: TargetsConfig
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    nodes: NodesConfig = NodesConfig()
    mover: MoverSettings = MoverSettings()
    service: ServiceConfig = ServiceConfig()

    @model_validator(mode="after")
    def _one_finder(self) -> Config:
        if (
            named := sorted({"sources", "policy"} & self.model_fields_set)
            if self.mover.kind == "damos"
            else []
        ):
            raise ValueError(f"with mover.kind = 'damos' DAMON finds the pages itself: leave out {named[0]}")
        return self


def load_config(path: Path) -> Config:
    """Read and check the file. Raises `UsageError` that names file, line and key."""
    text = read_text(path, "configuration", "an example comes with pghot: pghot daemon --example")
    _refuse_shared(path)
    config = parse_document(Config, text, str(path))
    options: dict[str, dict[str, Any]] = {}
    with _at(path, text, "sources"):
        for name in config.sources:
            LIVE_SOURCES.get(name)
    with _at(path, text, "policy"):
        LIVE_POLICIES.make(config.policy)
    for name, given in config.options.items():
        with _at(path, text, "options", name):
            defaults = _defaults(name)
        options[name] = {}
        for option, value in given.items():
            with _at(path, text, "options", name, option):
                options[name] |= checked_options(name, {option: value}, defaults)
        with _at(path, text, "options", name):
            _try(name, options[name])
    return config.model_copy(update={"options": options, "sources": tuple(dict.fromkeys(config.sources))})


def _refuse_shared(path: Path) -> None:
    """Whoever may write to the file decides what a daemon of root does, at every reload."""
    try:
        reason = distrust(path)
    except OSError as error:
        reason = f"cannot tell who may write to it: {error.strerror}"
    if reason:
        raise UsageError(
            f"the configuration {path} is not used: {reason}",
            "keep it where only the daemon's user and root can write, such as /etc/pghot",
        )


@contextlib.contextmanager
def _at(path: Path, text: str, *key: str) -> Iterator[None]:
    """Errors raised inside are reported for this key."""
    try:
        yield
    except UsageError as error:
        line = find_line(text, key)
        place = f"{path}:{line}" if line else str(path)
        raise UsageError(f"{place}: {'.'.join(key)}: {error}", error.hint) from None


def _defaults(name: str) -> Mapping[str, Any]:
    """The options of a source, a policy or the mover damos, whether it is used or not."""
    if name == "damos":
        return asdict(DamosSettings())
    sources, policies = LIVE_SOURCES.names(), LIVE_POLICIES.names()
    if name in sources:
        return LIVE_SOURCES.options(name)
    if name in policies:
        return LIVE_POLICIES.options(name)
    raise unknown_name("source or policy", name, [*sources, *policies, "damos"])


def _try(name: str, options: Mapping[str, Any]) -> None:
    """Make the source, policy or mover with these options, because it checks their values. Changes nothing."""
    if name == "damos":
        DamosSettings.of(options)
    elif name in LIVE_SOURCES.names():
        LIVE_SOURCES.make(name, SysRoot(), **options)
    else:
        LIVE_POLICIES.make(name, **options)
