"""Every test inside the guest shows as one here, with its own outcome and reason."""

from __future__ import annotations

import pytest
from suites import Suites, inside_tests

TESTS = inside_tests()
LONG = {True: (pytest.mark.long,), False: ()}
ONE_EACH = [
    pytest.param(
        each.kind, each.test, marks=LONG[each.long], id=f"{each.kind}-{each.test.rpartition('/')[2]}"
    )
    for each in TESTS
]
# Of a kind whose tests are all long nothing is booted without them.
KINDS = [
    pytest.param(kind, marks=LONG[all(each.long for each in TESTS if each.kind == kind)])
    for kind in dict.fromkeys(each.kind for each in TESTS)
]


# The first test of a kind waits for the boot and for all its tests, which have limits of their own.
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind, test", ONE_EACH)
def test_inside(kind: str, test: str, suites: Suites) -> None:
    result = suites.result(kind, test)
    if result.outcome == "skipped":
        pytest.skip(result.text)
    if result.outcome != "passed":
        pytest.fail(result.text, pytrace=False)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_compiled_inside(kind: str, suites: Suites) -> None:
    """It would take minutes in there: tests/guest/warm.py compiles what the tests need."""
    if (result := suites.result(kind, "")).outcome == "skipped":
        pytest.skip(result.text)
    assert suites.booted[kind].tables.get("compiled inside", []) == []
