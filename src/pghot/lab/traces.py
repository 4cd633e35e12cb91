"""Traces by name: recordings on disk or bundled, workloads, masim files."""

from __future__ import annotations

from pathlib import Path

from pghot.recording.trace import Trace


def load_trace(what: str | Path | Trace, seed: int = 0, page_bytes: int = 4096) -> Trace:
    """The trace that `what` names, regrouped into folios of `page_bytes` when those are larger.

    what  a path, "bundled:NAME", "workload:NAME|FILE.toml", "masim:FILE", or a `Trace` as it is
    seed  for workloads; recordings are the same under every seed
    """
    trace = _open(what, seed)
    if page_bytes > trace.info.page_bytes:
        from pghot.recording.coarsen import coarsen

        return coarsen(trace, page_bytes)
    return trace


def _open(what: str | Path | Trace, seed: int) -> Trace:
    if not isinstance(what, str | Path):
        return what
    text = str(what)
    if text.startswith(("workload:", "masim:")):
        from pghot.lab.workloads.registry import make_workload

        return make_workload(text, seed)
    from pghot.recording.reader import open_recording

    if text.startswith("bundled:"):
        from pghot.recording import bundled

        return open_recording(bundled.path(text.removeprefix("bundled:")))
    return open_recording(text)
