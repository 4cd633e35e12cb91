"""Reading a log of decisions: which runs it is of, and the rows of some pages in each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pghot.arrays import I64, Bool
from pghot.decision_log.row_format import COLUMNS, FACTS_KEY, PARTIAL, SCHEMA, What
from pghot.errors import UsageError
from pghot.policies.decisions import HeldBack, Moved, MoveError
from pghot.recording.header import regions_from_facts
from pghot.recording.reader import Recording
from pghot.recording.spans import Span, spans_of
from pghot.recording.trace import Process, Region, TraceInfo
from pghot.sealed import unseal

_OTHER = "name a file that `pghot compare --log` or `pghot run --log` wrote"


@dataclass(frozen=True, slots=True)
class RunRows:
    """What the log has of some pages in one run.

    facts  label, policy, kind, sources and so on, see `RunSpec.facts`
    rows   of the pages, in the order of time for each; columns as in `row_format.COLUMNS`
    rests  whole rounds in which the policy moved nothing
    """

    facts: Mapping[str, Any]
    rows: pa.Table
    rests: Sequence[Mapping[str, Any]]

    @property
    def lasts_ms(self) -> int:
        """How long the run took."""
        return int(self.facts["lasts_ms"])


@dataclass(frozen=True, slots=True)
class LiveRegions:
    """The addresses that a live log has pages of: see `target.HasRegions`."""

    regions: Sequence[Region]
    pages: int
    info: TraceInfo


class DecisionLog:
    """The file, open.

    facts  of the comparison, see `Bench.log_facts`; `runs` has those of each run
    """

    def __init__(self, path: str | Path) -> None:
        """Raises `UsageError` for what is no log of decisions, or of a version that is not known."""
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            self.facts: Mapping[str, Any] = unseal(self._file.metadata.metadata[FACTS_KEY].decode())
            if self.facts["schema"] != SCHEMA:
                raise UsageError(f"{path} is a log of {self.facts['schema']}, not {SCHEMA}", "make it again")
            if not self._file.schema_arrow.equals(COLUMNS):
                raise ValueError("other columns")
            regions, pages = regions_from_facts(self.facts["regions"]), int(self.facts["pages"])
            self._spans = spans_of(regions, pages)
            processes = tuple(Process(int(pid), str(name)) for pid, name in self.facts.get("processes", ()))
            page_bytes = int(self.facts["page_bytes"])
            info = TraceInfo(f"the log {path}", "live", 1, page_bytes=page_bytes, processes=processes)
            self._live = LiveRegions(regions, pages, info)
        except FileNotFoundError:
            raise UsageError(f"no such file: {path}", _OTHER) from None
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError, UnicodeDecodeError):
            if str(path).endswith(PARTIAL):
                raise UsageError(f"{path} has no end: its run goes on, or was killed", _OTHER) from None
            raise UsageError(f"{path} is no log of decisions", _OTHER) from None
        self.path = path

    @property
    def nodes(self) -> list[str]:
        return [node["name"] for node in self.facts["nodes"]]

    @property
    def top(self) -> Bool:
        """bool[nodes]: which are of the top tier."""
        return np.array([node["rank"] == 0 for node in self.facts["nodes"]])

    def live(self) -> LiveRegions:
        """Where the pages of a live run were. Raises `UsageError` for the log of a comparison."""
        if not all(run.get("live") for run in self.facts["runs"]):
            raise UsageError(
                f"{self.path} is of a comparison of '{self.facts['trace']}'",
                "name the recording that was compared in place of -",
            )
        return self._live

    def check_of(self, recording: Recording) -> None:
        """Raise `UsageError` unless the log is of this very recording."""
        if any(run.get("live") for run in self.facts["runs"]):
            raise UsageError(
                f"{self.path} is of a live run, not of a recording", "give - in place of a recording"
            )
        if self.facts["digest"] == recording.digest:
            return
        remedy = "explain the recording that was compared, or compare this one with --log"
        if not self.facts["digest"]:
            raise UsageError(f"{self.path} is of {self.facts['trace']}, which is no recording", remedy)
        raise UsageError(
            f"{self.path} is of another recording: of '{self.facts['trace']}' with the digest "
            f"{self.facts['digest'][:8]}, not {recording.digest[:8]}",
            remedy,
        )

    def pages_of(self, spans: Sequence[Span], page_bytes: int) -> I64:
        """The log's pages that have some of the recording's spans: larger pages, where the comparison had --folio.

        page_bytes  of the recording
        """
        own = int(self.facts["page_bytes"])
        if own == page_bytes:
            ranges = [np.arange(span.first_page, span.first_page + span.pages) for span in spans]
            return np.unique(np.concatenate(ranges))
        chosen = []
        for span in spans:
            if span.start_address is not None:
                end = span.start_address + span.pages * page_bytes
                chosen += [
                    np.arange(mine.first_page + first, mine.first_page + last)
                    for mine, first, last in _overlaps(self._spans, span.space, span.start_address, end, own)
                ]
        return np.unique(np.concatenate([np.empty(0, np.int64), *chosen]))

    def runs(self, pages: I64) -> Iterator[RunRows]:
        """Each run with its rows of these pages, run after run. Raises `UsageError` for a damaged file."""
        chosen = np.zeros(int(self.facts["pages"]), np.bool_)
        chosen[pages] = True
        label = ""
        parts: list[pa.Table] = []
        rests: list[dict[str, Any]] = []
        facts = {run["label"]: run for run in self.facts["runs"]}
        for table in self._groups():
            name = table["run"][0].as_py()
            if name != label and label:
                yield RunRows(facts[label], pa.concat_tables(parts), rests)
                parts, rests = [], []
            label = name
            page = table["page"].combine_chunks()
            own = page.is_valid()
            inside = pc.and_(own, pa.array(chosen[pc.fill_null(page, 0).to_numpy(zero_copy_only=False)]))
            parts.append(table.filter(inside))
            rests += table.filter(pc.invert(own)).to_pylist()
        if label:
            yield RunRows(facts[label], pa.concat_tables(parts), rests)

    def _groups(self) -> Iterator[pa.Table]:
        """The rows, group by group: each of one run."""
        for group in range(self._file.num_row_groups):
            try:
                table = self._file.read_row_group(group)
                self._check(table)
            except (OSError, pa.ArrowException, ValueError) as error:
                raise UsageError(f"{self.path} is damaged: {error}", "make it again") from None
            if table.num_rows:
                yield table

    def _check(self, table: pa.Table) -> None:
        """Raise `ValueError` for rows that cannot be."""
        table.validate(full=True)
        if not table.num_rows:
            return
        label = table["run"][0].as_py()
        run = next((each for each in self.facts["runs"] if each["label"] == label), None)
        known: dict[str, set[Any]] = {
            "run": {label},
            "what": {*What},
            "why": {None, *HeldBack, *Moved, *MoveError},
        }
        most = {"page": int(self.facts["pages"]), "source": len(self.nodes), "target": len(self.nodes)}
        if (
            run is None
            or not all(set(table[name].unique().to_pylist()) <= words for name, words in known.items())
            or any((pc.max(table[name]).as_py() or 0) >= end for name, end in most.items())
            or set(pc.list_value_length(table["seen"]).unique().to_pylist()) != {len(run["sources"])}
        ):
            raise ValueError("rows that cannot be")


def _overlaps(
    spans: Sequence[Span], space: int, begin: int, end: int, page_bytes: int
) -> Iterator[tuple[Span, int, int]]:
    """Spans with the first and the last of their pages that have something of [begin, end) in them."""
    for span in spans:
        if span.space == space and span.start_address is not None:
            first = max(0, (begin - span.start_address) // page_bytes)
            last = min(span.pages, -((span.start_address - end) // page_bytes))
            if first < last:
                yield span, first, last
