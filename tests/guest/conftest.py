"""Which tests run where: those in `inside` only in the guest, the others only outside."""

from __future__ import annotations

import os

import pytest

INSIDE = "PGHOT_GUEST" in os.environ
COSTLIEST = 5  # tests of each kind that are shown
KINDS = ("two_tiers", "three_tiers", "one_node", "linux_6_1", "linux_7_3")
OTHER_KERNELS = ("linux_6_1", "linux_7_3")  # a boot each: all of their tests are long

collect_ignore = ["test_guest.py"] if INSIDE else ["inside"]

if not INSIDE:
    from suites import Suites

    SUITES = pytest.StashKey[Suites]()


def pytest_configure(config: pytest.Config) -> None:
    for name in KINDS:
        config.addinivalue_line("markers", f"{name}: runs in the guest of this kind")
    config.addinivalue_line(
        "markers", "long: in the guest, and not in `make test`; `make test-guest` runs all"
    )
    config.addinivalue_line("markers", "guest_table: a row of the table that `make guest-table` makes")
    if not INSIDE:
        config.stash[SUITES] = Suites()


def pytest_collection_finish(session: pytest.Session) -> None:
    """For tests/guest/suites.py, which asks what there is."""
    if os.environ.get("PGHOT_GUEST") == "collect":
        for item in session.items:
            for kind in KINDS:
                if item.get_closest_marker(kind):
                    long = kind in OTHER_KERNELS or item.get_closest_marker("long")
                    length = "long" if long else "short"
                    print("\ninside", kind, length, item.nodeid)


@pytest.fixture
def suites(request: pytest.FixtureRequest) -> Suites:
    """Begins to boot all kinds that tests of this session are of, each for the tests inside that they ask for."""
    chosen: dict[str, dict[str, None]] = {}
    for item in request.session.items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        if "kind" in given:
            tests = chosen.setdefault(given["kind"], {})
            tests.update(dict.fromkeys([given["test"]] if "test" in given else []))
    found = request.config.stash[SUITES]
    found.begin({kind: list(tests) for kind, tests in chosen.items()})
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The tables that the tests inside made: coverage, accuracy, time, CPU."""
    booted = {} if INSIDE else config.stash[SUITES].booted
    for kind, suite in booted.items():
        costliest = sorted(suite.results.items(), key=lambda found: -found[1].cpu_s)[:COSTLIEST]
        cpu_s = sum(result.cpu_s for result in suite.results.values())
        terminalreporter.section(f"guest with {kind.replace('_', ' ')}: {cpu_s:.0f} s of CPU")
        for test, result in costliest:
            seconds = f"{result.seconds:7.1f} s  {result.cpu_s:7.1f} s of CPU"
            terminalreporter.line(f"{seconds}  {test.rpartition('/')[2]}")
        for name, rows in suite.tables.items():
            terminalreporter.section(f"guest with {kind.replace('_', ' ')}: {name}")
            for row in rows:
                terminalreporter.line("  ".join(f"{key} {_shown(value)}" for key, value in row.items()))


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
