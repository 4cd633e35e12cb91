"""Keeps stdout for data: with `--json` it carries one document, even if programs that pghot starts print too."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_kept_for_data(kept: bool) -> Iterator[None]:
    """Send stdout to stderr inside the context, for pghot and the programs it starts. `kept` False: do nothing."""
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
