"""The study file: a TOML document that names axes, and what all of its comparisons share."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from pghot.documents import Strict, parse_document, read_text
from pghot.errors import UsageError
from pghot.lab.code_version import code_version
from pghot.lab.compare import planned
from pghot.lab.setting import Setting
from pghot.lab.sweep.cell import Asked, Cell, Point
from pghot.lab.sweep.inputs import foreign_code, place_of, recording_digest, tiers_digest
from pghot.sim.machine.topology import load_topology
from pghot.units import parse_duration_ns, parse_share, parse_shares, parse_size, parse_size_or_times

MOST_CELLS = 100_000  # at ten seconds each this is a day of twelve cores
AS_FILE = "as-file"


def _axis(value: Any) -> Any:
    """An axis has at least one value. One value alone need not be a list; numbers are as good as texts."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError("the axis is empty: give a value, or leave the key out")
    return [
        str(each) if isinstance(each, int | float) and not isinstance(each, bool) else each for each in values
    ]


Axis = Annotated[tuple[str, ...], BeforeValidator(_axis)]


class SharedKeys(Strict):
    """The table `[setting]`: what all cells share. Keys and values are those of the options of `pghot compare`."""

    threads: int | None = None
    spread: bool = False
    duration: str = "300s"
    phases: str = "stretch"
    slice: str = "50ms"
    warmup: str = ""
    folio: str = "4KiB"
    placement: str = "first-touch"
    mlp: float | None = None


class Study(Strict):
    """A study file.

    recordings  traces, as `pghot compare` takes them, or addresses such as s3://bucket/file
    tiers       shipped tiers or files
    shares      the top tier's shares of the footprint: "20%", "5%..80%", "as-file"
    stands_for  footprints of the real program: "100GiB", "16x"; without: as the recording stands for by itself
    policies, sources, movers, classes, access, set   as the options of `pghot compare`: the runs of each cell
    seeds       how many, from `first_seed` on
    """

    recordings: Axis
    tiers: Axis = ("dram-cxl",)
    shares: Axis = ("20%",)
    stands_for: Axis | None = None
    policies: Axis = ("all",)
    sources: Axis | None = None
    movers: Axis | None = None
    classes: Axis | None = None
    access: Axis | None = None
    set: Axis | None = None
    seeds: int = Field(default=3, ge=1)
    first_seed: int = Field(default=0, ge=0)
    setting: SharedKeys = SharedKeys()


def read_study(path: Path) -> Study:
    """The study in a file. Raises `UsageError`, which names the line and the key."""
    hint = "see docs/sweeps.md for the keys of a study"
    return parse_document(Study, read_text(path, "study", hint), str(path))


def cells_of(study: Study) -> list[Cell]:
    """Every cell of the study, all points under the first seed first: stopped half-way, it has said something of each.

    Names, options and recordings are checked. Raises `UsageError`, also when there are more than `MOST_CELLS`.
    """
    shares, sizes = _shares(study.shares), study.stands_for or (None,)
    count = len(study.recordings) * len(study.tiers) * len(sizes) * len(shares) * study.seeds
    if count > MOST_CELLS:
        raise UsageError(
            f"the study has {shown_count(count)} cells, and a sweep at most {MOST_CELLS:,}",
            "shorten an axis: recordings, tiers, shares, stands_for, seeds",
        )
    asked = Asked(
        study.policies,
        study.sources or (),
        study.set or (),
        study.access or (),
        study.classes or (),
        study.movers or (),
    )
    machines = {name: load_topology(name) for name in study.tiers}
    runs = {name: planned(tiers, **asked.words()) for name, tiers in machines.items()}
    foreign = {name: foreign_code(specs) for name, specs in runs.items()}
    tiers_digests = {name: tiers_digest(tiers) for name, tiers in machines.items()}
    places = {name: place_of(name) for name in study.recordings}
    digests = {name: recording_digest(place) for name, place in places.items()}
    shared, code = _shared(study.setting), code_version()

    def cell(point: Point, seed: int) -> Cell:
        text = point.stands_for
        size, times = (None, None) if text is None else parse_size_or_times(text)
        return Cell(
            point,
            places[point.recording],
            digests[point.recording],
            machines[point.tiers],
            tiers_digests[point.tiers],
            Setting(
                fast_share=point.fast_share,
                stands_for=size,
                times=times,
                seeds=1,
                first_seed=seed,
                **shared,
            ),
            asked,
            runs[point.tiers],
            foreign[point.tiers],
            code,
        )

    points = [Point(*each) for each in product(study.recordings, study.tiers, sizes, shares)]
    seeds = range(study.first_seed, study.first_seed + study.seeds)
    found: dict[str, Cell] = {}
    for each in (cell(point, seed) for seed in seeds for point in points):
        found.setdefault(each.key, each)  # two names of one thing make one cell
    return list(found.values())


def shown_count(count: int) -> str:
    """A number of cells, short however large it is.

    >>> shown_count(123456), shown_count(10**20)
    ('123,456', 'over 1,000,000,000,000')
    """
    return f"{count:,}" if count < 10**12 else f"over {10**12:,}"


def _shares(texts: tuple[str, ...]) -> list[float | None]:
    found: list[float | None] = []
    for text in texts:
        found += [None] if text == AS_FILE else parse_shares(text)
    return list(dict.fromkeys(found))


def _shared(keys: SharedKeys) -> dict[str, Any]:
    """Fields of `Setting`."""
    return {
        "threads": keys.threads,
        "spread": keys.spread,
        "duration_s": None if keys.duration == "one-pass" else parse_duration_ns(keys.duration) / 1e9,
        "phases": keys.phases,
        "slice_ms": parse_duration_ns(keys.slice) / 1e6,
        "warmup": parse_share(keys.warmup) if keys.warmup else None,
        "page_bytes": parse_size(keys.folio),
        "placement": keys.placement,
        "mlp": keys.mlp,
    }
