"""Every option of every verb is used by the chosen mode or refused: none is ignored in silence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer

from pghot.cli.given import refuse_unused
from pghot.cli.main import app, run

# For each verb its modes: the words that choose one, what is used then, and what goes with another mode. Names are the
# parameters'. What is chosen by the words themselves is among the used.
_CHOSEN = "cgroup name user min_size leave_out_name leave_out_user leave_out_cgroup"
_TARGETS = f"command pid {_CHOSEN} children"
_NODES = "fast_nodes slow_nodes leave_out_nodes"
_MOVING = (
    f"rate target free_floor batch demotion interval journal log restore max_cpu tracked view compressed cold_after "
    f"kinds {_NODES}"
)
_MOVED = _MOVING.replace("view ", "")
_RUN = "duration set_ json_ source sources policy mover apply what_if"
_SIMULATED = "fast_share policies llc output force"
_RECORD = "words output source slice_ max_duration note compressibility force json_"
_MARGIN = (
    "device tiers llc block line real promised write_rate promotion_rate batch grants pinned kill protect shortcut "
    "adversary json_"
)
_COMPARE = (
    "recording tiers fast_share policies classes access stands_for threads spread duration slice_ seeds sample warmup "
    "folio phases placement mlp set_ bounds movers workers output log json_"
)
_SIZE = "workers recording slowdown tiers policies sources classes stands_for threads duration seeds set_ output json_"
_TUNE = (
    "recordings policy sources classes tiers fast_share budget held_out stands_for threads duration seeds seed set_ "
    "workers output json_"
)
_CURVE = "recording tiers fast_share stands_for threads folio mlp output json_"
MODES: list[tuple[str, str, str, str]] = [
    (
        "run",
        "-p 1",
        f"{_TARGETS} {_RUN} config {_NODES} rate target free_floor interval journal log max_cpu tracked view "
        "compressed kinds",
        f"cold_after batch restore demotion {_SIMULATED}",
    ),
    (
        "run",
        "-p 1 --apply",
        f"{_TARGETS} {_RUN} config {_MOVING}".replace("cold_after", ""),
        f"cold_after {_SIMULATED}",
    ),
    (
        "run",
        "-p 1 --apply -c a.toml",
        f"{_TARGETS} {_RUN} config {_MOVING}".replace("cold_after", "").replace("source sources policy", ""),
        f"cold_after {_SIMULATED} source sources policy",
    ),
    ("run", "-p 1 --apply --compressed", f"{_TARGETS} {_RUN} config {_MOVING}", _SIMULATED),
    (
        "run",
        "--cgroup /a --apply",
        f"{_TARGETS} {_RUN} config {_MOVING}".replace("cold_after", "").replace("children", ""),
        f"cold_after {_SIMULATED} children",
    ),
    (
        "run",
        "-p 1 --mover damos",
        f"{_TARGETS} duration set_ json_ mover apply what_if rate free_floor demotion interval journal tracked view "
        f"{_NODES}",
        f"config source sources policy batch max_cpu compressed cold_after kinds log restore {_SIMULATED} target",
    ),
    (
        "run",
        "-p 1 --mover damos --apply",
        f"{_TARGETS} duration set_ json_ mover apply what_if rate free_floor demotion interval journal tracked view "
        f"restore {_NODES}",
        f"config source sources policy batch max_cpu compressed cold_after kinds log {_SIMULATED} target",
    ),
    (
        "run",
        "-p 1 --what-if dram-cxl",
        f"{_TARGETS} duration set_ json_ source sources policy what_if fast_share policies llc output view",
        f"{_MOVED} mover apply config force",
    ),
    (
        "run",
        "--what-if dram-cxl --source qemu -- true",
        "command children duration json_ source sources policy what_if fast_share policies llc output view",
        f"{_MOVED} mover apply config force pid {_CHOSEN} set_",
    ),
    (
        "run",
        "-p 1 --what-if dram-cxl --source idle --policies numab2 -o a.html",
        f"{_TARGETS} duration set_ json_ source sources what_if fast_share policies output force view",
        f"{_MOVED} mover apply config policy llc",
    ),
    (
        "record",
        "a.pghot true",
        f"{_RECORD} llc llc_ways cpu max_size takes stacks children",
        f"pid {_CHOSEN} {_NODES} set_ stall_share latency",
    ),
    (
        "record",
        "--source faults -p 1 -o a.pghot",
        f"{_RECORD} pid {_CHOSEN} {_NODES} children set_ stall_share latency",
        "llc llc_ways cpu max_size takes stacks",
    ),
    (
        "record",
        "--source faults --cgroup /a -o a.pghot",
        f"{_RECORD} pid {_CHOSEN} {_NODES} set_ stall_share latency",
        "llc llc_ways cpu max_size takes stacks children",
    ),
    ("margin", "", _MARGIN, "access reserve tenants budget seed output force"),
    ("margin", "--adversary all", f"{_MARGIN} access reserve tenants output", "budget seed force"),
    (
        "margin",
        "--adversary search -o a.html",
        f"{_MARGIN} access reserve tenants output budget seed force",
        "",
    ),
    ("compare", "workload:gups", f"{_COMPARE} columns sources", "force"),
    (
        "size",
        "workload:gups",
        _SIZE,
        "force",
    ),
    ("size", "workload:gups -o a.png", f"{_SIZE} force", ""),
    ("tune", "workload:gups", _TUNE, "force"),
    ("tune", "workload:gups -o a.toml", f"{_TUNE} force", ""),
    ("sweep", "a.toml", "study output workers cluster json_", ""),
    ("sweep", "a.toml --cluster tcp://127.0.0.1:1", "study output cluster json_", "workers"),
    ("curve", "workload:gups", _CURVE, "force"),
    ("curve", "workload:gups -o a.png", f"{_CURVE} force", ""),
    ("compare", "workload:gups -o a.html", f"{_COMPARE} columns sources force", ""),
    ("compare", "workload:gups --log a.parquet", f"{_COMPARE} columns sources force", ""),
    (
        "compare",
        "workload:gups --fast-share 5%,20%",
        f"{_COMPARE} columns sources".replace(" log", ""),
        "force log",
    ),
    ("compare", "workload:gups --json", f"{_COMPARE} sources", "columns force"),
    ("compare", "workload:gups --policies numab2,hemem", f"{_COMPARE} columns", "sources force"),
    ("status", "0", "interval socket json_", "count"),
    ("status", "1", "interval count socket json_", ""),
    ("top", "a.sock", "what interval", "speed"),
    ("top", "a.pghot", "what speed", "interval"),
    ("hot", "0", "interval top by socket json_ arrow", "count"),
    ("hot", "1", "interval count top by socket json_ arrow", ""),
    ("hot", "1 --arrow", "interval count top by socket arrow", "json_"),
    ("daemon", "", "config example check", ""),
    ("daemon", "--check", "config check example", ""),
    ("daemon", "--example", "example", "config check"),
    ("doctor", "", f"root json_ {_NODES}", ""),
    ("undo", "a.pghot-journal", "journal if_any json_", ""),
    ("economics", "", "recordings tiers fast_share llc promotion_rate json_", ""),
    ("validate", "", "name json_", ""),
    ("convert", "a b", "source target accesses_per_us force", ""),
    ("list", "tiers", "kind json_", ""),
    ("man", "", "verb", ""),
    ("completion", "bash", "shell", ""),
    ("install-help", "", "prefix", ""),
    ("report summary", "a.pghot", "recording output json_", "force"),
    ("report summary", "a.pghot -o a.html", "recording output json_ force", ""),
    ("report heatmap", "a.pghot", "recording of rows columns output json_", "force"),
    ("report heatmap", "a.pghot -o a.csv", "recording of rows columns output json_ force", ""),
    ("report wss", "a.pghot", "recording window output json_", "force"),
    ("report wss", "a.pghot -o a.csv", "recording window output json_ force", ""),
    ("report explain", "a.pghot 0x1000", "recording what log output json_", "force"),
    ("report explain", "- 0x1000 --log a.parquet", "recording what log output json_", "force"),
    ("report explain", "- 0x1000 --log a.parquet -o a.csv", "recording what log output json_ force", ""),
    ("report explain", "a.pghot 0x1000 -o a.csv", "recording what log output json_ force", ""),
    ("report diff", "a.pghot b.pghot", "before after output json_", "force"),
    ("report diff", "a.pghot b.pghot -o a.html", "before after output json_ force", ""),
    ("report timeline", "a.pghot", "recording output json_", "force"),
    ("report timeline", "a.pghot -o a.csv", "recording output json_ force", ""),
]
# Given beside the words of a mode these choose another one, in which something else is refused; or they are among the
# words already.
CHOOSING = (
    "recording", "before", "after", "study", "interval",
    "what_if", "mover", "source", "policies", *_CHOSEN.split(), "arrow", "adversary",
    "example", "json_", "apply", "what",
)  # fmt: skip


def verbs_of(group: Any, before: str = "") -> dict[str, Any]:
    """Every verb that the command has, by the words that call it."""
    found = {}
    for name, command in group.commands.items():
        found |= (
            verbs_of(command, f"{name} ") if hasattr(command, "commands") else {f"{before}{name}": command}
        )
    return found


VERBS = verbs_of(typer.main.get_command(app))


class ReachedError(Exception):
    """The verb would begin now."""


@pytest.fixture
def begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs end as soon as nothing was refused."""

    def then_stop(*arguments: Any) -> NoReturn:
        refuse_unused(*arguments)
        raise ReachedError

    for verb in VERBS.values():
        module = sys.modules[verb.callback.__module__]
        if hasattr(module, "refuse_unused"):
            monkeypatch.setattr(module, "refuse_unused", then_stop)


def giving(verb: str, words: str, name: str) -> list[str]:
    """The command line of a mode with one parameter more: 1 is a text as well as a number."""
    parameter = next(each for each in VERBS[verb].params if each.name == name)
    if parameter.param_type_name == "argument":
        given = ["1"]
    else:
        given = [parameter.opts[-1]] if parameter.is_flag else [parameter.opts[-1], "1"]
    mode = words.split()
    end = mode.index("--") if "--" in mode else len(mode)
    return [*verb.split(), *mode[:end], *given, *mode[end:]]


CHOOSES = {verb for verb, _, _, refused in MODES if refused}  # the others have one mode


def modes() -> Any:
    return pytest.mark.parametrize(
        ("verb", "words", "used", "refused"), MODES, ids=[f"{verb} {words}" for verb, words, *_ in MODES]
    )


def test_every_verb_has_its_modes() -> None:
    assert {verb for verb, *_ in MODES} == set(VERBS)


@modes()
def test_every_option_is_either_used_or_refused(verb: str, words: str, used: str, refused: str) -> None:
    known = [each.name for each in VERBS[verb].params if each.name != "help"]
    assert sorted([*used.split(), *refused.split()]) == sorted(known)


@modes()
def test_what_goes_with_another_mode_is_refused(
    verb: str, words: str, used: str, refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in refused.split():
        assert run(giving(verb, words, name)) == 2, name
        out, err = capsys.readouterr()
        error, hint = err.splitlines()
        assert out == ""
        assert " goes with " in error
        assert name.strip("_").replace("_", "-") in error.partition(" goes with ")[0].lower()
        assert hint == "hint: leave it out"


@modes()
def test_what_a_mode_uses_is_taken(verb: str, words: str, used: str, refused: str, begins: None) -> None:
    if verb not in CHOOSES:
        return
    for name in set(used.split()) - set(CHOOSING):
        with pytest.raises(ReachedError):
            raise AssertionError(f"{name}: exit code {run(giving(verb, words, name))}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("record --source qemu --stall-share banana -- true", "--stall-share goes with a live source"),
        ("record --source faults -p 1 -o a.pghot --llc 1MiB", "--llc goes with --source qemu"),
        ("record --source faults -p 1 -o a.pghot --cpu max", "--cpu goes with --source qemu"),
        ("record --source qemu -p 1 -o a.pghot", "--pid goes with a live source"),
        ("run --cgroup /a --no-children", "--no-children goes with --pid, or a command"),
        ("run --name a* --no-children", "--no-children goes with --pid, or a command"),
        ("record --min-size 1MiB a.pghot true", "--min-size goes with a live source"),
        ("run --cold-after 30s -p 1", "--cold-after goes with --compressed"),
        ("run -c a.toml --policy hemem -p 1", "--policy goes with a run without --config"),
        ("run -c a.toml --source faults -p 1", "--source goes with a run without --config"),
        ("run -c a.toml --mover damos -p 1", "--config goes with --mover move_pages"),
        ("run --fast-share 20% -p 1", "--fast-share goes with --what-if"),
        ("run -o a.html -p 1", "--output goes with --what-if"),
        ("run --what-if dram-cxl --policies numab3 -p 1", "unknown policy 'numab3'"),
        ("run --what-if dram-cxl --sources pebz -p 1", "unknown source 'pebz'"),
        (
            "run --what-if dram-cxl --source idle --llc 1MiB -p 1",
            "--llc goes with --what-if with the emulator",
        ),
        ("run --what-if dram-cxl --llc 1MiB -p 1", "--llc goes with a command that pghot starts"),
        ("run --source idle --sources idle -p 1", "--sources goes with a run without --source"),
        (
            "run --what-if dram-cxl --policies numab2 --policy hemem -- true",
            "--policy goes with a run without --policies",
        ),
        ("run --restore -p 1", "--restore goes with --apply"),
        ("run --what-if dram-cxl --rate 256 -- true", "--rate goes with a run on the tiers of this machine"),
        ("run --mover damos --source damon --cgroup /a", "--source goes with --mover move_pages"),
        ("run --mover damos --policy pghot-default --cgroup /a", "--policy goes with --mover move_pages"),
        ("margin --budget 5", "--budget goes with --adversary: no attack was asked for"),
        ("compare bundled:redis-zipf --force", "--force goes with --output"),
        ("status 0 5", "COUNT goes with an INTERVAL"),
        ("daemon --example --check", "--check goes with a configuration of your own"),
    ],
)
def test_the_error_names_the_option_and_what_takes_it(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that is the default is refused as well: it was given."""
    assert run(words.split()) == 2
    assert f"pghot: error: {message}" in capsys.readouterr().err


BANANA = [
    ("run -p 1", f"{_NODES} target free_floor interval duration source sources policy set mover"),
    ("run -p 1 --apply", "demotion"),
    ("run -p 1 --name a", "min_size"),
    ("run -p 1 --compressed", "cold_after"),
    ("run -p 1 --mover damos", "free_floor interval duration set demotion"),
    ("run -p 1 --what-if dram-cxl --source softdirty", "fast_share duration policy set"),
    ("run -p 1 --what-if dram-cxl", "fast_share duration policy source llc output"),
    ("record a.pghot", "slice llc duration source"),
    ("record --source softdirty -p 1 -o a.pghot", "slice duration stall_share set"),
    ("record -p 1 -o a.pghot", "source"),
]


@pytest.mark.parametrize(
    ("words", "option"), [(words, option) for words, options in BANANA for option in options.split()]
)
@pytest.mark.parametrize("text", ["banana", ""])
def test_texts_are_parsed_before_the_machine_is_asked_and_a_program_started(
    words: str,
    option: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def too_late(*_: object, **__: object) -> NoReturn:
        raise AssertionError("asked or started already")

    for module in ("cli.live_options", "live.live_settings", "live.swap_tier.setup"):
        monkeypatch.setattr(f"pghot.{module}.require", too_late)
    monkeypatch.setattr("pghot.cli.what_if.choose_source", too_late)
    monkeypatch.setattr("subprocess.Popen", too_late)
    monkeypatch.chdir(tmp_path)
    command = [] if "-p" in words.split() else ["--", "true"]
    assert run([*words.split(), f"--{option.replace('_', '-')}", text, *command]) == 2
    assert "pghot: error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
