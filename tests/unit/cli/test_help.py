"""Help in every form: `-h`, hints that name a verb's own help, man pages and the completion of real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pghot.cli.completion import SHELLS, script
from pghot.cli.install_help import COMPLETIONS, MAN_PAGES
from pghot.cli.main import app, run
from pghot.cli.manual import contexts, page, page_name, pages

ROOT = typer.Context(typer.main.get_command(app), info_name="pghot", help_option_names=["-h", "--help"])
ALL = {page_name(each): each for each in contexts(ROOT)}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"no {program} here")


@pytest.fixture
def path_with_pghot(tmp_path: Path) -> dict[str, str]:
    """An environment in which shells find `pghot`, which is this source tree."""
    command = tmp_path / "bin" / "pghot"
    command.parent.mkdir()
    code = "from pghot.cli.main import main; main()"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    command.chmod(0o755)
    source = Path(sys.modules["pghot"].__file__ or "").parents[1]
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(source)}


@pytest.mark.parametrize("words", [each.replace("-", " ") for each in ALL if "install" not in each])
def test_short_help_is_the_long_one(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    verb = words.split()[1:]
    texts = []
    for option in ("-h", "--help"):
        assert run([*verb, option]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].startswith(f"Usage: {words}")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("compare --nope", "see `pghot compare --help`"),
        ("report wss", "see `pghot report wss --help`"),
        ("report a.pghot --nope", "see `pghot report summary --help`"),
        ("--nope", "see `pghot --help`"),
    ],
)
def test_the_hint_names_the_help_of_the_verb(
    words: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words.split()) == 2
    assert capsys.readouterr().err.splitlines()[1] == f"hint: {hint}"


@pytest.mark.parametrize("name", ALL)
def test_a_man_page_has_all_that_the_help_has(name: str) -> None:
    ctx, plain = ALL[name], page(ALL[name]).replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")
    for parameter in ctx.command.get_params(ctx):
        written, about = parameter.get_help_record(ctx)
        assert f".TP\n.B {written}\n{about}\n" in plain
    for verb in getattr(ctx.command, "commands", {}):
        assert f".TP\n.B {verb}\n" in plain
        assert f".BR {name}-{verb} (1)\n" in plain


@needs("groff")
@pytest.mark.parametrize("name", ALL)
def test_groff_has_nothing_to_say_against_a_page(name: str) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Kutf8", "-Tutf8", "-P-c", "-P-b", "-P-u", "-P-o"],
        input=page(ALL[name]),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "NAME" in done.stdout


@needs("mandoc")
@pytest.mark.parametrize("name", ALL)
def test_mandoc_has_nothing_to_say_against_a_page(name: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning"], input=page(ALL[name]), capture_output=True, text=True
    )
    said = [line for line in done.stdout.splitlines() if "missing date" not in line]  # the same on every day
    assert said == []


def test_what_looks_like_a_macro_or_an_escape_is_printed() -> None:
    @(side := typer.Typer(rich_markup_mode=None)).command("verb")
    def verb() -> None:
        """Does it.

        .so /etc/passwd

        'a' and \\fB
        """

    side.callback()(lambda: None)
    text = page(typer.Context(typer.main.get_command(side).commands["verb"], info_name="verb"))
    assert ".PP\n\\&.so /etc/passwd\n.PP\n\\&'a' and \\efB\n" in text


def test_man_prints_a_page_and_knows_its_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["man", "report", "wss"]) == 0
    assert capsys.readouterr().out == page(ALL["pghot-report-wss"])
    assert run(["man"]) == 0
    assert capsys.readouterr().out == page(ALL["pghot"])
    assert run(["man", "report", "was"]) == 2
    assert "hint: did you mean 'report wss'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("pghot com", ["compare", "completion"]),
        ("pghot report ", ["summary", "heatmap", "wss", "timeline"]),
        ("pghot report wss --o", ["--output"]),
        ("pghot report a.pghot --js", ["--json"]),
        ("pghot run --leave-out-n", ["--leave-out-name", "--leave-out-nodes"]),
    ],
)
def test_bash_completes(line: str, found: list[str], path_with_pghot: dict[str, str]) -> None:
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    driver = (
        f"{script('bash')}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
        "$(complete -p pghot | sed 's/.*-F \\([^ ]*\\).*/\\1/') pghot; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", driver], env=path_with_pghot, capture_output=True, text=True, check=True
    )
    answers = done.stdout.split()
    assert set(found) <= set(answers)
    assert [each for each in answers if not each.startswith(words[-1])] == []


@needs("fish")
def test_fish_completes(path_with_pghot: dict[str, str]) -> None:
    driver = f'{script("fish")}\ncomplete -C "pghot report wss --o"'
    done = subprocess.run(["fish", "-c", driver], env=path_with_pghot, capture_output=True, text=True)
    assert done.stdout.split("\t")[0] == "--output"


@needs("zsh")
def test_zsh_reads_its_file() -> None:
    subprocess.run(["zsh", "-f", "-n", "-c", script("zsh")], check=True)


def test_an_unknown_shell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "tcsh"]) == 2
    assert "unknown shell 'tcsh'" in capsys.readouterr().err


def test_one_command_installs_all_and_does_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run(["install-help", "--prefix", str(tmp_path)]) == 0
        files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        assert files == {*COMPLETIONS.values(), *(f"{MAN_PAGES}/{name}.1" for name in ALL)}
        (tmp_path / MAN_PAGES / "pghot.1").write_text("of an older version")
    assert set(COMPLETIONS) == set(SHELLS)
    assert f"wrote {len(ALL)} man pages" in capsys.readouterr().err
    assert (tmp_path / MAN_PAGES / "pghot-run.1").read_text() == pages(ROOT)["pghot-run"]


def test_a_prefix_that_cannot_be_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "share").write_text("a file")
    assert run(["install-help", "--prefix", str(tmp_path)]) == 1
    assert "cannot write" in capsys.readouterr().err
