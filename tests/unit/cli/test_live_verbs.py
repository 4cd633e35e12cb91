"""Wrong requests of the live verbs: one line that names the thing, a hint, an exit code; nothing changes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.cli.live_options import mover_settings
from pghot.cli.main import run
from pghot.daemon.config import Config, load_config
from pghot.errors import UsageError
from pghot.kernel.process import read_stat
from pghot.kernel.sysroot import SysRoot
from pghot.live.journal_file import read_journal
from pghot.live.owner import owned
from pghot.live.run import Summary
from pghot.recording.trace import MemoryTrace, Region, SliceBatch, TraceInfo
from pghot.recording.writer import write_recording
from waiting import at_each_round, until

USAGE, UNSUPPORTED = 2, 3
NO_PID = "4194305"  # beyond the largest pid_max
REPLAY = ["--source", "replay", "--set", "replay.file=/no/such.pghot"]


def fails(capsys: pytest.CaptureFixture[str], code: int, message: str, *arguments: str) -> str:
    """Run and check the form of the error; returns the hint."""
    assert run(list(arguments)) == code
    out, err = capsys.readouterr()
    assert out == ""
    first, *hints = err.splitlines()
    assert first.startswith("pghot: error: ")
    assert message in first
    assert len(hints) <= 1
    assert all(line.startswith("hint: ") for line in hints)
    return hints[0] if hints else ""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as child:
        yield child
        child.kill()


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of the machine is not that of another run of these tests."""
    place = tmp_path / "own"
    monkeypatch.setattr("pghot.live.owner.runtime_place", lambda root: place)
    return place


# ---- targets


def test_a_pid_that_nobody_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert "ps -e" in fails(capsys, USAGE, f"no process {NO_PID}", "run", *REPLAY, "-p", NO_PID)
    fails(capsys, USAGE, "no process -7", "run", *REPLAY, "-p", "-7")
    fails(capsys, USAGE, "no process 0", "run", *REPLAY, "-p", "0")


def test_a_kernel_thread(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        if not read_stat(SysRoot(), 2).kernel_thread:
            pytest.skip("this PID namespace has no kernel threads (pid 2 is a program)")
    except OSError:
        pytest.skip("this PID namespace has no kernel threads (no pid 2)")
    fails(capsys, USAGE, "process 2 (kthreadd) is a kernel thread", "run", *REPLAY, "-p", "2")


def test_a_zombie(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        until(lambda: read_stat(SysRoot(), child.pid).state == "Z", "a zombie")
        fails(capsys, USAGE, "(a zombie)", "run", *REPLAY, "-p", str(child.pid))


def test_a_thread_is_not_its_process(capsys: pytest.CaptureFixture[str]) -> None:
    """Its pid can be looked up in /proc, but nothing would ever be reported under it."""
    held = threading.Event()
    thread = threading.Thread(target=held.wait)
    thread.start()
    message = f"{thread.native_id} is a thread of process {os.getpid()}"
    hint = fails(capsys, USAGE, message, "run", *REPLAY, "-p", str(thread.native_id))
    held.set()
    thread.join()
    assert f"-p {os.getpid()}" in hint


@pytest.mark.parametrize("how", [["--source", "chmu"], ["--what-if", "dram-cxl"]])
def test_a_mistake_is_told_before_what_the_machine_lacks(
    capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    fails(capsys, USAGE, "name a command, pids, a cgroup, or programs by name, user or size", "run", *how)
    fails(capsys, USAGE, "exclude each other", "run", *how, "-p", "1", "--", "true")


def test_no_target_and_two_kinds_of_targets(capsys: pytest.CaptureFixture[str]) -> None:
    hint = fails(
        capsys, USAGE, "name a command, pids, a cgroup, or programs by name, user or size", "run", *REPLAY
    )
    assert "-p PID" in hint
    fails(capsys, USAGE, "exclude each other", "run", *REPLAY, "-p", "1", "--cgroup", "/a")
    fails(capsys, USAGE, "exclude each other", "run", *REPLAY, "-p", "1", "--", "true")


def test_a_cgroup_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, or 3 where no cgroup v2 is mounted at /sys/fs/cgroup, as on machines with the first version."""
    v2 = SysRoot().exists("/sys/fs/cgroup/cgroup.procs")
    code, message = (USAGE, "no cgroup /no/such") if v2 else (UNSUPPORTED, "no cgroup v2")
    fails(capsys, code, message, "run", *REPLAY, "--cgroup", "/no/such")


def test_a_command_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fails(capsys, USAGE, "no program '/no/such'", "run", *REPLAY, "--", "/no/such")
    (tmp_path / "text").write_text("")
    fails(capsys, 4, "may not be executed", "run", *REPLAY, "--", str(tmp_path / "text"))
    (tmp_path / "text").chmod(0o755)
    fails(capsys, USAGE, "cannot start", "run", *REPLAY, "--", str(tmp_path / "text"))


# ---- sources, options, values


def test_unknown_names_are_answered_with_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    hint = fails(capsys, USAGE, "unknown live source 'replai'", "run", "--source", "replai", "-p", "1")
    assert "did you mean 'replay'?" in hint
    hint = fails(
        capsys,
        USAGE,
        "unknown option of 'replay' 'flie'",
        "run",
        *REPLAY,
        "--set",
        "replay.flie=x",
        "-p",
        "1",
    )
    assert "did you mean 'file'?" in hint
    fails(
        capsys,
        USAGE,
        "'faults' is not part of this run",
        "run",
        *REPLAY,
        "--set",
        "faults.x=1",
        "-p",
        "1",
    )
    hint = fails(
        capsys,
        USAGE,
        "no policy 'pghot-defualt' runs live",
        "run",
        *REPLAY,
        "--policy",
        "pghot-defualt",
        "-p",
        "1",
    )
    assert "did you mean 'pghot-default'? these run live: none, hemem, pghot-default" in hint
    hint = fails(capsys, USAGE, "move_page", "run", *REPLAY, "--apply", "--demotion", "move_page", "-p", "1")
    assert "move_pages" in hint
    fails(capsys, USAGE, "no source", "run", "--source", " , ", "-p", "1")


@pytest.mark.parametrize(
    "option, value",
    [
        ("--rate", "fast"),
        ("--rate", "0"),
        ("--rate", "-3"),
        ("--rate", "nan"),
        ("--rate", "inf"),
        ("--free-floor", "2"),
        ("--free-floor", "-1%"),
        ("--batch", "0"),
        ("--batch", "70000"),
        ("--interval", "soon"),
        ("--duration", "5"),
        ("--set", "replay"),
        ("--set", "replay.loop=perhaps"),
        ("--pid", "init"),
        ("--max-cpu", "-1"),
        ("--max-cpu", "nan"),
    ],
)
def test_values_that_cannot_be(
    capsys: pytest.CaptureFixture[str], sleeper: subprocess.Popen[bytes], option: str, value: str
) -> None:
    value_alone = value.rpartition("=")[2]
    named = value_alone if option in ("--free-floor", "--interval", "--duration", "--set") else option
    fails(capsys, USAGE, named, "run", *REPLAY, "-p", str(sleeper.pid), option, value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"rate_limit_mb_s": 2e6}, "--rate 2000000: .*1000000"),
        ({"batch_pages": 65537}, "--batch 65537: .*65536"),
        ({"cold_after_s": 511.0}, "--cold-after 511: .*510"),
        ({"kind": "damon"}, "unknown --mover 'damon'"),
    ],
)
def test_a_setting_of_the_mover_out_of_range_names_its_option(
    settings: dict[str, object], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        mover_settings(**settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "nonsense"], "unknown policy 'nonsense'"),
        (["--fast-share", "0"], "leaves nothing to decide"),
        (["--fast-share", "100%"], "leaves nothing to decide"),
        (["--compressed"], "--compressed goes with a run on the tiers"),
        (["--mover", "damos"], "--mover goes with a run on the tiers"),
    ],
)
def test_what_cannot_be_simulated_is_told_before_the_program_runs(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "ran"
    assert run(["run", "--what-if", "dram-cxl", *options, "--", "touch", str(mark)]) == 2
    assert message in capsys.readouterr().err
    assert not mark.exists()


def test_a_recording_that_is_not_there(
    capsys: pytest.CaptureFixture[str], sleeper: subprocess.Popen[bytes]
) -> None:
    fails(
        capsys,
        USAGE,
        "/no/such.pghot",
        "run",
        *REPLAY,
        "-p",
        str(sleeper.pid),
        "--journal",
        "/tmp/pghot-none",
    )
    assert not Path("/tmp/pghot-none").exists()
    fails(capsys, USAGE, "no recording named", "run", "--source", "replay", "-p", str(sleeper.pid))


def test_a_journal_that_exists(
    capsys: pytest.CaptureFixture[str], sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    (tmp_path / "j").write_text("precious")
    where = str(tmp_path / "j")
    hint = fails(capsys, USAGE, "exists already", "run", *REPLAY, "-p", str(sleeper.pid), "--journal", where)
    assert "pghot undo" in hint
    fails(capsys, USAGE, "not a journal", "undo", where)
    fails(capsys, USAGE, "No such file", "undo", str(tmp_path / "none"))
    assert (tmp_path / "j").read_text() == "precious"


# ---- the daemon's configuration


RIGHT = '[targets]\npids = [1]\n[service]\nmetrics = ""\n'


def test_a_right_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "pghot.toml"
    path.write_text(RIGHT)
    assert load_config(path).sources == ("faults",)


def test_a_check_probes_targets_and_sources(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recording: str
) -> None:
    path = tmp_path / "pghot.toml"
    text = (
        f"sources = ['replay']\n[targets]\npids = [{os.getpid()}]\n[options.replay]\nfile = '{recording}'\n"
    )
    path.write_text(text)
    assert run(["daemon", "--check", "-c", str(path)]) == 0
    said, all_ = capsys.readouterr().out.splitlines()
    assert said == f"{path} is correct, and this machine can do it"
    assert re.fullmatch("all: [1-9][0-9]* programs? now; pghot-default, to 256 MiB/s", all_)
    targets = f"pids = [{os.getpid()}]\n"
    group = f"[[programs]]\nname = 'us'\n{targets}children = false\n"
    other = "[[programs]]\nname = 'others'\npolicy = 'none'\nnames = ['no-such-program']\n"
    path.write_text(text.replace("[targets]\n" + targets, f"{group}rate_limit_mb_s = 64\n{other}"))
    assert run(["daemon", "--check", "-c", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "us: 1 program now; pghot-default, to 64 MiB/s",
        "others: 0 programs now; left alone",
    ]
    path.write_text(text.replace(str(os.getpid()), NO_PID))
    fails(capsys, USAGE, f"no process {NO_PID}", "daemon", "--check", "-c", str(path))
    path.write_text(text.replace("'replay'", "'replay', 'chmu'"))
    fails(capsys, UNSUPPORTED, "chmu: ", "daemon", "--check", "-c", str(path))


def test_a_run_takes_sources_policy_and_options_of_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: str
) -> None:
    """What `--set` says comes before the file."""
    path = tmp_path / "tuned.toml"
    taken: list[Any] = []

    def stop(root: object, settings: Any) -> None:
        taken.append(settings)
        raise UsageError("enough", "")

    monkeypatch.setattr("pghot.live.owner.refuse_second", stop)
    path.write_text(
        f"sources = ['replay']\npolicy = 'pghot-precise'\n[options.replay]\nfile = '{recording}'\n"
        "[options.pghot-precise]\nwindow_ms = 900\nfreq_threshold = 3\n[options.pghot-default]\nprune_age = 9\n"
    )
    given = ["run", "-p", str(os.getpid()), "-c", str(path), "--set", "pghot-precise.freq_threshold=1"]
    fails(capsys, USAGE, "enough", *given)
    (settings,) = taken
    assert (settings.sources, settings.policy) == (("replay",), "pghot-precise")
    assert settings.policy_options == {"window_ms": 900, "freq_threshold": 1}
    assert settings.source_options == {"replay": {"file": recording}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("policy = 'numab2'\n", "policy: no policy 'numab2' runs live"),
        ("sources = ['pebbs']\n", "sources: unknown"),
        ("[options.pghot-default]\nwindow = 3\n", "options.pghot-default.window: "),
        ("[options.pghot-default]\nwindow_ms = 0\n", "window_ms is 0, which is out of range"),
        ("[options.pghot-default]\nfreq_threshold = 99\n", "out of the 'default' store's reach"),
        ("[options.pghot-default]\nbatch_nr = 64\n", "only the lab can honour pghot-default.batch_nr"),
        ("[mover]\nrate_limit_mb_s = 3\n", "mover: unknown key"),
        ("[targets]\npids = [1]\n", "targets: unknown key"),
        ("policy = 3\n", "policy: "),
        ("policy =", "not valid TOML"),
    ],
)
def test_a_file_that_no_run_can_take(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, what: str
) -> None:
    path = tmp_path / "tuned.toml"
    path.write_text(text)
    fails(capsys, USAGE, what, "run", "-p", str(os.getpid()), "-c", str(path))


def test_the_example_is_right(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["daemon", "--example"]) == 0
    path = tmp_path / "pghot.toml"
    path.write_text(capsys.readouterr().out)
    assert isinstance(load_config(path), Config)


@pytest.mark.parametrize(
    "line, where, what",
    [
        ("speed = 3", "5: service.speed", "unknown key"),
        ("interval_ms = 0", "5: service.interval_ms", "greater than or equal to 1"),
        ('interval_ms = "soon"', "5: service.interval_ms", "integer"),
        ('log = "xml"', "5: service.log", "'json' or 'text'"),
        ("max_cpu_percent = -1", "5: service.max_cpu_percent", "greater than or equal to 0.001"),
        ("[mover]\nfree_floor = 3", "6: mover.free_floor", "'3' is not a share"),
        ('[mover]\nfree_floor = "much"', "6: mover.free_floor", "not a share"),
        ("[mover]\nrate_limit_mb_s = 0", "6: mover.rate_limit_mb_s", "equal to 0.001"),
        ("[mover]\nrate_limit_mb_s = inf", "6: mover.rate_limit_mb_s", "finite"),
        ("[mover]\nrate_limit_mb_s = nan", "6: mover.rate_limit_mb_s", "finite"),
        ('[mover]\ndemotion = "all"', "6: mover.demotion", "'move_pages'"),
        ("[moover]\nx = 1", "5: moover", "unknown key"),
    ],
)
def test_mistakes_name_line_and_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, where: str, what: str
) -> None:
    path = tmp_path / "pghot.toml"
    path.write_text(RIGHT + line + "\n")
    fails(capsys, USAGE, f"{path}:{where}: ", "daemon", "--check", "-c", str(path))
    with pytest.raises(UsageError, match=what):
        load_config(path)


@pytest.mark.parametrize(
    "text, what",
    [
        ("[targets]\n", "name at least one of pids, cgroups, names, users, min_size"),
        ("", "document: name the programs: either in [targets], or in groups, each a [[programs]]"),
        (RIGHT + '[[programs]]\nname = "a"\npids = [1]\n', "name the programs: either in"),
        ('[[programs]]\nname = "A b"\npids = [1]\n', "2: programs.0.name: "),
        ('[[programs]]\nname = "a"\n', "1: programs.0: name at least one of pids, cgroups"),
        ('[[programs]]\nname = "a"\nnames = ["x"]\n' * 2, "two groups of programs are called 'a'"),
        (
            '[[programs]]\nname = "a"\npids = [1]\nrate_limit_mb_s = 300\n',
            "the group 'a' may promote 300 MiB/s, all together 256: raise mover.rate_limit_mb_s",
        ),
        (
            '[[programs]]\nname = "b"\npids = [1]\n[[programs]]\nname = "a"\npids = [1]\npolicy = "pghot"\n',
            "7: programs.1.policy: no policy 'pghot' runs live",
        ),
        (
            '[[programs]]\nname = "a"\npids = [1]\noptions = { freq_threshold = 3 }\n',
            "4: programs.0.options: they are of a policy, but the group names none",
        ),
        (
            '[[programs]]\nname = "a"\npids = [1]\npolicy = "pghot-default"\noptions = { threshold = 3 }\n',
            "5: programs.0.options: unknown option of 'pghot-default' 'threshold'",
        ),
        (
            '[[programs]]\nname = "a"\npids = [1]\n[mover]\nkind = "damos"\n',
            "all programs are treated alike",
        ),
        ('[nodes]\nfast = "0-"\n' + RIGHT, "2: nodes.fast: the list '0-' is no list of nodes"),
        ('[targets]\nnames = ["a"]\nmin_size = "big"\n', "3: targets.min_size: 'big' is not a size"),
        ("sources = []\n" + RIGHT, "sources"),
        ('tracked = "much"\n' + RIGHT, "'much' is not a size"),
        ("[targets\n", "not valid TOML"),
        ('[targets]\npids = ["init"]\n', "targets.pids"),
        ('sources = ["fault"]\n' + RIGHT, "1: sources: unknown live source 'fault'"),
        ('policy = "pghot"\n' + RIGHT, "1: policy: no policy 'pghot' runs live"),
        (RIGHT + "[options.fault]\nx = 1\n", "5: options.fault: unknown source or policy 'fault'"),
        (
            RIGHT + "[options.faults]\nperiod = 1\n",
            "6: options.faults.period: unknown option of 'faults' 'period'",
        ),
        (
            RIGHT + '[options.faults]\nscan_size_mb = "x"\n',
            "6: options.faults.scan_size_mb: faults.scan_size_mb is 'x', which is not a whole number",
        ),
        (
            RIGHT + "[options.faults]\nscan_size_mb = 0\n",
            "5: options.faults: faults.scan_size_mb is 0, which is less than it can be",
        ),
        (
            RIGHT + "[options.replay]\nfile = 7\n",
            "6: options.replay.file: replay.file is 7, which is not text",
        ),
        (
            RIGHT + "[options.replay]\nloop = 1\n",
            "6: options.replay.loop: replay.loop is 1, which is not true or false",
        ),
        (RIGHT + '[options.hemem]\ncool = "x"\n', "6: options.hemem.cool: "),
        (
            RIGHT + "[options.hemem]\nfreq_threshold = 18\n",
            "5: options.hemem: hemem.freq_threshold 18 with hemem.cooling_samples 18: counts are halved before",
        ),
        (
            RIGHT + "[options.pghot-default]\nfreq_threshold = 1.5\n",
            "6: options.pghot-default.freq_threshold: ",
        ),
        (
            RIGHT + "[options.damos]\nyoung = 1\n",
            "6: options.damos.young: damos.young is 1, which is not true or false",
        ),
        (RIGHT.replace('""', '"here"'), "write an address and a port"),
        (RIGHT.replace('""', '"127.0.0.1:99999"'), "write an address and a port"),
    ],
)
def test_other_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "pghot.toml"
    path.write_text(text)
    fails(capsys, USAGE, what, "daemon", "--check", "-c", str(path))


def test_a_source_named_twice_is_one(tmp_path: Path) -> None:
    """Two of a name would count every sighting twice, and give Prometheus two metrics with the same labels."""
    path = tmp_path / "pghot.toml"
    path.write_text('sources = ["faults", "idle", "faults"]\n' + RIGHT)
    assert load_config(path).sources == ("faults", "idle")


def test_options_of_a_source_that_does_not_run_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "pghot.toml"
    path.write_text(RIGHT + "[options.idle]\nperiod_ms = 500\n")
    assert load_config(path).options == {"idle": {"period_ms": 500}}


def test_no_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(tmp_path / "none.toml")
    assert "--example" in fails(capsys, USAGE, f"cannot read configuration '{path}'", "daemon", "-c", path)
    (tmp_path / "latin.toml").write_bytes(b"\xff\xfe")
    fails(capsys, USAGE, "not UTF-8", "daemon", "--check", "-c", str(tmp_path / "latin.toml"))


@given(st.text(max_size=80))
def test_any_text_is_a_configuration_or_a_mistake(text: str) -> None:
    from pghot.documents import parse_document

    try:
        parse_document(Config, text, "x")
    except UsageError:
        return


# ---- status and hot


def test_consumers_without_a_daemon(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = str(tmp_path / "s")
    hint = fails(capsys, USAGE, f"no pghot daemon at {where}", "status", "--socket", where)
    assert "pghot daemon" in hint
    fails(capsys, USAGE, "no pghot daemon", "hot", "--socket", where)
    fails(capsys, USAGE, "cannot be ranked by 'size'", "hot", "--by", "size", "--socket", where)
    fails(capsys, USAGE, "'--top'", "hot", "--top", "0", "--socket", where)


@pytest.mark.parametrize("verb", ["status", "hot"])
@pytest.mark.parametrize("words", [("-1",), ("nan",), ("inf",), ("1", "-3")])
def test_times_and_counts_that_cannot_be(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, verb: str, words: tuple[str, ...]
) -> None:
    named = "'count'" if len(words) > 1 else "'interval'"
    fails(capsys, USAGE, named, verb, "--socket", str(tmp_path / "s"), "--", *words)


# ---- and a right one


@pytest.fixture
def recording(tmp_path: Path) -> str:
    """An empty second of a program."""
    batch = SliceBatch(
        np.zeros(1, np.uint64), np.full(1, 1000, np.uint64), np.array([0, 1], np.int64), np.zeros(1, np.uint32),
        *(np.ones(1, np.uint32) for _ in range(2)), *(np.zeros(1, np.uint32) for _ in range(2)), np.zeros(1, np.int16),
    )  # fmt: skip
    info = TraceInfo("one", "workload", slice_ns=10_000_000)
    write_recording(
        tmp_path / "one.pghot", MemoryTrace(info, 1, (Region(0, 1, 0, 0x7F0000000000, "x"),), [batch])
    )
    return str(tmp_path / "one.pghot")


def test_a_run_over_a_command_ends_with_it(
    capsys: pytest.CaptureFixture[str], recording: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked = tmp_path / "tracked"
    at_each_round(monkeypatch, lambda _: tracked.touch())
    arguments = [
        "run",
        "--source",
        "replay",
        "--set",
        f"replay.file={recording}",
        "--journal",
        str(tmp_path / "j"),
    ]
    code = f"import os, time\nwhile not os.path.exists({str(tracked)!r}): time.sleep(0.01)"
    program = [sys.executable, "-c", code]
    assert run([*arguments, "--interval", "20ms", "--", *program]) == 0
    assert "replay" in capsys.readouterr().out
    assert not (tmp_path / "j").exists()
    assert run([*arguments, "--duration", "100ms", "--json", "-p", str(os.getpid())]) == 0
    out, _ = capsys.readouterr()
    assert '"schema": "pghot.run/1"' in out


def test_a_second_that_would_change_the_machine_is_refused_before_its_program_starts(
    capsys: pytest.CaptureFixture[str], recording: str, tmp_path: Path
) -> None:
    replay = ["run", "--source", "replay", "--set", f"replay.file={recording}"]
    touch = ["--", "touch", str(tmp_path / "started")]
    with owned(SysRoot()):
        hint = fails(capsys, 1, f"pghot {os.getpid()} (", *replay, "--apply", *touch)
        assert "what only reads works beside it" in hint
        assert not (tmp_path / "started").exists()
        assert run([*replay, "--duration", "50ms", "-p", str(os.getpid())]) == 0
        assert "dry run" in capsys.readouterr().out


def test_nothing_is_recorded_of_memory_that_is_not_there(
    capsys: pytest.CaptureFixture[str], recording: str, tmp_path: Path
) -> None:
    """The recording that is replayed touches an address where this program has nothing."""
    words = ["record", "--source", "replay", "--set", f"replay.file={recording}", "-p", str(os.getpid())]
    out = tmp_path / "empty.pghot"
    assert run([*words, "--duration", "100ms", "-o", str(out), "--json"]) == 1
    said, err = capsys.readouterr()
    assert said == ""
    assert "pghot: error: nothing was recorded, because " in err
    assert not out.exists()


def test_an_interrupt_ends_a_run_with_its_summary(
    capsys: pytest.CaptureFixture[str],
    recording: str,
    tmp_path: Path,
    sleeper: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_each_round(monkeypatch, lambda number: number == 3 and os.kill(os.getpid(), signal.SIGINT))
    code = run(
        [
            "run",
            "--source",
            "replay",
            "--set",
            f"replay.file={recording}",
            "-p",
            str(sleeper.pid),
            "--journal",
            str(tmp_path / "j"),
            "--restore",
            "--apply",
        ]
    )
    assert code == 130
    assert "replay" in capsys.readouterr().out
    if (tmp_path / "j").exists():
        assert read_journal(tmp_path / "j").undone


@pytest.mark.parametrize(
    "interrupted, restored, code", [(False, True, 0), (False, False, 1), (True, False, 130)]
)
def test_a_restore_that_left_something_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, interrupted: bool, restored: bool, code: int
) -> None:
    summary = Summary({}, [], interrupted, restored)
    monkeypatch.setattr("pghot.live.run.run_live", lambda *_: summary)
    assert run(["run", *REPLAY, "--json", "--apply", "--restore", "-p", str(os.getpid())]) == code
