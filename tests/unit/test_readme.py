"""README and first steps do what they say: the Python runs, the policy joins from outside, the commands parse."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = "\n".join((ROOT / name).read_text() for name in ("README.md", "docs/first-steps.md"))
MAKEFILE = (ROOT / "Makefile").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    shlex.split(line.strip())[1:] for line in README.splitlines() if line.startswith("    .venv/bin/pghot ")
]
PGHOT = str(Path(sys.executable).with_name("pghot"))


def run(arguments: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PGHOT, *arguments], cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False
    )


@pytest.mark.heavy
def test_the_python_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    example = next(block for block in PYTHON if "pghot.compare" in block)
    monkeypatch.chdir(ROOT)
    exec(compile(example, "README.md", "exec"), {})
    assert "pghot-precise/abit" in capsys.readouterr().out


@pytest.mark.heavy
def test_make_run_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The command of the Makefile; the README shows a part of its lines, in their order."""
    names = dict(re.findall(r"^(RECORDING|POLICIES) := (.*)$", MAKEFILE, re.MULTILINE))
    rule = re.search(r"^run: .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert rule is not None
    command = re.sub(r"\$\((\w+)\)", lambda name: names.get(name[1], name[0]), rule[1].replace("\\\n", " "))
    words = shlex.split(command)
    assert words[0] == "$(BIN)/pghot"
    done = run(words[1:], tmp_path)
    assert done.returncode == 0, done.stderr
    shown = re.search(r"^    SIMULATED: .*\n(?:(?: {4}.*)?\n)*", README, re.MULTILINE)
    assert shown is not None
    printed = iter([line.strip() for line in done.stdout.splitlines()])
    for line in filter(None, map(str.strip, shown[0].splitlines())):
        assert line in printed, f"not printed, or not in this order: {line}"
    assert (tmp_path / "report.html").exists()


@pytest.mark.heavy
def test_the_policy_of_the_readme_joins_from_an_outside_package(tmp_path: Path) -> None:
    (tmp_path / "my_package.py").write_text(next(block for block in PYTHON if "class SecondTouch" in block))
    entry = re.search(r"```toml\n\[project\.entry-points\.\"(.*?)\"\]\n(.*?)```", README, re.DOTALL)
    assert entry is not None
    facts = tmp_path / "my_package-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(f"[{entry[1]}]\n{entry[2].replace(chr(34), '')}")
    arguments = [
        "compare",
        "bundled:redis-zipf",
        "--policies",
        "second-touch",
        "--duration",
        "60s",
        "--seeds",
        "1",
        "--json",
    ]
    done = run(arguments, tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = {row["label"]: row for row in json.loads(done.stdout)["summary"]}
    assert rows["second-touch/pebs"]["promotions"] > 0
    assert rows["second-touch/pebs"]["fast_miss_share"] > rows["none"]["fast_miss_share"]
    assert "second-touch" in run(["list", "policies"], tmp_path, PYTHONPATH=str(tmp_path)).stdout
    assert run(arguments, tmp_path).returncode == 2, "without the package there is no such policy"


@pytest.mark.heavy
@pytest.mark.parametrize("command", [c for c in COMMANDS if "workload:gups" not in c], ids=" ".join)
def test_the_commands_of_the_readme_work(command: list[str], tmp_path: Path) -> None:
    if command[0] == "compare" and "--seeds" not in command:
        command = [*command, "--seeds", "1"]  # two more of them repeat the same
    if command[0] in ("record", "run"):  # tests/unit/test_docs.py parses them
        done = run([command[0], "--help"], tmp_path)
    elif "ls.pghot" in command:
        recording = ROOT / "src/pghot/data/recordings/redis-zipf.pghot"
        done = run([str(recording) if word == "ls.pghot" else word for word in command], tmp_path)
    else:
        done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
