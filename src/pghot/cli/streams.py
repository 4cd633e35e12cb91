"""Whose stdout it is: with `--json` it carries one document, whatever the programs print that pghot starts."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_kept_for_data(kept: bool) -> Iterator[None]:
    """Within it stdout leads to stderr, for us and for the programs that are started; not when `kept` is False."""
    if not kept:
        yield
        return
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(ours, 1)
        os.close(ours)
