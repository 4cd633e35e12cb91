"""The daemon: one loop that ticks the live side, serves consumers, and follows signals.

SIGHUP reads the configuration again, SIGTERM and SIGINT put everything back and end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from pathlib import Path

from pghot.daemon.answers import Answers
from pghot.daemon.config import Config, kinds_of, load_config
from pghot.daemon.consumers import Server
from pghot.daemon.descriptors import raise_limit
from pghot.daemon.logs import event, open_log, unexpected
from pghot.daemon.notify import Manager
from pghot.daemon.rounds import Rounds
from pghot.daemon.scrapes import Metrics
from pghot.errors import PghotError
from pghot.kernel.shortage import ShortageError
from pghot.kernel.sysroot import SysRoot
from pghot.live.degraded import DegradedSoFar
from pghot.live.first_use import compile_ahead
from pghot.live.groups import Group, all_targets
from pghot.live.hot import hottest
from pghot.live.journal import Journal
from pghot.live.live_settings import LiveSettings, check_sources, with_damos
from pghot.live.loop import Live
from pghot.live.machine.chosen_nodes import NodeChoice
from pghot.live.own_cost import cpu_seconds
from pghot.live.owner import changes_machine, owned
from pghot.live.status import degraded_facts, status
from pghot.live.status_facts import StatusFacts
from pghot.live.targets import Targets
from pghot.live.undo import undo_open

STATUS_MS = 1000
# systemd is told at least so often that the daemon is alive, however long a round's pause is (WatchdogSec of the unit).
WATCHDOG_S = 10.0
MOST_NAMED = 10  # programs in one line of the log


def live_settings(config: Config) -> LiveSettings:
    """What the live loop is told, from the file."""
    settings = LiveSettings(
        targets=_targets(config),
        groups=groups(config),
        sources=config.sources,
        source_options={name: config.options.get(name, {}) for name in config.sources},
        policy=config.policy,
        policy_options=config.options.get(config.policy, {}),
        apply=config.apply,
        mover=config.mover,
        nodes=NodeChoice(config.nodes.fast, config.nodes.slow, config.nodes.leave_out),
        kinds=kinds_of(config),
        tracked_bytes=config.tracked,
        max_cpu_percent=config.service.max_cpu_percent,
    )
    return with_damos(settings, config.options.get("damos", {})) if config.mover.kind == "damos" else settings


def _targets(config: Config) -> Targets:
    tables = config.programs if config.targets is None else (config.targets,)
    return all_targets([table.targets() for table in tables])


def groups(config: Config) -> tuple[Group, ...]:
    """The groups of programs, in the order of the file."""
    return tuple(
        Group(
            each.name,
            each.targets(),
            each.policy or config.policy,
            config.mover.rate_limit_mb_s if each.rate_limit_mb_s is None else each.rate_limit_mb_s,
            each.options if each.policy else config.options.get(config.policy, {}),
        )
        for each in config.programs
    )


class Daemon:
    """Runs until a signal ends it."""

    def __init__(self, path: Path, root: SysRoot) -> None:
        """Raises `UsageError` for a configuration that is wrong."""
        self._path, self._root = path, root
        self._config = load_config(path)
        self._log = open_log(self._config.service.log)
        self._manager = Manager()
        self._stop = self._reload = False
        self._woken = asyncio.Event()  # by a signal
        self._facts: StatusFacts | None = None
        self._facts_ms = 0.0
        self._degraded = DegradedSoFar()
        self._programs: set[str] = set()
        self._effort = 1.0
        self._reload_accepted = True
        self._clock = Rounds()

    async def run(self) -> None:
        """Serve. Raises `PghotError` when it cannot start; afterwards everything is put back."""
        service = self._config.service
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unexpected(self._log, context))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_stop)
        loop.add_signal_handler(signal.SIGHUP, self._ask_reload)
        raise_limit()
        self._answers = Answers(self._status, lambda top, by: hottest(self._live.spaces, top, by))
        shortages = self._root.shortages
        server = self._server = Server(self._answers, shortages, service.max_cpu_percent)
        metrics = None
        settings = live_settings(self._config)
        settings.targets.check(self._root)
        check_sources(self._root, settings)
        compile_ahead(self._root, lambda seconds: event(self._log, "compiling kernels", about_s=seconds))
        with (
            owned(self._root, changes_machine(settings)) as self._owner,
            Journal(service.journal, self._root) as journal,
        ):
            self._journal = journal
            self._live = Live(self._root, settings, journal)
            try:
                server.open(service.socket, service.socket_group)
                if service.metrics:
                    metrics = Metrics(service.metrics, lambda: self._facts, shortages)
                self._live.start()
                self._refresh_facts()
                event(
                    self._log,
                    "ready",
                    pid=os.getpid(),
                    apply=self._config.apply,
                    sources=settings.sources,
                    mover=settings.mover.kind,
                )
                self._manager.tell("READY=1")
                await self._rounds(journal)
            finally:
                self._manager.tell("STOPPING=1")
                server.close()
                if metrics is not None:
                    metrics.close()
                self._put_back(journal)
                self._manager.close()

    # ---- the loop

    async def _rounds(self, journal: Journal) -> None:
        while not self._stop:
            if self._reload:
                self._reload = False
                self._read_again(journal)
            self._clock.begin(time.monotonic(), self._config.service.interval_ms / 1000)
            self._live.tick()
            self._answers.next_round()
            if time.monotonic() * 1000 - self._facts_ms >= STATUS_MS:
                self._refresh_facts()
            await self._pause()

    async def _pause(self) -> None:
        """Let consumers be served, until the next round or a signal."""
        began_s, left_s = cpu_seconds(), self._config.service.interval_ms / 1000
        while left_s > 0 and not self._woken.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), min(left_s, WATCHDOG_S))
            left_s -= WATCHDOG_S
            self._manager.tell("WATCHDOG=1")
        self._woken.clear()
        self._live.budget.leave_out(cpu_seconds() - began_s)

    def _refresh_facts(self) -> None:
        facts = self._facts = self._status()
        self._facts_ms = time.monotonic() * 1000
        self._log_degraded()
        self._manager.tell("WATCHDOG=1", f"STATUS={len(facts['programs'])} programs tracked")
        self._log_programs(facts)
        self._log_effort(facts["budget"]["effort"])

    def _log_degraded(self) -> None:
        changed = self._degraded.look(self._live.degraded)
        for each in changed.begun:
            event(self._log, "degraded", logging.WARNING, part=each.part, problem=each.problem)
        for each in changed.ended:
            event(self._log, "no longer degraded", part=each.part, problem=each.problem)

    def _log_programs(self, facts: StatusFacts) -> None:
        """What came and went since the last look, the first of them by name."""
        now = {f"{program['pid']} {program['name']}" for program in facts["programs"]}
        found, lost = sorted(now - self._programs), sorted(self._programs - now)
        self._programs = now
        if found or lost:
            event(
                self._log, "programs", tracked=len(now), found=len(found), lost=len(lost),
                names_found=found[:MOST_NAMED], names_lost=lost[:MOST_NAMED],
            )  # fmt: skip

    def _log_effort(self, effort: float) -> None:
        if effort != self._effort:
            what = "effort lowered" if effort < self._effort else "effort raised"
            event(self._log, what, effort=effort, before=self._effort)
            self._effort = effort

    def _status(self) -> StatusFacts:
        """Out of descriptors, what was so last; but what is wrong as of now."""
        try:
            facts = status(self._live)
        except ShortageError:
            if self._facts is None:
                raise
            facts = {**self._facts, "degraded": degraded_facts(self._live)}
        return {
            **facts,
            "consumers": self._server.consumers,
            "consumers_dropped": self._server.dropped,
            "consumers_refused": self._server.refused,
            "rounds": self._clock.count,
            "rounds_late": self._clock.late,
            "reload_accepted": self._reload_accepted,
            "journal_bytes": self._journal.bytes_written,
        }

    # ---- signals

    def _ask_stop(self) -> None:
        self._stop = True
        self._woken.set()

    def _ask_reload(self) -> None:
        self._reload = True
        self._woken.set()

    def _read_again(self, journal: Journal) -> None:
        """Take the new configuration. A wrong one is logged, and the old one stays in force. Sockets do not change."""
        self._manager.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            config = load_config(self._path)
            # Finds most of what `start` would refuse, while the old configuration still runs.
            settings = live_settings(config)
            Live(self._root, settings, journal)
            if changes_machine(settings):
                self._owner.take()
        except PghotError as error:
            self._refuse_reload(error)
        else:
            self._exchange(config, journal)
        self._manager.tell("READY=1")

    def _exchange(self, config: Config, journal: Journal) -> None:
        """Stop, and start again with `config`, or with the old configuration when that fails."""
        gc.collect()  # the one that was made to check it, whose tables are as large
        for problem in self._live.stop():
            event(self._log, "not put back", logging.WARNING, problem=problem)
        try:
            self._live = Live(self._root, live_settings(config), journal)
            self._live.start()
        except PghotError as error:
            self._refuse_reload(error)
            self._live.stop()
            self._live = Live(self._root, live_settings(self._config), journal)
            self._live.start()
        else:
            self._config, self._reload_accepted = config, True
            self._server.within(config.service.max_cpu_percent)
            event(self._log, "reloaded", apply=config.apply, sources=config.sources)

    def _refuse_reload(self, error: PghotError) -> None:
        self._reload_accepted = False
        event(self._log, "reload refused", logging.ERROR, error=str(error), hint=error.hint)

    def _put_back(self, journal: Journal) -> None:
        for problem in self._live.stop():
            event(self._log, "not put back", logging.WARNING, problem=problem)
        if journal.empty:
            event(self._log, "stopped", pages_back=0)
            return
        undone = undo_open(journal, self._root)
        event(self._log, "stopped", pages_back=undone.pages_back, pages_left=sum(undone.pages_left.values()))
        if undone.complete:
            journal.discard()
