"""The file of a live log. A thread writes it, so that no round waits for a disk; what comes too fast is dropped.

Until the end it is `FILE.partial`, which has no footer: a run that is killed leaves that, and it is no log. At the end
it gets its name. Only its owner may read it, as it tells of everyone's programs.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pghot.arrays import U32
from pghot.decision_log.row_format import COLUMNS, FACTS_KEY, PARTIAL, ROW, to_arrow
from pghot.errors import UsageError, not_written
from pghot.outputs import check_free, take_name
from pghot.sealed import seal

WAITING = 4  # batches that wait for the disk: of 65,536 rows each, 4 MB
MOST_ROWS = 1 << 23  # in a file: some 100 MB
_Batch = tuple[np.ndarray, U32, list[str]]


class RowsFile:
    """Rows of one run, on their way to the file.

    dropped  rows that are not in it: the disk was too slow or failed, or the file was full
    problem  why the disk failed, in words
    """

    def __init__(self, path: Path, run: str, force: bool) -> None:
        """Raises `UsageError` when the name is taken and `PghotError` when no file can be made there."""
        check_free(path, force)
        self.path, self._run, self._force = path, run, force
        self._part = path.with_name(path.name + PARTIAL)
        self.rows = self.dropped = 0
        self.problem = ""
        if force:
            self._part.unlink(missing_ok=True)
        try:
            fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise UsageError(
                f"{self._part} is of a run that was killed, or goes on", "use --force, or name another file"
            ) from None
        except OSError as error:
            raise not_written(path, error) from None
        self._file = os.fdopen(fd, "wb")
        # pyarrow imports pandas, where there is one, at its first array: not while rounds go on.
        to_arrow(run, np.zeros(0, ROW), np.zeros((0, 1), np.uint32), [""])
        self._writer = pq.ParquetWriter(self._file, COLUMNS, compression="zstd", write_page_checksum=True)
        self._waiting: Queue[_Batch | None] = Queue(WAITING)
        self._thread = Thread(target=self._write_all, name="pghot-log", daemon=True)
        self._thread.start()

    def put(self, rows: np.ndarray, seen: U32, movers: list[str], wait: bool = False) -> None:
        """Take a copy of these rows. wait: for the disk, at the end of a run; else they are dropped when it is slow."""
        if self.problem or self.rows + len(rows) > MOST_ROWS:
            self.dropped += len(rows)
            return
        try:
            self._waiting.put((rows.copy(), seen.copy(), list(movers)), block=wait)
            self.rows += len(rows)
        except Full:
            self.dropped += len(rows)

    def finish(self, facts: dict[str, Any]) -> None:
        """Write what waits, and the facts, and give the file its name. Raises `PghotError` when the disk fails."""
        self._end_thread()
        try:
            if self.problem:
                raise OSError(self.problem)
            self._writer.add_key_value_metadata({FACTS_KEY: seal(facts)})
            self._writer.close()
            self._file.close()
            take_name(self._part, self.path, self._force)
        except OSError as error:
            self.discard()
            raise not_written(self.path, error) from None

    def discard(self) -> None:
        """Remove the file after an error."""
        self._end_thread()
        with contextlib.suppress(OSError):  # the disk is full: it is removed anyway
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)

    def _end_thread(self) -> None:
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _write_all(self) -> None:
        while (batch := self._waiting.get()) is not None:
            rows, seen, movers = batch
            if self.problem:
                continue
            try:
                self._writer.write_table(to_arrow(self._run, rows, seen, movers))
                self._file.flush()
            except (OSError, pa.ArrowException) as error:
                self.problem = getattr(error, "strerror", None) or str(error)
