"""A cell of a sweep: one comparison under one seed.

A cell has all policies and sources of the study. They share what costs most beside their own replay: decoding the
recording, the truth, the probe, and the baselines that they are judged by. Another seed shares none of that, as a
comparison draws, loads and measures anew for each; so a seed is the smallest part that costs nothing extra.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from pghot.errors import PghotError
from pghot.lab.code_version import code_version
from pghot.lab.compare import compare
from pghot.lab.results import Comparison
from pghot.lab.run_spec import RunSpec
from pghot.lab.setting import Setting
from pghot.lab.sweep.inputs import recording_digest, text_digest
from pghot.sim.machine.topology import Topology
from pghot.units import format_number


@dataclass(frozen=True, slots=True)
class Point:
    """What the cells of a study share that differ in their seed alone, in the words of the study.

    stands_for  None: what the recording stands for by itself
    fast_share  None: capacities as in the tiers file
    """

    recording: str
    tiers: str
    stands_for: str | None
    fast_share: float | None

    def __str__(self) -> str:
        share = (
            "capacities as in the file"
            if self.fast_share is None
            else f"{format_number(100 * self.fast_share)}%"
        )
        return ", ".join(filter(None, (self.recording, self.tiers, self.stands_for, share)))


@dataclass(frozen=True, slots=True)
class Asked:
    """Which runs a study asks for, as `compare` takes them."""

    policies: Sequence[str]
    sources: Sequence[str]
    options: Sequence[str]
    access: Sequence[str]
    classes: Sequence[str]
    movers: Sequence[str]

    def words(self) -> dict[str, Any]:
        """As keyword arguments of `compare` and `planned`."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True)
class Cell:
    """One comparison under one seed.

    place             the recording by a name that holds wherever the cell is computed
    recording_digest  see `lab.sweep.inputs`, as `tiers_digest`
    setting           with one seed, `setting.first_seed`
    runs              what `asked` comes to on these tiers
    foreign           digests of the code of other packages that they use (`lab.sweep.inputs.foreign_code`)
    code              version of the code that is to compute it (`lab.code_version`)
    """

    point: Point
    place: str
    recording_digest: str
    topology: Topology
    tiers_digest: str
    setting: Setting
    asked: Asked
    runs: Sequence[RunSpec]
    foreign: Sequence[str]
    code: str

    @cached_property
    def key(self) -> str:
        """32 hex digits that stand for all inputs and the code. What the study calls them does not matter."""
        runs = sorted(json.dumps(asdict(spec), sort_keys=True, default=str) for spec in self.runs)
        inputs = {
            "code": [self.code, *self.foreign],
            "recording": self.recording_digest,
            "tiers": self.tiers_digest,
            "setting": asdict(self.setting),
            "runs": runs,
        }
        return text_digest(json.dumps(inputs, sort_keys=True))

    def __str__(self) -> str:
        return f"{self.point}, seed {self.setting.first_seed}"

    def compute(self) -> Comparison:
        """Compare. Raises as `compare`, and `PghotError` where code or recording are not those of the cell."""
        if self.code != (here := code_version()):
            raise PghotError(
                f"this worker runs another version of pghot ({here}) than the sweep ({self.code})",
                "install the same version on every machine of the cluster",
            )
        if self.recording_digest != recording_digest(self.place):
            raise PghotError(
                f"{self.point.recording} is not what it was when the sweep began", "start the sweep again"
            )
        return compare(self.place, self.topology, setting=self.setting, **self.asked.words())
