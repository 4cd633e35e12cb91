"""The tuned policy as the TOML file that `pghot run -c` takes, and the daemon with programs of its own."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pghot.errors import UsageError
from pghot.lab.run_spec import RunSpec
from pghot.lab.tuned import Tuned
from pghot.policies import LIVE_POLICIES
from pghot.policies.runs_on import live_twin
from pghot.report.tuned_text import conclusions
from pghot.sim.sources import SOURCES


def check_writable(spec: RunSpec) -> None:
    """Raise `UsageError` for a run that a live configuration cannot describe."""
    hint = "leave -o out: the options are printed for `pghot compare`"
    if spec.policy not in LIVE_POLICIES.names():
        raise UsageError(f"'{spec.policy}' does not run live, so no configuration can be written", hint)
    if spec.runs_on != "user space":
        raise UsageError(
            f"'{spec.label}' is no run of pghot on a released kernel, so no configuration can be written",
            hint,
        )
    LIVE_POLICIES.make(spec.policy, **spec.options)


def render(found: Tuned) -> str:
    """The file."""
    spec = found.spec
    sources = [live_twin(SOURCES.get(name)) for name in spec.sources]
    told = [
        f"{spec.label}, tuned on {', '.join(found.recordings)} (simulated, {found.setup.tiers})",
        *conclusions(found),
    ]
    if any(spec.source_options.values()):
        told.append(
            "the lab's source had options of its own, which are not in here: a live source has others"
        )
    lines = [
        *(f"# {part}" for each in told for part in textwrap.wrap(each, 100)),
        "# For pghot run -c FILE -p PID. The daemon takes it too, with the programs: [targets] names = [...]",
        f"sources = {json.dumps(sources)}",
        f"policy = {json.dumps(spec.policy)}",
    ]
    if found.options:
        lines += ["", f"[options.{spec.policy}]"]
        lines += [f"{name} = {_value(value)}" for name, value in found.options.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """As TOML, which writes numbers, words, truths and lists as JSON does."""
    return json.dumps(sorted(value) if isinstance(value, tuple | frozenset | set) else value)
