"""The documentation says what the code does: commands parse, links lead somewhere, keys and schemas are all named."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from pghot.cli.main import app, run
from pghot.service.config import Config, load_config
from pghot.service.paths import CONFIG, JOURNAL
from pghot.service.sockets import Request
from pghot.service.undo import Undone
from pghot.sources.live_registry import LIVE_SOURCES

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LIVE, CLI = ((ROOT / "docs" / name).read_text() for name in ("live.md", "cli.md"))
# A synopsis ("[--json]", "A|B", "...", names in capitals) is no command to type in.
SYNOPSIS = re.compile(r"[\[\]|]|\.\.\.|\b[A-Z]{2,}\b")


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) for each indented line that runs pghot."""
    for page in PAGES:
        for line in page.read_text().splitlines():
            found = re.fullmatch(r" {4}(?:sudo )?(?:\.venv/bin/)?pghot (\w.*?)(?: \| sudo tee \S+)?", line)
            if found and not SYNOPSIS.search(found[1]):
                yield page.name, found[1]


def context_of(words: list[str]) -> Any:
    """The parsed command line; nothing is run."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    return command.make_context("pghot", words)


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_every_command_parses(page: str, line: str) -> None:
    assert context_of(shlex.split(line)).params


def test_the_commands_of_the_live_side_are_among_them() -> None:
    verbs = {line.split()[0] for page, line in commands() if page in ("README.md", "live.md")}
    assert {"doctor", "run", "undo", "daemon", "status", "hot", "record"} <= verbs


@pytest.mark.parametrize("verb", ["run", "margin", "record", "undo", "daemon", "status", "hot", "doctor"])
def test_cli_md_names_every_option_and_no_other(verb: str) -> None:
    synopsis = CLI[: CLI.index("TRACE is")]
    entries = re.findall(rf"^    pghot {verb}\b.*(?:\n {{10,}}.*)*", synopsis, re.MULTILINE)
    command: Any = typer.main.get_command(app)
    options = [p for p in command.commands[verb].params if p.param_type_name == "option" and p.name != "help"]
    known = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    # PROGRAMS stands for these.
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(entries))) | {"-p", "--cgroup"}
    assert named - {"-p", "--cgroup"} <= known
    missing = [option.name for option in options if not named & {*option.opts, *option.secondary_opts}]
    assert missing == []


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_live_md_names_every_key_of_the_configuration() -> None:
    table = LIVE[LIVE.index("| key | default |") : LIVE.index("**Signals.**")]
    named = set(
        re.findall(r"`([a-z_.]+)(?:\.NAME\.OPTION)?`", " ".join(re.findall(r"^\|([^|]*)\|", table, re.M)))
    )
    assert named == set(keys(Config))


def test_the_defaults_of_the_example_are_those_of_the_code(tmp_path: Path) -> None:
    text = resources.files("pghot").joinpath("data/service/pghot.toml").read_text("utf-8")
    path = tmp_path / "pghot.toml"
    path.write_text(text)
    example, bare = load_config(path), Config.model_validate({"targets": {"pids": [1]}})
    assert example.model_dump(exclude={"targets"}) == bare.model_dump(exclude={"targets"})
    assert set(tomllib.loads(text)["service"]) == set(keys(type(bare.service)))


def test_the_unit_knows_the_default_files_and_may_lock_perf_rings() -> None:
    unit = resources.files("pghot").joinpath("data/service/pghot.service").read_text("utf-8")
    assert f"daemon -c {CONFIG}\n" in unit
    assert f"undo --if-any {JOURNAL}\n" in unit
    assert "CapabilityBoundingSet=CAP_IPC_LOCK" in unit


def test_live_md_names_every_source_and_request_key() -> None:
    assert [name for name in LIVE_SOURCES if f"`{name}`" not in LIVE] == []
    assert [name for name in Request.model_fields if f'"{name}"' not in LIVE] == []


def test_cli_md_names_every_key_of_undo() -> None:
    facts = Undone().facts()
    assert facts.pop("schema") == "pghot.undo/1"
    assert [key for key in facts if f"`{key}`" not in CLI] == []


def test_cli_md_names_every_key_of_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recording = ROOT / "src/pghot/data/recordings/redis-zipf.pghot"
    words = [
        "run",
        "--source",
        "replay",
        "--set",
        f"replay.file={recording}",
        "--journal",
        str(tmp_path / "j"),
    ]
    assert run([*words, "--duration", "0.5s", "--json", "-p", str(os.getpid())]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["schema"] == "pghot.run/1"
    parts = [facts, facts["moves"], facts["tracking"], facts["nodes"][0], facts["sources"][0]]
    assert [key for part in parts for key in part if key != "schema" and f"`{key}`" not in CLI] == []


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        other = (page.parent / target) if target else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), (target, anchor)
