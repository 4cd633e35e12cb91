"""Documents that come with pghot, and the user's own of the same kinds: found by name or path, errors that help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pghot.cli.main import run
from pghot.documents import Shipped
from pghot.errors import UsageError
from pghot.lab.validate import VALIDATIONS
from pghot.lab.workloads.workload_files import make_workload
from pghot.sim.compressed.device import DEVICES
from pghot.sim.machine.topology import TOPOLOGIES

KINDS = [
    (TOPOLOGIES, "tiers", "tiers", "dram-cxl"),
    (DEVICES, "device", "devices", "ocp-4k"),
    (VALIDATIONS, "validation", "validations", "colloid-6a"),
]
EACH = pytest.mark.parametrize(
    ("shipped", "kind", "folder", "name"), KINDS, ids=[kind for _, kind, _, _ in KINDS]
)


@EACH
def test_a_name_and_a_copy_of_its_file_are_the_same(
    shipped: Shipped[object], kind: str, folder: str, name: str, tmp_path: Path
) -> None:
    assert name in shipped.names() == sorted(shipped.names())
    source = Path(__file__).parents[2] / "src/pghot/data" / folder / f"{name}.toml"
    copy = tmp_path / "mine.toml"
    copy.write_text(source.read_text())
    (tmp_path / "plain").write_text(source.read_text())
    assert (
        shipped.load(name)
        == shipped.load(str(copy))
        == shipped.load(copy)
        == shipped.load(tmp_path / "plain")
    )


@EACH
def test_what_is_wrong_is_said_with_its_place(
    shipped: Shipped[object], kind: str, folder: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"unknown {kind} '{name}x'") as caught:
        shipped.load(f"{name}x")
    assert caught.value.hint == f"did you mean '{name}'? known: {', '.join(shipped.names())}"
    for missing in ("no.toml", "no/such"):
        with pytest.raises(UsageError, match=f"cannot read {kind} file '{missing}': No such file") as caught:
            shipped.load(missing)
        assert caught.value.hint == f"see `pghot list {folder}`"
    bad = tmp_path / "bad.toml"
    bad.write_text("\nnix = 1\n")
    with pytest.raises(UsageError, match=f"{bad}:2: nix: unknown key"):
        shipped.load(bad)


def test_a_workload_says_of_itself_what_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["list", "workloads", "--json"]) == 0
    items = {item["name"]: item["summary"] for item in json.loads(capsys.readouterr().out)["items"]}
    assert items["gups"] == "random updates, most of them in a hot set, which may move"
    assert all(len(summary) > 20 and not summary.startswith("#") for summary in items.values())
    bad = tmp_path / "bad.toml"
    bad.write_text('kind = "adversary-stream"\n')
    with pytest.raises(UsageError, match="unknown workload kind 'adversary-stream'") as caught:
        make_workload(bad)  # a name, but of a mixture
    assert caught.value.hint.endswith(
        "known: uniform, pointer-chase, gups, zipf, sequential, phases, mixture"
    )
