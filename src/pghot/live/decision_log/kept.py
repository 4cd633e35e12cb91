"""Keeping the log of a live run, from its start to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pghot.errors import PghotError
from pghot.live.decision_log.rows_file import RowsFile
from pghot.policies import LIVE_POLICIES

if TYPE_CHECKING:
    from pghot.live.loop import Live


@contextlib.contextmanager
def logged(live: Live, path: Path | None, force: bool, left_out: list[str]) -> Iterator[None]:
    """Log the decisions of a run to the new file `path`, or not (None).

    left_out  gets what the log has not, in words, or why there is none in the end

    After an error in the run there is no file. Raises as `RowsFile`.
    """
    if path is None:
        yield
        return
    log = live.keep_log(RowsFile(path, live.settings.policy, force))
    try:
        yield
    except BaseException:
        log.discard()
        raise
    try:
        left_out += log.close(run_facts(live))
    except PghotError as error:  # the run itself went well
        left_out.append(f"no log: {error}")


def run_facts(live: Live) -> dict[str, Any]:
    """What the log says of the run, with the keys of `RunSpec.facts`.

    apply  False: a dry run, nothing was moved
    """
    settings = live.settings
    policy = LIVE_POLICIES.get(settings.policy)
    options = {**LIVE_POLICIES.options(settings.policy), **settings.policy_options}
    return {
        "label": settings.policy,
        "policy": settings.policy,
        "hot_from": options.get("freq_threshold", getattr(policy, "hot_from", None)),
        "kind": policy.kind,
        "runs_on": "released",
        "sources": [source.name for source in live.sources],
        "options": [f"{name}={value}" for name, value in settings.policy_options.items()],
        "apply": settings.apply,
    }
