"""Traces by name: recordings on disk or bundled, workloads, masim files."""

from __future__ import annotations

from pathlib import Path

from pghot.errors import UsageError
from pghot.parameters import check_kind
from pghot.recording.trace import Trace, Verification, cut_rows_of

_DRAWN = ("workload:", "masim:")


def load_trace(what: str | Path | Trace, seed: int = 0, page_bytes: int = 4096) -> Trace:
    """The trace that `what` names, regrouped into folios of `page_bytes` when those are larger.

    what  a path, "bundled:NAME", "workload:NAME|FILE.toml", "masim:FILE", or a `Trace` as it is
    seed  for workloads; recordings are the same under every seed
    """
    check_kind("recording", what, (str, Path, Trace), "a path, a name or a Trace")
    trace = _open(what, seed)
    if page_bytes > trace.info.page_bytes:
        from pghot.recording.coarsen import coarsen

        return coarsen(trace, page_bytes)
    return trace


def differs_by_seed(what: str | Path | Trace) -> bool:
    """Whether another seed gives another trace, as of workloads named here."""
    return isinstance(what, str) and what.startswith(_DRAWN)


def digest_of(what: str | Path | Trace) -> str:
    """The digest of the recording that `what` names; empty for what is none. Raises as `load_trace`."""
    from pghot.recording.reader import Recording

    trace = _open(what, seed=0)
    return trace.digest if isinstance(trace, Recording) else ""


def trace_warnings(trace: Trace) -> list[str]:
    """What results over this trace must say: that its recording is truncated or not verified, and why; what an
    imported one does not know; and, once it was read, how many of its counts were cut."""
    info, cut = trace.info, cut_rows_of(trace)
    doubts = (
        []
        if info.verification in (None, Verification.VERIFIED)
        else [f"the recording is {info.verification}: {info.doubt}"]
    )
    doubts += trace.info.not_known
    if cut:
        doubts.append(
            f"{cut} rows count more than {2**32 - 1:,} accesses of a page in one slice and were cut to that"
        )
    return doubts


def _open(what: str | Path | Trace, seed: int) -> Trace:
    if not isinstance(what, str | Path):
        return what
    text = str(what)
    if not text:
        raise UsageError("no trace named", "name FILE, bundled:NAME, workload:NAME or masim:FILE")
    if text.startswith(_DRAWN):
        from pghot.lab.workloads.workload_files import make_workload

        return make_workload(text, seed)
    from pghot.recording.bundled import open_named

    return open_named(text)
