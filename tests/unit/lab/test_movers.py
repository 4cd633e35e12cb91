"""`--movers`: who moves as an axis of a comparison and of a sweep, and what makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from builders.recordings import REPLAYED, random_trace
from builders.said import said
from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.lab.compare import plan_runs
from pghot.lab.run_spec import RunSpec, labels
from pghot.lab.sweep.study import cells_of, read_study
from pghot.recording.writer import write_recording


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("movers") / "a.pghot"
    write_recording(path, random_trace(slices=60, rows=400, most_instructions=REPLAYED))
    return str(path)


def test_movers_multiply_the_policies_that_move_pages_and_no_others() -> None:
    specs = plan_runs(
        ["numab2", "static-class", "pghot-default", "oracle-static"], ["abit"], (), ["policy", "dma", "dma"]
    )
    assert labels(specs) == [
        "none",
        "all-fast",
        "numab2/hintfaults",
        "numab2/hintfaults [dma]",
        "static-class",
        "pghot-default/abit",
        "pghot-default/abit [dma]",
        "oracle-static",
    ]


def test_another_mover_is_to_come_except_where_the_kernel_moves_so_already() -> None:
    specs = plan_runs(["numab2", "tpp", "pghot-default"], ["abit"], (), ["policy", "fault", "kthread"])
    assert {spec.label: spec.runs_on for spec in specs[2:]} == {
        "numab2/hintfaults": "kernel",
        "numab2/hintfaults [fault]": "kernel",
        "numab2/hintfaults [kthread]": "to come",
        "tpp/hintfaults": "to come",
        "tpp/hintfaults [fault]": "to come",
        "tpp/hintfaults [kthread]": "to come",
        "pghot-default/abit": "user space",
        "pghot-default/abit [fault]": "to come",
        "pghot-default/abit [kthread]": "to come",
    }


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ("--movers kthraed", "unknown mover 'kthraed'", "kthread"),
        ("--movers copy-threads", "does not say how many threads copy", "as copy-threads:4"),
        ("--policies demotion,interleave --movers dma", "none of these policies chooses pages", "such as numab2"),
        ("--policies oracle-epoch --movers fault", "none of these policies chooses pages", "leave --movers out"),
        ("--movers policy,dma --classes user-space", "no policy moved by 'dma'", "add to-come to --classes"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line_with_its_remedy(
    asked: str, message: str, hint: str, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", recording, *asked.split()]) == 2
    out, err = capsys.readouterr()
    error, remedy = said(err)
    assert (out, message in error, hint in remedy) == ("", True, True), err


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"policy": "none", "mover": "dma"}, "'none' chooses no pages to move"),
        ({"policy": "numab2", "mover": "policy"}, "'policy' is not another mover"),
        (
            {"policy": "hemem", "mover": "dma", "where": "user space"},
            "does not run in the class 'user space'",
        ),
    ],
)
def test_a_run_with_a_mover_that_it_cannot_have_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        RunSpec(**spec)
    assert "leave the" in caught.value.hint


def compared(recording: str, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    words = [
        "compare",
        recording,
        "--policies",
        "numab2,tpp,hemem",
        "--seeds",
        "1",
        *more,
        "--json",
    ]
    assert run(words) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_command_names_the_mover_in_labels_and_json_and_leaves_all_else_as_it_was(
    recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = compared(recording, capsys)
    found = compared(recording, capsys, "--movers", "policy,fault,kthread,copy-threads:4,dma")
    rows = {row["label"]: row for row in found["summary"]}
    for row in plain["summary"]:
        assert "mover" not in row
        assert rows[row["label"]] == {**row, "mover": "policy"}
    assert len(rows) == 2 + 3 * 5
    assert rows["numab2/hintfaults"]["promotions"] > 0
    assert rows["hemem/pebs"]["promotions"] > 0
    for label in ("numab2/hintfaults", "tpp/hintfaults"):
        same = {
            key: value for key, value in rows[f"{label} [fault]"].items() if key not in ("label", "mover")
        }
        assert same.items() <= rows[label].items(), "they move in the fault by themselves"
    for label in ("numab2/hintfaults", "hemem/pebs"):
        for mover in ("kthread", "copy-threads:4", "dma"):
            row = rows[f"{label} [{mover}]"]
            assert row["mover"] == mover
            assert (row["promotions"] > 0) == (rows[label]["promotions"] > 0)
    assert (
        rows["numab2/hintfaults [kthread]"]["moving_app_share"]
        < rows["numab2/hintfaults"]["moving_app_share"]
    )
    assert {run["mover"] for run in found["runs"]} == {"policy", "fault", "kthread", "copy-threads:4", "dma"}


def test_movers_are_an_axis_of_a_sweep(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    text = 'recordings = "workload:gups"\npolicies = "numab2"\nseeds = 1\n'
    study.write_text(f'{text}movers = ["policy", "kthread"]\n')
    (cell,) = cells_of(read_study(study))
    assert [spec.label for spec in cell.runs[2:]] == ["numab2/hintfaults", "numab2/hintfaults [kthread]"]
    study.write_text(text)
    assert cells_of(read_study(study))[0].key != cell.key
    study.write_text(f'{text}movers = "kthraed"\n')
    with pytest.raises(UsageError, match="unknown mover 'kthraed'"):
        cells_of(read_study(study))
