"""The daemon's configuration: a TOML file, validated by pydantic; a mistake names its line and key."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pghot.daemon.config_file import read_configuration
from pghot.daemon.paths import JOURNAL, SOCKET
from pghot.daemon.programs_config import MOST_GROUPS, ProgramsConfig, TargetsConfig
from pghot.documents import Strict, find_line, parse_document
from pghot.errors import UsageError, unknown_name
from pghot.kernel.sysroot import SysRoot
from pghot.live.damos.plan import DamosSettings
from pghot.live.machine.chosen_nodes import parse_nodes
from pghot.live.machine.kinds import BY_DEFAULT, Kinds
from pghot.live.machine.mover_settings import MoverSettings
from pghot.live.sources import LIVE_SOURCES
from pghot.parameters import checked_options
from pghot.policies import LIVE_POLICIES
from pghot.policies.live_rules import INTERVAL_MS
from pghot.printable import printable
from pghot.quantities import MemorySize
from pghot.units import format_number


def _nodes(value: Any) -> Any:
    try:
        return parse_nodes(str(value), "the list")
    except UsageError as error:
        raise ValueError(f"{error}; {error.hint}") from None


Nodes = Annotated[tuple[int, ...] | None, BeforeValidator(_nodes)]


class NodesConfig(Strict):
    """Which memory nodes are fast, slow and left out, as lists such as "0-1,4"; what is not said follows the kernel."""

    fast: Nodes = None
    slow: Nodes = None
    leave_out: Nodes = None


class ServiceConfig(Strict):
    """The service itself. An empty `metrics` serves none; an empty `socket_group` keeps the socket to its owner."""

    interval_ms: int = Field(INTERVAL_MS, ge=1, le=60_000)
    max_cpu_percent: float = Field(10.0, ge=0.001, le=1e6)
    socket: Path = Path(SOCKET)
    socket_group: str = ""
    metrics: str = "127.0.0.1:9864"
    journal: Path = Path(JOURNAL)
    log: Literal["json", "text"] = "json"

    @field_validator("metrics")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and (not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535):
            raise ValueError("write an address and a port, such as 127.0.0.1:9864")
        return value


class PolicyConfig(Strict):
    """What is seen, and what decides. `options` holds a table for each source or policy that is not to run with its
    defaults.
    """

    sources: tuple[str, ...] = Field(("faults",), min_length=1)
    policy: str = "pghot-default"
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Config(PolicyConfig):
    """The whole file of the daemon.

    kinds  of memory, asked for by name (`Kinds`); None: the defaults
    """

    apply: bool = False
    tracked: MemorySize | None = None
    kinds: tuple[str, ...] | None = None
    targets: TargetsConfig | None = None
    programs: tuple[ProgramsConfig, ...] = Field((), max_length=MOST_GROUPS)
    nodes: NodesConfig = NodesConfig()
    mover: MoverSettings = MoverSettings()
    service: ServiceConfig = ServiceConfig()

    @model_validator(mode="after")
    def _targets_or_programs(self) -> Config:
        if (self.targets is None) != bool(self.programs):
            raise ValueError("name the programs: either in [targets], or in groups, each a [[programs]]")
        names = [group.name for group in self.programs]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"two groups of programs are called '{twice}'")
        for group in self.programs:
            if (rate_limit_mb_s := group.rate_limit_mb_s or 0) > self.mover.rate_limit_mb_s:
                raise ValueError(
                    f"the group '{group.name}' may promote {format_number(rate_limit_mb_s)} MiB/s, all together "
                    f"{format_number(self.mover.rate_limit_mb_s)}: raise mover.rate_limit_mb_s"
                )
        return self

    @model_validator(mode="after")
    def _one_finder(self) -> Config:
        if (
            named := sorted({"sources", "policy"} & self.model_fields_set)
            if self.mover.kind == "damos"
            else []
        ):
            raise ValueError(f"with mover.kind = 'damos' DAMON finds the pages itself: leave out {named[0]}")
        if self.mover.target is not None and self.mover.kind == "damos":
            raise ValueError("mover.target goes with mover.kind = 'move_pages'")
        if self.programs and self.mover.kind == "damos":
            raise ValueError(
                "with mover.kind = 'damos' all programs are treated alike: name them in [targets]"
            )
        return self


def load_config(path: Path) -> Config:
    """Read and check the file. Raises `UsageError` that names file, line and key."""
    text = read_configuration(path)
    config = _with_checked_options(parse_document(Config, text, str(path)), path, text)
    with _at(path, text, "kinds"):
        kinds_of(config)
    groups = tuple(
        _checked_group(path, text, number, group, config.options)
        for number, group in enumerate(config.programs)
    )
    return config.model_copy(update={"programs": groups})


def load_policy_config(path: Path) -> PolicyConfig:
    """A file that says what is seen and what decides, and nothing else. Raises as `load_config` does."""
    text = read_configuration(path)
    return _with_checked_options(parse_document(PolicyConfig, text, str(path)), path, text)


C = TypeVar("C", bound=PolicyConfig)


def _with_checked_options(config: C, path: Path, text: str) -> C:
    """The sources each once, and the options of sources and policies as they take them."""
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


def _checked_group(
    path: Path, text: str, number: int, group: ProgramsConfig, options: Mapping[str, dict[str, Any]]
) -> ProgramsConfig:
    """The group with all options of its policy: its own beside those of the whole file."""
    if not group.policy:
        if group.options:
            with _at(path, text, "programs", number, "options"):
                raise UsageError(
                    "they are of a policy, but the group names none", "add policy = to the group"
                )
        return group
    with _at(path, text, "programs", number, "policy"):
        LIVE_POLICIES.get(group.policy)
    with _at(path, text, "programs", number, "options"):
        own = checked_options(group.policy, group.options, LIVE_POLICIES.options(group.policy))
        LIVE_POLICIES.make(group.policy, **own)
    return group.model_copy(update={"options": {**options.get(group.policy, {}), **own}})


def kinds_of(config: Config) -> Kinds:
    """Raises `UsageError`."""
    return BY_DEFAULT if config.kinds is None else Kinds.of(config.kinds)


@contextlib.contextmanager
def _at(path: Path, text: str, *key: str | int) -> Iterator[None]:
    """Errors raised inside are reported for this key."""
    try:
        yield
    except UsageError as error:
        line = find_line(text, key)
        place = f"{path}:{line}" if line else str(path)
        raise UsageError(printable(f"{place}: {'.'.join(map(str, key))}: {error}"), error.hint) from None


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
