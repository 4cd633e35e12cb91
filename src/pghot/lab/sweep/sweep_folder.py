"""The folder of a sweep: each finished cell is one Parquet file, and all of them are one table.

The file of a cell is code-VERSION/KEY.parquet, where the key stands for everything that the cell comes from. So folders
are merged by copying their files together, and what other code computed stays apart. A file is written whole or not at
all. Its rows are the runs of the cell. Its metadata holds the schema's name and the comparison's setup.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pghot.errors import NotPermittedError, PghotError, UsageError, not_written, shortened
from pghot.lab.metrics import METRICS
from pghot.lab.results import Comparison
from pghot.lab.sweep.cell import Cell
from pghot.outputs import write_bytes

SCHEMA = "pghot.sweep-cell/1"
_SCHEMA_KEY, _SETUP_KEY = b"pghot.schema", b"pghot.setup"
_TEXTS = pa.list_(pa.string())

COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("cell", "code", "recording", "recording_digest", "tiers", "tiers_digest")),
        ("stands_for", pa.string()),
        ("footprint_bytes", pa.float64()),
        ("fast_share", pa.float64()),
        ("fast_bytes", pa.float64()),
        ("setting", pa.string()),
        ("seed", pa.int64()),
        *((name, pa.string()) for name in ("label", "policy", "kind", "runs_on")),
        ("sources", _TEXTS),
        ("options", _TEXTS),
        ("access", pa.string()),
        ("mover", pa.string()),
        *((metric.name, pa.float64()) for metric in METRICS),
        ("node_shares", pa.map_(pa.string(), pa.float64())),
        ("sampling", _TEXTS),
        ("counters", pa.map_(pa.string(), pa.int64())),
        ("held_back", pa.map_(pa.string(), pa.int64())),
    ]
)  # fmt: skip
_MAPS = ("node_shares", "counters", "held_back")


def cell_table(cell: Cell, found: Comparison) -> pa.Table:
    """The runs of a computed cell, with what they come from, as `COLUMNS`."""
    setup = found.setup
    fast_pages = sum(node.capacity_pages for node in setup.nodes if node.rank == 0)
    shared = {
        "cell": cell.key,
        "code": cell.code,
        "recording": cell.point.recording,
        "recording_digest": cell.recording_digest,
        "tiers": cell.point.tiers,
        "tiers_digest": cell.tiers_digest,
        "stands_for": cell.point.stands_for,
        "footprint_bytes": float(setup.footprint_pages * setup.page_bytes),
        "fast_share": cell.point.fast_share,
        "fast_bytes": float(fast_pages * setup.page_bytes),
        "setting": json.dumps(asdict(cell.setting), sort_keys=True),
    }
    rows = [
        {**row, **shared, **{name: _items(row[name]) for name in _MAPS}} for row in found.runs.to_pylist()
    ]
    metadata = {_SCHEMA_KEY: SCHEMA.encode(), _SETUP_KEY: json.dumps(setup.to_dict()).encode()}
    return pa.Table.from_pylist(rows, COLUMNS.with_metadata(metadata))


def _items(pairs: Any) -> list[tuple[str, Any]]:
    return list(pairs.items() if isinstance(pairs, Mapping) else pairs)


def setup_of(table: pa.Table) -> dict[str, Any]:
    """The setup of the cell's comparison, as `Setup.to_dict`."""
    facts: dict[str, Any] = json.loads(table.schema.metadata[_SETUP_KEY])
    return facts


class Store:
    """The folder of a sweep.

    keys    of the cells that this code computed
    others  how many cells other versions of the code left
    """

    def __init__(self, folder: Path, code: str) -> None:
        """Open the folder, or make it. Raises `UsageError` when it has Parquet files that are no cells of this schema,
        and `PghotError` when it cannot be used."""
        self.folder, self._mine = folder, folder / f"code-{code}"
        self.keys: set[str] = set()
        self.others = 0
        try:
            self._mine.mkdir(parents=True, exist_ok=True)
            for path in self._files():
                _check_schema(path)
                if path.parent == self._mine:
                    self.keys.add(path.stem)
                else:
                    self.others += 1
        except PermissionError as error:
            raise NotPermittedError(
                f"cannot use {error.filename}", "name a folder of your own (-o)"
            ) from None
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"{folder} is no folder", "name another one (-o)") from None
        except OSError as error:
            raise not_written(folder, error) from None

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.folder.rglob("*.parquet")):
            if not path.name.startswith("."):  # of a writer that was killed
                yield path

    def keep(self, key: str, table: pa.Table) -> None:
        """Write the file of a cell. Raises `PghotError` when it cannot be written; what was there stays as it was."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        write_bytes(self._path(key), sink.getvalue().to_pybytes(), force=True)
        self.keys.add(key)

    def read(self, key: str) -> pa.Table:
        """The table of a cell. Raises `PghotError` when its file is damaged."""
        try:
            return pq.read_table(self._path(key), partitioning=None)
        except (OSError, pa.ArrowException):
            raise _damaged(self._path(key)) from None

    def _path(self, key: str) -> Path:
        return self._mine / f"{key}.parquet"


def _check_schema(path: Path) -> None:
    try:
        schema = pq.read_schema(path)
    except PermissionError:
        raise
    except (OSError, pa.ArrowException):
        raise _damaged(path) from None
    says = (schema.metadata or {}).get(_SCHEMA_KEY, b"").decode(errors="replace")
    if not says:
        raise UsageError(f"{path} is no cell of a sweep", "give the sweep a folder of its own (-o)")
    if says != SCHEMA:
        raise UsageError(
            f"{path} has schema {shortened(says)}, and this pghot writes {SCHEMA}",
            "give the sweep another folder (-o), or use the version of pghot that made this one",
        )


def _damaged(path: Path) -> PghotError:
    return PghotError(f"{path} is damaged", "remove it: the cell is computed again")
