"""The documentation says what the code does: commands parse, links lead somewhere, keys and schemas are all named."""

from __future__ import annotations

import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from pghot.cli.main import app, run
from pghot.cli.report_group import is_file
from pghot.daemon.answers import Request
from pghot.daemon.config import Config, load_config
from pghot.daemon.daemon import WATCHDOG_S
from pghot.daemon.paths import CONFIG, JOURNAL
from pghot.errors import NotPermittedError, UnsupportedError, UsageError
from pghot.live.sources import LIVE_SOURCES
from pghot.live.undone import Undone
from pghot.sim.policies import POLICIES

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
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


def verbs(command: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each verb of the command line, such as "report summary", and its command."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, below in command.commands.items():
        yield from verbs(below, f"{name} {word}".strip())


VERBS = dict(verbs())


def split_verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb that a command line begins with ("" when there is none), and the words after it."""
    if words[0] == "report" and (words[1] == "FILE" or is_file(words[1])):
        return "report summary", words[1:]
    for length in (1, 2):
        verb = " ".join(words[:length])
        if verb in VERBS:
            return verb, words[length:]
    return "", words


def context_of(words: list[str]) -> Any:
    """The parsed command line; nothing is run."""
    verb, rest = split_verb(words)
    return VERBS[verb].make_context("pghot", rest)


def options_of(verb: str) -> dict[frozenset[str], Any]:
    """The options of a verb by all of their names."""
    options = [p for p in VERBS[verb].params if p.param_type_name == "option" and p.name != "help"]
    return {frozenset((*option.opts, *option.secondary_opts)): option for option in options}


def option_names(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))


def mentions() -> Iterator[tuple[str, str]]:
    """(page, command) for each command inside a sentence, which may leave out what the sentence is not about."""
    for page in PAGES:
        for found in re.findall(r"(?<!`)`(?:sudo )?pghot ([a-z][^`]*)`", page.read_text()):
            yield page.name, " ".join(found.split())


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_every_command_parses(page: str, line: str) -> None:
    assert context_of(shlex.split(line)).params


def test_the_commands_of_the_live_side_are_among_them() -> None:
    shown = {line.split()[0] for page, line in commands() if page in ("first-steps.md", "live.md")}
    assert {"doctor", "run", "undo", "daemon", "status", "hot", "record"} <= shown


@pytest.mark.parametrize(("page", "line"), sorted(set(mentions())))
def test_commands_in_sentences_name_verbs_and_options_that_exist(page: str, line: str) -> None:
    verb, rest = split_verb(line.split())
    if not verb:
        assert any(known.startswith(f"{line} ") for known in VERBS), "no such verb"
        return
    ours = rest[: rest.index("--")] if "--" in rest else rest
    assert option_names(" ".join(ours)) <= frozenset().union(*options_of(verb)) | {"--help"}


def sections(text: str) -> dict[str, str]:
    """The text below each heading of cli.md that is a verb."""
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    bodies = zip(parts[1::2], parts[2::2], strict=True)
    return {head.removeprefix("`pghot ").rstrip("`"): body for head, body in bodies}


def test_cli_md_has_a_section_for_every_verb_and_no_other() -> None:
    assert sorted(re.findall(r"^#+ `pghot (.*)`$", CLI, re.MULTILINE)) == sorted(VERBS)


def rows(table: str) -> list[list[str]]:
    """The cells of the rows of a Markdown table, head and rule included."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def written(option: Any) -> str | None:
    """How cli.md writes an option's default; None where the code leaves it to words."""
    if getattr(option, "is_flag", False):
        return "on" if option.default else "off"
    if option.default is None or option.default == "":
        return None
    return f"`{option.default:g}`" if isinstance(option.default, float) else f"`{option.default}`"


@pytest.mark.parametrize("verb", VERBS)
def test_cli_md_names_every_option_with_its_default_and_no_other(verb: str) -> None:
    section = sections(CLI)[verb]
    table = {option_names(cells[0]): cells[1] for cells in rows(section) if cells[0].startswith("`-")}
    options = options_of(verb)
    assert set(table) == set(options)
    for names, option in options.items():
        assert ("(many)" in table[names]) == option.multiple, names
        default = written(option)
        if default is None:
            assert table[names], names
            assert not re.fullmatch(r"`[^`]*`|on|off", table[names]), (names, "the code has no such default")
        else:
            assert table[names] == default, names
    usage = re.findall(rf"^ {{4}}pghot {verb}\b.*$", section, re.MULTILINE)
    assert usage, "how it is called"
    assert option_names(" ".join(usage)) <= frozenset().union(*options)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_is_wrapped_and_tables_are_even(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for table in (block for block in re.split(r"\n\s*\n", text) if block.startswith("|")):
        assert len({len(cells) for cells in rows(table)}) == 1, table.splitlines()[0]
    prose = [line for line in text.splitlines() if not line.startswith(("|", "    "))]
    assert [line for line in prose if len(line) > 120] == []


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        # A table, a table that may be missing, or several of one kind.
        tables = [each for each in (field.annotation, *get_args(field.annotation)) if is_table(each)]
        if tables:
            yield from keys(tables[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


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


def test_the_unit_does_not_start_again_what_cannot_start_and_its_watchdog_outlasts_the_notices() -> None:
    unit = ConfigParser(interpolation=None)
    unit.read_string(resources.files("pghot").joinpath("data/service/pghot.service").read_text("utf-8"))
    service = unit["Service"]
    exits = {UsageError.exit_code, UnsupportedError.exit_code, NotPermittedError.exit_code}
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == exits
    assert float(service["WatchdogSec"]) >= 3 * WATCHDOG_S
    assert unit["Unit"]["StartLimitBurst"]
    assert "systemd-sysctl.service" in unit["Unit"]["After"]


def test_live_md_names_every_source_and_request_key() -> None:
    assert [name for name in LIVE_SOURCES.names() if f"`{name}`" not in LIVE] == []
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


def test_policies_md_has_a_row_for_every_policy_with_the_sources_that_it_takes() -> None:
    said = {}
    for row in re.findall(r"^\| (`.*)$", (ROOT / "docs" / "policies.md").read_text(), re.MULTILINE):
        names, sees, *_ = row.split(" | ")
        for name in re.findall(r"`([^`]+)`", names):
            said[name] = tuple(re.findall(r"`([^`]+)`", sees)) if "any" not in sees else "any"
    for name in POLICIES.names():
        policy = POLICIES.get(name)
        assert said.pop(name) == ("any" if policy.any_source else policy.default_sources), name
    assert not said
