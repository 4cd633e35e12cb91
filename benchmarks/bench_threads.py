"""What 10,000 threads of a tracked program cost, which come and go: beside a bare read of /proc/PID/task.

A program keeps so many threads; a thousand of them end each second, and others begin. What a refresh does about it
(which programs there are, and their mappings) and what a second of rounds does (whose scan period is the program's
own) are compared with listing its threads once.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from pghot.kernel.sysroot import SysRoot
from pghot.live.machine.spaces import Spaces
from pghot.live.members import Members
from pghot.live.sources.scan_periods import ScanPeriods
from pghot.live.targets import Targets

ROOT = SysRoot()
THREADS = 10_000
RUNS = 8
BAR_TIMES = 5.0

PROGRAM = """
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
static void *live(void *unused) { sleep(10); return unused; }
int main(int argc, char **argv)
{
	pthread_attr_t attr;
	pthread_t thread;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int i = 0;; i++) {
		if (pthread_create(&thread, &attr, live, NULL))
			return 1;
		if (i == atoi(argv[1]))
			puts("ready"), fflush(stdout);
		if (i >= atoi(argv[1]))
			usleep(10000000 / atoi(argv[1]));
	}
}
"""


def cpu_seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


@contextmanager
def program() -> Iterator[int]:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "threads")
        subprocess.run(
            ["cc", "-O1", "-pthread", "-x", "c", "-", "-o", path], input=PROGRAM, text=True, check=True
        )
        with subprocess.Popen([path, str(THREADS)], stdout=subprocess.PIPE) as started:
            try:
                assert started.stdout is not None
                started.stdout.readline()
                yield started.pid
            finally:
                started.kill()


def run() -> dict[str, Any]:
    with program() as pid:
        members, spaces, periods = Members(ROOT, Targets(pids=(pid,))), Spaces(ROOT, 8), ScanPeriods(ROOT)
        spaces.refresh([pid])
        now_ms = 0

        def second() -> None:
            nonlocal now_ms
            now_ms += 1000
            periods.tick([pid], now_ms)

        ways = {
            "bare": lambda: os.listdir(f"/proc/{pid}/task"),
            "members": members.now,
            "maps": lambda: spaces.refresh([pid]),
            "periods": second,
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(RUNS):
            for name, way in ways.items():
                took[name].append(cpu_seconds(way))
        threads = len(os.listdir(f"/proc/{pid}/task"))
    bare = median(took["bare"])
    # All mappings are read at every second look.
    refresh = median(took["members"]) + max(median(took["maps"][at::2]) for at in (0, 1))
    return {
        "live_refresh_10000_threads": _result(refresh / bare, bare, threads),
        "live_second_of_rounds_10000_threads": _result(median(took["periods"]) / bare, bare, threads),
    }


def _result(times: float, bare: float, threads: int) -> dict[str, Any]:
    return {
        "value": times,
        "bar": BAR_TIMES,
        "ok": times <= BAR_TIMES,
        "unit": "times a bare list of /proc/PID/task",
        "bare_ms": 1000 * bare,
        "threads": threads,
    }
