"""Sweeps by a real cluster of two worker processes: what is finished is kept, whatever becomes of workers and cells."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

import pghot
from builders.replicated import replicated, zipf_heat
from pghot.cli.main import run
from pghot.errors import PghotError
from pghot.lab.code_version import code_version
from pghot.lab.metrics import METRICS
from pghot.lab.sweep import sweep_folder as store_module
from pghot.lab.sweep.cell import Cell
from pghot.lab.sweep.driver import run_cells
from pghot.lab.sweep.study import cells_of, read_study
from pghot.lab.sweep.sweep_folder import COLUMNS, Store
from pghot.recording.writer import write_recording
from waiting import until

TRACE = replicated(zipf_heat(256), 1, slices=20, misses=20_000)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Of a cluster without TLS, so that it can be named by its address."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def address(client: Any) -> str:
    return str(client.scheduler.address)


def study(path: Path, *, shares: str = '["20%", "50%"]', seeds: int = 2, more: str = "") -> Path:
    """A study of a small recording, which is made beside it."""
    recording = path.parent / "a.pghot"
    if not recording.exists():
        write_recording(recording, TRACE)
    path.write_text(
        f"""
        recordings = "{recording}"
        shares = {shares}
        policies = ["demotion", "numab2"]
        seeds = {seeds}
        {more}
        [setting]
        duration = "one-pass"
        """
    )
    return path


def swept(*words: object, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    assert run(["sweep", *map(str, words), "--json"]) == code
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def test_a_sweep_says_what_compare_says(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = swept(study(tmp_path / "s.toml"), "--cluster", address, capsys=capsys)
    assert (facts["cells"], facts["computed"], facts["there"], facts["failed"]) == (4, 4, 0, [])
    assert [(point["fast_share"], point["seeds"]) for point in facts["points"]] == [
        (0.2, [0, 1]),
        (0.5, [0, 1]),
    ]
    for point in facts["points"]:
        alone = pghot.compare(
            tmp_path / "a.pghot",
            policies=["demotion", "numab2"],
            fast_share=point["fast_share"],
            duration_s=None,
            seeds=2,
        )
        assert point["verdict"] == json.loads(json.dumps(alone.verdict.to_dict()))
        for ours, theirs in zip(point["summary"], alone.rows, strict=True):
            assert ours["label"] == theirs.label
            for metric in METRICS:
                assert (ours[metric.name], ours[f"{metric.name}_ci95"]) == theirs.cell(metric)


def test_a_folder_is_one_table_for_arrow_and_duckdb(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (study(tmp_path / "s.toml"), "--cluster", address)
    swept(*words, capsys=capsys)
    swept(
        study(tmp_path / "t.toml", shares='"as-file"', seeds=1, more='tiers = "dram-cxl-compressed"'),
        *words[1:],
        "-o",
        tmp_path / "s.cells",
        capsys=capsys,
    )
    table = ds.dataset(tmp_path / "s.cells", partitioning=None).to_table()
    assert table.schema.equals(COLUMNS)
    assert table.num_rows == 5 * 4
    found = duckdb.sql(
        f"select fast_share, count(distinct cell), count(*), count(access) from '{tmp_path}/s.cells/**/*.parquet' "
        "group by all order by all"
    ).fetchall()
    assert found == [(0.2, 2, 8, 0), (0.5, 2, 8, 0), (None, 1, 4, 4)]


def test_a_sweep_goes_on_where_it_stopped(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--cluster", address, "-o", tmp_path / "cells")
    first = swept(study(tmp_path / "s.toml", seeds=1), *words, capsys=capsys)
    written = {path: path.stat().st_ino for path in (tmp_path / "cells").rglob("*.parquet")}
    grown = swept(study(tmp_path / "s.toml", seeds=2), *words, capsys=capsys)
    assert (first["computed"], grown["computed"], grown["there"]) == (2, 2, 2)
    assert {path: path.stat().st_ino for path in written} == written
    again = swept(study(tmp_path / "s.toml", seeds=2), "-o", tmp_path / "cells", capsys=capsys)
    assert (again["computed"], again["there"], again["points"]) == (0, 4, grown["points"])


def test_two_folders_are_merged_by_copying(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, first in (("mine", 0), ("theirs", 1)):
        swept(
            study(tmp_path / f"{name}.toml", seeds=1, more=f"first_seed = {first}"),
            "--cluster",
            address,
            capsys=capsys,
        )
    shutil.copytree(tmp_path / "theirs.cells", tmp_path / "mine.cells", dirs_exist_ok=True)
    both = swept(study(tmp_path / "both.toml"), "-o", tmp_path / "mine.cells", capsys=capsys)
    assert (both["computed"], both["there"]) == (0, 4)
    assert [point["seeds"] for point in both["points"]] == [[0, 1], [0, 1]]


def test_a_worker_that_is_killed_loses_no_cell(tmp_path: Path, client: Any) -> None:
    cells = cells_of(read_study(study(tmp_path / "s.toml", shares='"5%..30%"', seeds=3)))
    pids = client.run(os.getpid)
    kept: Counter[str] = Counter()
    killed = []

    def keep(cell: Cell, table: pa.Table) -> None:
        kept[cell.key] += 1
        if not killed:
            busy = next(worker for worker, tasks in client.processing().items() if tasks)
            os.kill(pids[busy], signal.SIGKILL)
            killed.append(pids[busy])

    assert run_cells(client, cells, keep) == []
    assert kept == Counter({cell.key: 1 for cell in cells})
    assert len(cells) == 18
    until(lambda: len(client.nthreads()) == 2, "a new worker in the place of the killed one", client.nthreads)
    assert killed[0] not in client.run(os.getpid).values()


def test_a_cell_that_fails_is_told_and_tried_again(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bound to its fast node, a program needs all of it to be fast: with half of it fast it cannot run."""
    path = study(tmp_path / "s.toml", shares='["50%", "as-file"]', seeds=1)
    path.write_text(path.read_text() + 'placement = "bind:dram"\n')
    facts = swept(path, "--cluster", address, capsys=capsys, code=1)
    assert (facts["cells"], facts["computed"]) == (2, 1)
    (failed,) = facts["failed"]
    assert (failed["fast_share"], failed["seed"]) == (0.5, 0)
    assert failed["reason"].startswith("node 'dram' is too small to bind a program of 256 pages to; ")
    assert [point["fast_share"] for point in facts["points"]] == [None]
    assert run(["sweep", str(path), "--cluster", address]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "2 cells: 0 computed, 1 were there, 1 failed." in out
    assert "50%, seed 0: node 'dram' is too small" in out


def test_a_fault_of_ours_in_a_cell_is_told_too(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recording is another one by the time that a worker opens it, or is no recording at all."""
    cells = cells_of(read_study(study(tmp_path / "s.toml", seeds=1)))
    (tmp_path / "a.pghot").write_bytes(b"")
    found = run_cells(client, cells, lambda cell, table: pytest.fail("computed"))
    assert [each.reason for each in found] == [f"{tmp_path}/a.pghot is empty; record it again"] * 2
    other = replicated(zipf_heat(256), 1, slices=21, misses=20_000)
    (tmp_path / "a.pghot").unlink()
    write_recording(tmp_path / "a.pghot", other)
    found = run_cells(client, cells, lambda cell, table: pytest.fail("computed"))
    assert [each.reason for each in found] == [
        f"{tmp_path}/a.pghot is not what it was when the sweep began; start the sweep again"
    ] * 2


def test_a_full_disk_in_mid_sweep_leaves_the_finished_cells(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, files = store_module.write_bytes, []

    def filling(path: Path, data: bytes, force: bool) -> None:
        if len(files) == 2:
            raise store_module.not_written(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        files.append(path)
        write(path, data, force)

    monkeypatch.setattr(store_module, "write_bytes", filling)
    assert run(["sweep", str(study(tmp_path / "s.toml")), "--cluster", address]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "No space left on device" in err
    assert "Traceback" not in err
    monkeypatch.undo()
    assert sorted((tmp_path / "s.cells").rglob("*.parquet")) == sorted(files)
    facts = swept(tmp_path / "s.toml", "--cluster", address, capsys=capsys)
    assert (facts["computed"], facts["there"]) == (2, 2)


def test_another_version_of_the_code_computes_anew(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study(tmp_path / "s.toml", seeds=1)
    swept(path, "--cluster", address, capsys=capsys)
    (tmp_path / "s.cells" / f"code-{code_version()}").rename(tmp_path / "s.cells" / "code-000000000000")
    assert run(["sweep", str(path), "--cluster", address]) == 0
    out = capsys.readouterr().out
    assert "2 cells: 2 computed, 0 were there, 0 failed." in out
    assert "not used, as of another version of pghot: 2 cells in the folder" in out
    assert len(list((tmp_path / "s.cells").rglob("*.parquet"))) == 4


def test_a_worker_with_other_code_says_so(tmp_path: Path, client: Any) -> None:
    from dataclasses import replace

    cells = cells_of(read_study(study(tmp_path / "s.toml", seeds=1)))[:1]
    (failure,) = run_cells(
        client, [replace(cells[0], code="000000000000")], lambda *_: pytest.fail("computed")
    )
    assert failure.reason.startswith(f"this worker runs another version of pghot ({code_version()}) than the")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"pghot.schema": "pghot.sweep-cell/0"}, "has schema pghot.sweep-cell/0, and"),
        ({}, "is no cell of a sweep"),
    ],
)
def test_a_folder_of_another_kind_is_refused(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata(metadata)
    (tmp_path / "code-1").mkdir()
    pq.write_table(table, tmp_path / "code-1" / "x.parquet")
    with pytest.raises(PghotError, match=message):
        Store(tmp_path, "1")


def test_a_damaged_cell_is_named(tmp_path: Path) -> None:
    (tmp_path / "code-1").mkdir()
    (tmp_path / "code-1" / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(PghotError, match=r"x\.parquet is damaged"):
        Store(tmp_path, "1")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1", "nothing://here:1", "tcp://[::1"])
def test_a_cluster_that_is_not_there(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sweep", str(study(tmp_path / "s.toml")), "--cluster", address]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error = next(line for line in err.splitlines() if line.startswith("pghot: error: "))
    assert error.startswith(f"pghot: error: no cluster at {address}: ")
    assert err.splitlines()[-1] == (
        "hint: start `dask scheduler`, or correct the address (--cluster tcp://HOST:8786)"
    )


def test_a_cluster_of_its_own_is_started_and_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sweep", str(study(tmp_path / "s.toml", seeds=1)), "--workers", "1"]) == 0
    out, err = capsys.readouterr()
    assert "2 of 2 cells to compute, with 1 worker process\n" in err
    assert "2 cells: 2 computed, 0 were there, 0 failed." in out


def test_an_interrupted_sweep_keeps_what_is_finished(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in a terminal goes to the workers as well."""
    path, said = study(tmp_path / "s.toml", shares='"5%..80%"', seeds=50), tmp_path / "said"
    command = [sys.executable, "-c", "from pghot.cli.main import main; main()", "sweep", str(path)]
    with said.open("w") as err:
        process = subprocess.Popen(command, stdout=err, stderr=err, start_new_session=True)
        until(
            lambda: list((tmp_path / "s.cells").rglob("*.parquet")) or process.poll() is not None,
            "a finished cell",
        )
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130
    text = said.read_text()
    kept = list((tmp_path / "s.cells").rglob("*.parquet"))
    told = re.search(r"^stopped: (\d+) of 550 cells are kept, the same command goes on", text, re.MULTILINE)
    assert told
    assert (
        1 <= int(told[1]) <= len(kept) <= int(told[1]) + 1
    )  # the signal may come between a file and its count
    assert "Traceback" not in text
    again = swept(
        study(tmp_path / "t.toml", shares='"5%..80%"', seeds=1),
        "--cluster",
        address,
        "-o",
        tmp_path / "s.cells",
        capsys=capsys,
    )
    seeds = [pq.read_table(each, columns=["seed"])["seed"][0].as_py() for each in kept]
    assert (again["cells"], again["there"]) == (11, seeds.count(0))


SCHEDULER = """
import time
from distributed import LocalCluster
with LocalCluster(
    n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
) as cluster:
    print(cluster.scheduler_address, flush=True)
    time.sleep(10_000)
"""


def test_a_cluster_that_goes_away_leaves_the_finished_cells(tmp_path: Path) -> None:
    path, said = study(tmp_path / "s.toml", shares='"5%..80%"', seeds=50), tmp_path / "said"
    command = [
        sys.executable,
        "-c",
        "from pghot.cli.main import main; main()",
        "sweep",
        str(path),
        "--cluster",
    ]
    with (
        said.open("w") as err,
        subprocess.Popen([sys.executable, "-c", SCHEDULER], stdout=subprocess.PIPE, text=True) as cluster,
    ):
        assert cluster.stdout
        with subprocess.Popen(
            [*command, cluster.stdout.readline().strip()], stdout=err, stderr=err
        ) as process:
            until(
                lambda: list((tmp_path / "s.cells").rglob("*.parquet")) or process.poll() is not None,
                "a finished cell",
            )
            cluster.kill()
            assert process.wait() == 1
    text = said.read_text()
    assert "pghot: error: the cluster went away\n" in text
    assert "Traceback" not in text
    assert list((tmp_path / "s.cells").rglob("*.parquet"))
