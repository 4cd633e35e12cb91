"""The programs that options name: a command to start, running processes, or whatever fits."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from pghot.cli.compiling import announce
from pghot.errors import PghotError, UsageError
from pghot.kernel.sysroot import SysRoot
from pghot.live.first_use import compile_ahead
from pghot.live.members import Members
from pghot.live.run import start_command
from pghot.live.targets import LeftOut, Targets
from pghot.units import parse_size


@dataclass(frozen=True, slots=True)
class Named:
    """What the options name: one of a command, pids, or programs by what they are."""

    command: tuple[str, ...]
    running: Targets

    @contextlib.contextmanager
    def targets(self, data_on_stdout: bool, held: BinaryIO | None = None) -> Iterator[Targets]:
        """The targets. A command is started here, and terminated if pghot fails while it runs.

        data_on_stdout  our stdout carries JSON: what the command prints goes to stderr
        held            a file for what the command prints, because a screen has the terminal

        The kernels of the live side are compiled before, on the first run after an install.

        Raises `UsageError` when no running program fits.
        """
        if not self.command:
            self._check_some()
            compile_ahead(SysRoot(), announce)
            yield self.running
            return
        compile_ahead(SysRoot(), announce)
        child = start_command(self.command, 2 if data_on_stdout else None, held)
        try:
            yield replace(self.running, pids=(child.pid,))
        except BaseException as error:
            if child.poll() is None:
                child.terminate()
            elif isinstance(error, UsageError):
                raise PghotError(
                    f"'{self.command[0]}' ended before it could be tracked (exit status {child.returncode})",
                    "does it run without pghot?",
                ) from None
            raise
        finally:
            _await(child)

    def _check_some(self) -> None:
        root = SysRoot()
        self.running.check(root)
        if self.running.fits_some and not Members(root, self.running).now():
            raise UsageError(
                "no program that runs fits what was asked for", "see `ps -eo pid,user,rss,comm,cgroup`"
            )


def named(command: Sequence[str] | None, of: Mapping[str, Any]) -> Named:
    """What the options name. Needs nothing of the machine. Raises `UsageError` unless it is exactly one kind.

    of  the values of a verb's parameters, among them those of `pghot.cli.shared_options`
    """
    running = Targets(
        tuple(of["pid"] or ()),
        tuple(of["cgroup"] or ()),
        of["children"],
        tuple(of["name"] or ()),
        tuple(of["user"] or ()),
        0 if of["min_size"] is None else parse_size(of["min_size"]),
        LeftOut(*(tuple(of[f"leave_out_{kind}"] or ()) for kind in ("name", "user", "cgroup"))),
    )
    chosen = bool(running.cgroups) or running.judges
    kinds = sum(map(bool, (command, running.pids, chosen)))
    if kinds != 1 or (chosen and not running.cgroups and not running.fits_some):
        raise UsageError(
            "a command, pids, and programs chosen by cgroup, name, user or size exclude each other"
            if kinds > 1
            else "name a command, pids, a cgroup, or programs by name, user or size",
            "give one of: -- CMD [ARGS], -p PID, --cgroup PATH, --name, --user, --min-size",
        )
    return Named(tuple(command or ()), running)


def _await(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        child.wait()
