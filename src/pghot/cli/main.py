"""The `pghot` command: verbs, and the one place that prints errors. Heavy modules load inside the verbs."""

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from pghot.cli.compare import compare
from pghot.cli.completion import ASKED_BY_A_SHELL, completion
from pghot.cli.convert import convert
from pghot.cli.curve import curve
from pghot.cli.daemon import daemon
from pghot.cli.doctor import doctor
from pghot.cli.economics import economics
from pghot.cli.explain import explain
from pghot.cli.heatmap import heatmap
from pghot.cli.hot import hot
from pghot.cli.install_help import install_help
from pghot.cli.listing import list_
from pghot.cli.man import man
from pghot.cli.margin import margin
from pghot.cli.record import record
from pghot.cli.report_diff import diff
from pghot.cli.report_group import ReportGroup
from pghot.cli.run import run as run_verb
from pghot.cli.size import size
from pghot.cli.status import status
from pghot.cli.summary import summary
from pghot.cli.sweep import sweep
from pghot.cli.timeline import timeline
from pghot.cli.top import top
from pghot.cli.tune import tune
from pghot.cli.undo import undo
from pghot.cli.validate import validate
from pghot.cli.wss import wss
from pghot.errors import PghotError, unknown_name
from pghot.printable import printable
from pghot.version import __version__

app = typer.Typer(
    help="Find the hot pages of running programs, put them in fast memory, and prove whether that pays.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
report_app = typer.Typer(
    cls=ReportGroup,
    help="Look into a recording. `pghot report FILE` is `pghot report summary FILE`.",
    rich_markup_mode=None,
    add_completion=False,
)
app.command("compare")(compare)
app.command("curve")(curve)
app.command("size")(size)
app.command("tune")(tune)
app.command("sweep")(sweep)
app.command("list")(list_)
app.command("validate")(validate)
app.command("convert")(convert)
app.command("margin")(margin)
app.command("economics")(economics)
app.command("record")(record)
app.command("doctor")(doctor)
app.command("run")(run_verb)
app.command("undo")(undo)
app.command("daemon")(daemon)
app.command("status")(status)
app.command("hot")(hot)
app.command("top")(top)
app.command("man")(man)
app.command("completion")(completion)
app.command("install-help")(install_help)
report_app.command("summary")(summary)
report_app.command("heatmap")(heatmap)
report_app.command("wss")(wss)
report_app.command("timeline")(timeline)
report_app.command("explain")(explain)
report_app.command("diff")(diff)
report_app.callback()(lambda: None)
app.add_typer(report_app, name="report")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"pghot {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit with its code."""
    _open_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _open_standard_streams() -> None:
    """Open /dev/null for each standard stream that our parent closed.

    Otherwise the first file that we open would get the number of such a stream.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, usually this stream's
            setattr(sys, name, open(fd, "r" if number == 0 else "w"))  # noqa: SIM115 - open until the end


def run(arguments: list[str]) -> int:
    """The exit code of `pghot ARGUMENTS`; errors go to stderr as one line and a hint."""
    command = _command()
    try:
        if ASKED_BY_A_SHELL in os.environ:
            from typer._completion_classes import completion_init

            completion_init()  # the answer is given in place of the verb
        _check_verb(arguments, sorted(command.commands))
        code = command.main(args=arguments or ["--help"], prog_name="pghot", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except PghotError as error:
        return _fail(str(error), error.hint, error.exit_code)
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        return _fail(message, f"see `{_path_of(error)} --help`", 2)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader has gone away. Keep Python's own flush at exit quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        return _fail(
            f"not enough memory: {error}", "take a smaller recording or workload, or larger pages", 1
        )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(f"cannot write: {error.strerror}", "make room, or send the output elsewhere", 1)


@cache
def _command() -> Any:
    """All verbs, parsed once: that takes some 20 ms."""
    return typer.main.get_command(app)


def _path_of(error: TyperException) -> str:
    """The words of the verb that refused what was written."""
    context = getattr(error, "ctx", None)
    return "pghot" if context is None else str(context.command_path)


def _check_verb(arguments: list[str], verbs: list[str]) -> None:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in verbs:
        raise unknown_name("verb", arguments[0], verbs)


def _fail(message: str, hint: str, code: int) -> int:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)  # a line of progress may stand there
    print(f"pghot: error: {printable(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {printable(hint)}", file=sys.stderr)
    return code
