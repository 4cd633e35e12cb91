"""Registries: one file adds a policy, a source or a store, ours or another package's; a broken one hides no other."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pghot.engine
import pghot.live.sources
import pghot.policies
import pghot.sim.policies
import pghot.sim.sources
from builders.plugged import install
from builders.said import said
from pghot.cli.main import run
from pghot.cli.run import run as cli_run
from pghot.cli.what_if import witnesses
from pghot.engine import STORES
from pghot.errors import PghotError, UsageError
from pghot.live.sources import LIVE_SOURCES
from pghot.plugins import Registry
from pghot.policies import LIVE_POLICIES
from pghot.sim.policies import POLICIES, expand
from pghot.sim.sources import SOURCES, clairvoyant

POLICY = """
from pghot.policies.policy import Passive, World

class Idler(Passive[World]):
    name = "idler"
    summary = "does nothing, of its own"
    kind = "baseline"
    group = "idlers"
    runs_live = True

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience
"""
LAB_POLICY = """
from pghot.sim.lab_world import LabWorld
from pghot.policies.policy import Passive

class Slowest(Passive[LabWorld]):
    name = "slowest"
    summary = "everything slow"
    kind = "static"

    def start(self, world: LabWorld) -> None:
        world.machine.preferred[:] = world.slow_node
"""
SOURCE = """
from pghot.sim.sources.truth import Truth

class Second(Truth):
    name = "second"
    summary = "another truth"
    mechanism = "hardware"
    clairvoyant = False

    def __init__(self, settings, part: float = 1.0) -> None:
        super().__init__(settings)
"""
# Made of `Truth`, which says that no released kernel has it.
ANOTHER_TRUTH = "another truth; needs hardware or a driver of its own"
LIVE_SOURCE = """
from pghot.live.sources.recorded import Replay

class Again(Replay):
    name = "again"
    summary = "another replay"
"""
STORE = """
from pghot.engine.default import DefaultStore

class Copy(DefaultStore):
    name = "copy"
    summary = "the default store again"
"""
# A policy makes a store usable by name.
STORE_POLICY = """
from pghot.policies.pghot import Pghot
from pghot.policies.policy import World

class PghotCopy(Pghot[World]):
    name = "pghot-copy"
    summary = "pghot with that store"
    store = "copy"
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Adds a module to one of pghot's packages: a file, and nothing else."""
    modules = []

    def add(package: ModuleType, name: str, source: str) -> None:
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(source)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        importlib.invalidate_caches()
        modules.append((package, name))

    yield add
    for package, name in modules:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        if hasattr(package, name):
            delattr(package, name)


def listed(kind: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert run(["list", kind, "--json"]) == 0
    return {item["name"]: item["summary"] for item in json.loads(capsys.readouterr().out)["items"]}


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, object]]:
    assert run(["compare", "bundled:redis-zipf", "--json", "--seeds", "1", "--duration", "20s", *words]) == 0
    return {row["label"]: row for row in json.loads(capsys.readouterr().out)["runs"]}


# ---- one file is enough


@pytest.mark.heavy
def test_a_policy_is_one_file(added, capsys: pytest.CaptureFixture[str]) -> None:
    added(pghot.policies, "idler", POLICY)
    assert listed("policies", capsys)["idler"] == "does nothing, of its own"
    assert POLICIES.names()[:3] == ["none", "idler", "demotion"], "a baseline that runs live, of a group"
    rows = compared(capsys, "--policies", "idlers", "--set", "idler.patience=5")
    assert rows["idler"]["options"] == ["patience=5"]
    assert rows["idler"]["time_s"] == rows["none"]["time_s"]
    assert LIVE_POLICIES.make("idler", patience=2).patience == 2
    assert "idler" in expand(["all"])


@pytest.mark.heavy
def test_a_policy_of_the_lab_is_one_file(added, capsys: pytest.CaptureFixture[str]) -> None:
    added(pghot.sim.policies, "slowest", LAB_POLICY)
    rows = compared(capsys, "--policies", "slowest,all-slow")
    assert rows["slowest"]["fast_miss_share"] == rows["all-slow"]["fast_miss_share"] == 0.0
    with pytest.raises(UsageError, match="no policy 'slowest' runs live"):
        LIVE_POLICIES.get("slowest")


@pytest.mark.heavy
def test_a_source_of_the_lab_is_one_file(added, capsys: pytest.CaptureFixture[str]) -> None:
    added(pghot.sim.sources, "second", SOURCE)
    assert listed("sources", capsys)["second"] == ANOTHER_TRUTH
    words = ["--policies", "pghot-default", "--sources", "truth,second", "--set", "second.part=0.5"]
    rows = compared(capsys, *words)
    first, second = (dict(rows[f"pghot-default/{name}"]["counters"]) for name in ("truth", "second"))
    assert first["pghot_recorded_accesses"] == second["pghot_recorded_accesses"] > 0
    assert (first["pghot_recorded_hwhints"], second["pghot_recorded_hwhints"]) == (
        0, second["pghot_recorded_accesses"],
    )  # fmt: skip


def test_a_live_source_is_one_file(added, capsys: pytest.CaptureFixture[str]) -> None:
    added(pghot.live.sources, "again", LIVE_SOURCE)
    assert listed("sources", capsys)["again"] == "another replay"
    assert run(["doctor", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["sources"]}
    assert found["again"] == {**found["replay"], "name": "again", "summary": "another replay"}
    assert LIVE_SOURCES.options("again") == LIVE_SOURCES.options("replay")


@pytest.mark.heavy
def test_a_store_is_one_file_and_its_policy_another(added, capsys: pytest.CaptureFixture[str]) -> None:
    added(pghot.engine, "copy", STORE)
    added(pghot.policies, "pghot_copy", STORE_POLICY)
    assert listed("stores", capsys)["copy"] == "the default store again"
    rows = compared(capsys, "--policies", "pghot", "--sources", "pebs")
    assert rows["pghot-copy/pebs"]["time_s"] == rows["pghot-default/pebs"]["time_s"]


def test_a_class_that_does_not_say_its_own_name_takes_no_others(added) -> None:
    added(
        pghot.policies, "derived", "from pghot.policies.none import NoMoves\n\nclass Derived(NoMoves): ...\n"
    )
    assert POLICIES.get("none").__module__ == "pghot.policies.none"


# ---- of other packages


def test_another_package_brings_all_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = {
        "pghot.policies": {"idler": "mine:Idler", "pghot-copy": "mine:PghotCopy"},
        "pghot.sources": {"second": "mine:Second"},
        "pghot.live_sources": {"again": "mine:Again"},
        "pghot.stores": {"copy": "mine:Copy"},
    }
    install(tmp_path, monkeypatch, entries, mine=POLICY + SOURCE + LIVE_SOURCE + STORE + STORE_POLICY)
    assert list(listed("policies", capsys))[-2:] == ["idler", "pghot-copy"]
    sources = listed("sources", capsys)
    assert (sources["second"], sources["again"]) == (ANOTHER_TRUTH, "another replay")
    assert listed("stores", capsys)["copy"] == "the default store again"
    rows = compared(capsys, "--policies", "idlers,pghot", "--sources", "second")
    assert rows["pghot-copy/second"]["time_s"] == rows["pghot-default/second"]["time_s"]
    assert {"idler", "pghot-copy"} < set(LIVE_POLICIES.names())


BROKEN = [
    ("", "broken:Nothing", "cannot be loaded: AttributeError: module 'broken' has no attribute 'Nothing'"),
    ("import no_such", "broken:X", "cannot be loaded: ModuleNotFoundError: No module named 'no_such'"),
    ("1/0", "broken:X", "cannot be loaded: ZeroDivisionError: division by zero"),
    ("def made(root): ...", "broken:made", "is not a class"),
    ("class X:\n  name = 'broken'", "broken:X", "does not declare its summary, own_settings"),
    ("class X:\n  name = 'other'\n  summary = ''\n  own_settings = ()", "broken:X", "calls itself 'other'"),
]


@pytest.mark.parametrize(("source", "target", "why"), BROKEN, ids=[why[:20] for _, _, why in BROKEN])
def test_a_broken_one_is_one_line_and_hides_no_other(
    source: str,
    target: str,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(tmp_path, monkeypatch, {"pghot.stores": {"broken": target}}, broken=source)
    said = f"the store 'broken' of the package plugged {why}"
    assert listed("stores", capsys) == {**listed("stores", capsys), "broken": said}
    assert len(listed("stores", capsys)) == 4
    with pytest.raises(PghotError) as caught:
        STORES.get("broken")
    assert (str(caught.value), caught.value.exit_code) == (said, 1)
    assert caught.value.hint == "report it to the authors of plugged, or uninstall it"


def test_a_broken_policy_or_source_is_an_error_for_whoever_asks_for_it_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = ("pghot.policies", "pghot.sources", "pghot.live_sources")
    install(
        tmp_path, monkeypatch, {group: {"broken": "broken:X"} for group in groups}, broken="import no_such"
    )
    assert {"none", "broken", "oracle-epoch"} < set(listed("policies", capsys))
    assert {"truth", "broken", "faults"} < set(listed("sources", capsys))
    assert set(compared(capsys, "--policies", "bounds")) == {"none", "all-fast", "all-slow"}
    for words in (["--policies", "broken"], ["--policies", "pghot-default", "--sources", "broken"]):
        assert run(["compare", "bundled:redis-zipf", *words]) == 1
        lines = said(capsys.readouterr().err)
        assert [line.split(":")[0] for line in lines] == ["pghot", "hint"]
        assert "'broken' of the package plugged cannot be loaded: ModuleNotFoundError" in lines[0]
    assert LIVE_POLICIES.get("none").name == "none"
    assert run(["doctor", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["sources"]}
    assert found["broken"]["verdict"] == "unsupported"
    assert "cannot be loaded" in found["broken"]["needs"][0]["why"]
    assert "needs" in found["replay"]


def test_a_policy_of_another_package_may_run_in_the_lab_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, {"pghot.policies": {"slowest": "mine:Slowest"}}, mine=LAB_POLICY)
    assert "slowest" in POLICIES.names()
    assert "slowest" not in LIVE_POLICIES.names()
    with pytest.raises(UsageError, match="no policy 'slowest' runs live") as caught:
        LIVE_POLICIES.make("slowest")
    assert "slowest" not in caught.value.hint


def test_ours_comes_before_another_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, {"pghot.stores": {"default": "mine:X"}}, mine="1/0")
    assert STORES.get("default").__module__ == "pghot.engine.default"
    assert STORES.names().count("default") == 1


# ---- what a class says


def test_options_are_what_a_constructor_takes_beside_what_it_is_given() -> None:
    assert SOURCES.options("truth") == {}
    assert SOURCES.options("abit") == {
        "period_ms": 2000.0,
        "walk_ns": 25.0,
        "set_ns": 200.0,
        "every_tier": False,
    }
    assert POLICIES.options("static-class") == {"fast": ("heap", "stack"), "slow": ("file",)}
    options = POLICIES.options("pghot-hashed")
    assert (options["freq_threshold"], options["window_ms"], options["target_nid"]) == (2, None, None)
    assert "pages" not in options


def test_an_empty_and_an_unknown_name() -> None:
    for registry in (POLICIES, SOURCES, LIVE_SOURCES, STORES):
        assert isinstance(registry, Registry)
        with pytest.raises(UsageError, match=f"no {registry.kind} named"):
            registry.get("")
        with pytest.raises(UsageError, match=f"unknown {registry.kind} 'nix'") as caught:
            registry.make("nix")
        assert caught.value.hint.endswith(", ".join(registry.names()))


@pytest.mark.parametrize("registry", [SOURCES, LIVE_SOURCES], ids=["lab", "live"])
def test_every_source_says_how_it_sees(registry: Registry[pghot.engine.accesses.Source]) -> None:
    said = {}
    for name in registry.names():
        source = registry.get(name)
        said[name] = (source.mechanism, source.inline, source.released, source.sees)
    mechanisms = {
        "hintfaults": "hint fault", "faults": "hint fault",
        "ibs": "hardware", "pebs": "hardware", "spe": "hardware", "chmu": "hardware",
        **dict.fromkeys(("abit", "idle", "softdirty", "damon"), "page-table scan"),
    }  # fmt: skip
    inline = {"hintfaults", "faults", "ibs", "pebs", "spe", "swapins"}
    # Hint faults and a device see memory below the top tier only, as do the kernel's walks of the patches (abit).
    sees = dict.fromkeys(("hintfaults", "faults", "chmu", "swapins", "abit"), "lower")
    sees |= {"softdirty": "writes", "damon": "regions", "lrugen": "counts"}
    assert said == {
        name: (mechanisms.get(name), name in inline, name not in ("chmu", "truth"), sees.get(name, "any"))
        for name in said
    }
    assert len({row[0] for row in said.values()}) == 4


def test_what_the_command_line_says_of_live_policies_is_true() -> None:
    """The help is text, for it must come at once; the default runs live too."""
    option = inspect.signature(cli_run).parameters["policy"]
    said = option.annotation if isinstance(option.annotation, str) else repr(option.annotation)
    for name in set(LIVE_POLICIES.names()) - {"none"}:
        assert name in said
    assert option.default in LIVE_POLICIES.names()


def test_the_sources_that_witness_alone_are_those_that_see_every_tier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert witnesses() == ["ibs", "pebs", "spe", "idle", "damon", "softdirty"]
    seer = LIVE_SOURCE.replace('"again"', '"seer"').replace("Again", "Seer")
    says = "    mechanism = 'page-table scan'\n"
    entries = {"pghot.live_sources": {"seer": "mine:Seer", "again": "mine:Again", "broken": "mine:Nothing"}}
    install(tmp_path, monkeypatch, entries, mine=LIVE_SOURCE + seer + says)
    assert witnesses() == ["ibs", "pebs", "spe", "idle", "seer", "damon", "softdirty"]


def test_a_source_that_no_machine_has_is_known_by_what_it_says() -> None:
    assert clairvoyant(["pebs", "truth"])
    assert not clairvoyant(name for name in SOURCES.names() if name != "truth")
