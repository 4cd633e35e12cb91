"""How the worker processes of a sweep's own cluster behave: only to be imported where Dask is."""

from __future__ import annotations

import atexit
import os
import signal
from typing import Any

from distributed import WorkerPlugin


class OwnWorker(WorkerPlugin):
    """Set up in each worker process, also in those that replace a dead one.

    Ctrl-C in a terminal goes to all processes: the sweep ends its workers, they need not. They end without tidying up,
    as freeing what Numba has compiled takes seconds.
    """

    def setup(self, worker: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        atexit.register(os._exit, 0)
