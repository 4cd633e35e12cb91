"""The kernel knobs that pghot sets. Setting and undoing both keep to this list.

Undo writes what a journal says, often as root. So no file outside this list is written, and no value of another form.
Of DAMON's files only those are here that are undone; the others go away with the kdamond.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghot.kernel.damon_sysfs import KDAMONDS, NUMBER

NUMA_BALANCING = "/proc/sys/kernel/numa_balancing"
PROMOTE_RATE_LIMIT = "/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps"  # Linux >= 6.1
SCHED = "/sys/kernel/debug/sched"
SCAN = f"{SCHED}/numa_balancing"
DEMOTION_ENABLED = "/sys/kernel/mm/numa/demotion_enabled"  # Linux >= 5.15


@dataclass(frozen=True, slots=True)
class Knob:
    """Regular expressions for the path of a knob and for the values it may have. Each must match the whole text."""

    path: str
    value: str


_MS = "[0-9]{1,10}"

KNOBS = (
    Knob(re.escape(NUMA_BALANCING), "[0-9]"),
    Knob(re.escape(PROMOTE_RATE_LIMIT), "[0-9]{1,10}"),
    # The kernel divides by the size and does not check it (task_nr_scan_windows, kernel/sched/fair.c).
    Knob(re.escape(f"{SCAN}/scan_size_mb"), "[1-9][0-9]{0,4}"),
    Knob(re.escape(f"{SCAN}/scan_period_min_ms"), _MS),
    Knob(re.escape(f"{SCAN}/scan_period_max_ms"), _MS),
    Knob(re.escape(DEMOTION_ENABLED), "true|false|[01]"),
    # Each kdamond is memory.
    Knob(re.escape(NUMBER), "[0-9]{1,3}"),
    Knob(f"{re.escape(KDAMONDS)}/[0-9]{{1,3}}/state", "on|off"),
)


def check_knob(path: str, *values: str) -> None:
    """Raises `ValueError` for a file that is no knob of pghot's, and for a value that the knob may not have.

    >>> check_knob(NUMA_BALANCING, "0", "2")
    >>> check_knob("/proc/sys/kernel/core_pattern", "core")
    Traceback (most recent call last):
    ...
    ValueError: pghot sets no /proc/sys/kernel/core_pattern
    """
    knob = next((each for each in KNOBS if re.fullmatch(each.path, path)), None)
    if knob is None:
        raise ValueError(f"pghot sets no {path}")
    for value in values:
        if not re.fullmatch(knob.value, value):
            raise ValueError(f"'{value}' is no value of {path}")
