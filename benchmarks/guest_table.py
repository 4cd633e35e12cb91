"""`make guest-table`: ordinary programs on real kernels in the guest, as a table in docs/live.md.

python benchmarks/guest_table.py [KIND ...]    kinds of tests/guest/vm.py; by default 6.12 and 7.3

Each kind rewrites the table between its own marks and leaves the others.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests/guest"))

from suites import Booted, boot  # noqa: E402 - of the tests, which are no package

PAGE = ROOT / "docs/live.md"
KINDS = {"two_tiers": "Linux 6.12", "linux_7_3": "Linux 7.3"}
Row = Mapping[str, object]


def main(kinds: Sequence[str]) -> None:
    for kind in kinds:
        print(f"booting {KINDS[kind]}: about twenty minutes", file=sys.stderr, flush=True)
        begin, end = f"<!-- made by make guest-table: {kind} -->", f"<!-- end of {kind} -->"
        made = "\n".join([begin, table(KINDS[kind], boot(kind, (), "guest_table")), end])
        PAGE.write_text(
            re.sub(f"{begin}.*{end}", lambda _, made=made: made, PAGE.read_text(), flags=re.DOTALL)
        )
        print(made)


def table(kernel: str, booted: Booted) -> str:
    """The rows that the tests reported, and in words which tests failed."""
    head = f"| {kernel} | by | hot | cold | s | CPU |"
    rows = [line(row) for row in booted.tables.get("ordinary programs", [])]
    bad = [name.rpartition("::")[2] for name, one in booted.results.items() if one.outcome != "passed"]
    missed = f"\nMissed its mark on {kernel}: {', '.join(bad)}.\n" if bad else ""
    if not booted.results:
        raise SystemExit(f"{kernel} did not run: {booted.otherwise.text}")
    return "\n".join(["", head, "|---|---|--:|--:|--:|--:|", *rows, missed])


def line(row: Row) -> str:
    cpu = row.get("cpu_share")
    return (
        f"| {row['program']} | {row['by']} | {row['coverage']:.3f} | {row['cold_share']:.3f} | {row['seconds']:.0f} | "
        f"{'' if cpu is None else f'{cpu:.0%}'} |"
    )


if __name__ == "__main__":
    main(sys.argv[1:] or list(KINDS))
