"""The file of the log of decisions: the logs of all runs of one seed in one Parquet file, run after run."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pghot.decision_log.row_format import COLUMNS, FACTS_KEY
from pghot.lab.decision_log.run_log import RUN_KEY
from pghot.outputs import written_whole
from pghot.sealed import seal


def part_path(folder: Path, number: int) -> Path:
    """Where the run of this number keeps its log until all runs are over."""
    return folder / f"{number}.parquet"


@contextlib.contextmanager
def log_of(path: Path, runs: int, facts: Mapping[str, Any]) -> Iterator[Path]:
    """A folder in which so many runs keep their logs; at the end the new file `path` has them all.

    facts  what it says of the comparison

    Raises as `outputs.written_whole`.
    """
    with (
        written_whole(path, force=False) as whole,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder,
    ):
        yield Path(folder)
        _join([part_path(Path(folder), number) for number in range(runs)], whole, facts)


def _join(paths: Sequence[Path], whole: Path, facts: Mapping[str, Any]) -> None:
    parts = [pq.ParquetFile(path) for path in paths]
    told = [json.loads(part.metadata.metadata[RUN_KEY]) for part in parts]
    schema = COLUMNS.with_metadata({FACTS_KEY: seal({**facts, "runs": told})})
    with pq.ParquetWriter(whole, schema, compression="zstd", write_page_checksum=True) as writer:
        for part in parts:
            for group in range(part.num_row_groups):
                writer.write_table(part.read_row_group(group))
