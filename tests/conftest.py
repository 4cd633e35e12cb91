"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

from pghot.lab import dealt

# The first example compiles kernels, and a busy machine makes any slow: no limit of time says anything.
settings.register_profile("pghot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pghot")

# Images of containers often set this. Each `pghot` that a test starts would compile all of its modules again, some
# hundred times 0.6 to 2 s of a CPU, and each worker all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A background job of a shell ignores SIGINT, and so would the recorders and programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


class FailuresAtOnce:
    """Shows each failure whole when it happens: the summary at the end comes many minutes later."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal:
            terminal.write_sep("_", f"{report.nodeid} failed ({report.when})")
            terminal.write_line(report.longreprtext)


def pytest_configure(config: pytest.Config) -> None:
    # Not in the workers of pytest-xdist, which hand their reports to the process that has the terminal.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config))
    else:
        # As many as there are processors run side by side: one that dealt its replays would load every kernel anew in
        # processes that soon end. Tests of dealing say themselves how many they want.
        dealt.usable_cpus = lambda: 1
