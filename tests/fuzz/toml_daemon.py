"""Configurations of the daemon. Each number that is accepted is the one in the file; a refusal names file and key."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

from builders.toml_kind import damaged_file, parsed, refusals_name, same_numbers
from pghot.daemon.config import kinds_of, load_config
from pghot.documents import shipped_text

NAME = "toml_daemon"

_GROUPS = """\
apply = false
sources = ["faults", "abit"]
policy = "pghot-default"
kinds = ["anon", "shmem"]
tracked = "64 GiB"

[[programs]]
name = "databases"
names = ["postgres"]
policy = "pghot-precise"
rate_limit_mb_s = 64
options.hot_threshold = 3

[[programs]]
name = "rest"
users = ["1000"]
min_size = "1 GiB"
leave_out = { names = ["sshd"], users = ["root"], cgroups = ["/user.slice"] }

[nodes]
fast = "0-1"
slow = "2"
leave_out = "3"

[mover]
rate_limit_mb_s = 256
target = "fast-used=90%"
free_floor = "1%"
batch_pages = 512

[service]
interval_ms = 100
max_cpu_percent = 10
metrics = "127.0.0.1:9864"

[options.faults]
scan_period_ms = 200
"""


def _texts() -> tuple[str, ...]:
    """The example, the example with all that is commented out, and one with groups."""
    example = shipped_text("service", "pghot")
    damos = example.replace('kind = "move_pages"', 'kind = "damos"')
    damos = "\n".join(line for line in damos.splitlines() if not line.startswith(("sources", "policy")))
    return (example, damos, _GROUPS)


TEXTS = _texts()


def make(rng: random.Random, folder: Path) -> Path:
    """A damaged configuration."""
    return damaged_file(rng, folder, TEXTS)


def check(made: Path) -> str:
    """Load it as a start, a reload and `--check` do."""
    with refusals_name(str(made)):
        config = load_config(made)
    same_numbers(parsed(made), config.model_dump())
    kinds_of(config)
    for group in config.programs:
        group.targets()
    if config.targets is not None:
        config.targets.targets()
    return "accepted"


for text in TEXTS:
    tomllib.loads(text)
