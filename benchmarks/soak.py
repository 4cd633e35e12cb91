"""Whether a daemon grows while programs come and go: `python benchmarks/soak.py host|guest|hostile`.

host   an hour on this machine with 1,000 programs, each of which lives for some minutes, under the source that works
       on any machine (`swapins`): a dry run, so nothing is moved. Each program reads pages of a file of its own that it
       has dropped from the page cache.
guest  ten minutes in the guest with 50, under hint faults; their hot pages are promoted.
hostile  an hour among neighbours that attack it: see soak_hostile.py.

Every ten seconds it notes what the daemon has: resident memory, descriptors, threads, and bytes of its journal. The
last sixth of the first three is set beside the second: a ratio of 1 is no growth, above 1.1 it exits with 1. In the
first sixth the daemon still gets to know its programs. The journal is judged by its bound, because below
`LEAST_BYTES` what ended programs left is not dropped: that, or twice what it says of living programs if that is more
(`pghot.live.journal.Journal.look`), and what was written between two looks, here an eighth more.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pghot.live.journal import LEAST_BYTES
from pghot.sealed import unseal

HERE = Path(__file__).parent
GUEST = HERE.parent / "tests" / "guest"
EVERY_S = 10.0
LIVES_S = 300.0  # a program, about
READS_S = 4  # how often a program reads its pages
MOST_GROWTH = 1.1
FACTS = ("resident_kib", "descriptors", "threads")
MOST_JOURNAL = 1.125

READER = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int pages = 16, fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	unsigned sum = 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	unlink(argv[1]);
	for (int i = 0; i < pages; i++) {
		char page[4096] = {1};
		if (write(fd, page, sizeof page) != sizeof page)
			return 1;
	}
	fsync(fd);
	for (;; sleep(atoi(argv[2]))) {
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		volatile char *memory = mmap(NULL, pages << 12, PROT_READ, MAP_PRIVATE, fd, 0);
		for (int i = 0; i < pages; i++)
			sum += memory[i << 12];
		munmap((void *)memory, pages << 12);
	}
	return sum;
}
"""


class Living(Protocol):
    """A program that can be ended."""

    def end(self) -> None: ...


def main(where: str) -> None:
    if where == "inside":
        return inside()
    if where == "hostile":
        from soak_hostile import hostile

        found = hostile()
        print(json.dumps(found, indent=2))
        raise SystemExit(f"missed: {', '.join(found['failed'])}" if found["failed"] else 0)
    found = on_the_host() if where == "host" else in_the_guest()
    print(json.dumps(found, indent=2))
    if grown := [fact for fact in FACTS if found[f"{fact}_ratio"] > MOST_GROWTH]:
        raise SystemExit(f"grew by more than {MOST_GROWTH} times: {', '.join(grown)}")
    if found["journal_of_bound"] > MOST_JOURNAL:
        raise SystemExit(f"the journal had {found['journal_of_bound']} times what it may have")
    return None


def soak(
    start: Callable[[], Living], programs: int, seconds: float, daemon: int, journal: Path
) -> dict[str, Any]:
    """Keep so many programs alive, replace them one after the other, and note what the daemon has."""
    alive: deque[Living] = deque()
    noted: list[dict[str, float]] = []
    started, began, told = 0, time.monotonic(), 0.0
    try:
        while (now := time.monotonic() - began) < seconds:
            # The first ones come in a tenth of the time, so that they do not all end at once either.
            due = min(programs, 1 + int(now / (seconds / 10) * programs)) + int(now / LIVES_S * programs)
            while started < due:
                alive.append(start())
                started += 1
                if len(alive) > programs:
                    alive.popleft().end()
            if now >= told:
                told += EVERY_S
                noted.append({"s": now, "programs": len(alive), **facts_of(daemon, journal)})
                print(" · ".join(f"{key} {value:,.0f}" for key, value in noted[-1].items()), file=sys.stderr)
            time.sleep(0.05)
    finally:
        for each in alive:
            each.end()
    return {
        "programs": programs,
        "started": started,
        "seconds": seconds,
        **growth(noted),
        "noted": noted[:: len(noted) // 12 + 1],
    }


def facts_of(pid: int, journal: Path) -> dict[str, float]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {
        "resident_kib": float(status["VmRSS"].split()[0]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": float(status["Threads"]),
        "journal_bytes": journal.stat().st_size if journal.exists() else 0,
        "journal_bound": journal_bound(journal),
        "cpu_s": (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
    }


def journal_bound(journal: Path) -> int:
    """How many bytes the journal may have: what is of a program is counted while there is one of that pid."""
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    whose = [
        (len(line), unseal(line.decode("utf-8", "surrogateescape").rstrip("\n")).get("pid")) for line in lines
    ]
    living = sum(size for size, pid in whose if pid is None or Path(f"/proc/{pid}").exists())
    return max(LEAST_BYTES, 2 * living)


def growth(noted: list[dict[str, float]]) -> dict[str, float]:
    """The last sixth beside the second, of each fact by its median; what was nothing counts as one. Of the
    journal, the most that it had of its bound."""
    sixth = len(noted) // 6

    def median(rows: list[dict[str, float]], fact: str) -> float:
        return max(1.0, statistics.median(row[fact] for row in rows))

    early, late = noted[sixth : 2 * sixth], noted[-sixth:]
    return {
        **{f"{fact}_ratio": round(median(late, fact) / median(early, fact), 3) for fact in FACTS},
        "journal_of_bound": round(max(row["journal_bytes"] / row["journal_bound"] for row in noted), 3),
    }


class Reader:
    """READER, compiled, under a name of its own."""

    def __init__(self, program: Path, file: Path) -> None:
        self.process = subprocess.Popen([str(program), str(file), str(READS_S)])

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def on_the_host(programs: int = 1000, seconds: float = 3600.0) -> dict[str, Any]:
    programs, seconds = (
        int(os.environ.get("SOAK_PROGRAMS", programs)),
        float(os.environ.get("SOAK_S", seconds)),
    )
    with tempfile.TemporaryDirectory(prefix="pghot-soak", dir=os.environ.get("SOAK_DIR")) as scratch:
        place = Path(scratch)
        reader = place / f"soak{os.getpid() % 10**8}"
        subprocess.run(["cc", "-O1", "-x", "c", "-", "-o", str(reader)], input=READER, text=True, check=True)
        (place / "pghot.toml").write_text(
            f"""
sources = ["swapins"]
kinds = ["anon", "file"]
[targets]
names = ["{reader.name}"]
[service]
socket = "{place}/pghot.sock"
metrics = ""
journal = "{place}/daemon.pghot-journal"
"""
        )
        pghot = str(Path(sys.executable).with_name("pghot"))
        with open(place / "log", "w") as log:
            daemon = subprocess.Popen(
                [pghot, "daemon", "-c", str(place / "pghot.toml")], stderr=log, stdout=log
            )
        try:
            while not (place / "pghot.sock").exists():
                if daemon.poll() is not None:
                    raise SystemExit((place / "log").read_text())
                time.sleep(0.1)
            count = iter(range(10**9))
            found = soak(
                lambda: Reader(reader, place / f"file{next(count)}"), programs, seconds, daemon.pid,
                place / "daemon.pghot-journal",
            )  # fmt: skip
            words = [pghot, "status", "--json", "--socket", str(place / "pghot.sock")]
            status = json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
            found["sightings"] = status["sources"][0]["counters"]["pghot_sightings"]
        finally:
            daemon.send_signal(signal.SIGTERM)
            code = daemon.wait()
        return {**found, "exit_code": code, "log_bytes": (place / "log").stat().st_size}


def in_the_guest() -> dict[str, Any]:
    sys.path.insert(0, str(GUEST))
    import suites
    from vm import CACHE, MACHINES, Guest

    shared = CACHE / "shared-soak"
    guest = Guest(
        MACHINES["two_tiers"], [shared], {**suites.INSIDE, "PGHOT_GUEST": str(shared)}, suites.COMPILED
    )
    suites.prepare(guest, shared)
    _, output = guest.run([sys.executable, __file__, "inside"], HERE.parent)
    if not (shared / "soak.jsonl").exists():
        raise SystemExit(f"the guest brought nothing back:\n{output[-2000:]}")
    found: dict[str, Any] = json.loads((shared / "soak.jsonl").read_text().splitlines()[-1])
    return found


def inside() -> None:
    sys.path[:0] = [str(GUEST.parent), str(GUEST / "inside")]
    from helpers import Daemon, Program, inside_the_group, report

    place = Path("/run/soak")
    place.mkdir()
    with Daemon(place, 'cgroups = ["/pghot-test"]', ["faults"], fresh=True) as daemon, inside_the_group():

        def start() -> Program:
            return Program(2, 0.25, 1, "pace=20")

        daemon.until(lambda: (place / "pghot.sock").exists(), "its socket")
        found = soak(start, 50, 600, daemon.process.pid, place / "daemon.pghot-journal")
        moves = daemon.status()["moves"]
        code, _, _ = daemon.finish(signal.SIGTERM)
    report("soak", {**found, "promoted_pages": moves["promoted_pages"], "exit_code": code})


if __name__ == "__main__":
    main(sys.argv[1])
