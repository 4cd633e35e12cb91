"""Some inputs of each kind, the same ones in each run. `make fuzz` runs other ones for hours."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fuzz import harness

KINDS = harness.kinds()


@pytest.mark.parametrize("name", KINDS)
def test_a_few_inputs_of_each_kind(name: str) -> None:
    inputs = harness.quick_inputs(KINDS[name])
    command = [
        sys.executable,
        harness.HERE / "run.py",
        name,
        "--seed",
        "23",
        "--inputs",
        str(inputs),
        "--json",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counted = json.loads(ended.stdout)["kinds"][name]
    assert counted["inputs"] == inputs
    assert counted["refused"], "no input was refused: the kind damages nothing"
    assert counted["accepted"], "no input was accepted: the kind compares nothing"
