"""Makes the bundled recordings: `python benchmarks/recordings/make.py [--samples] [NAME...]` (all without names).

With --samples it records each program once more, with samples of its page contents, and keeps only these
(src/pghot/data/page_samples): the recordings stay as they are. For these runs the values in redis-zipf and
sqlite-mix are pieces of Python's library: those of the recordings are filler, which compresses as no user's data.

Each is a real program under `pghot record`, in a scratch directory, with the command and the cache size given
here. Needs qemu-user, a C compiler, redis-server, sqlite3, stockfish, fasttext and xz, and duckdb in this
environment; half an hour of two cores.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import inputs

from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import MemoryTrace, Region
from pghot.recording.writer import write_recording
from pghot.units import format_size

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "src" / "pghot" / "data" / "recordings"
SAMPLES = OUT.with_name("page_samples")
MAX_BYTES = 4 << 20
MIN_FOOTPRINT = 64 << 20


@dataclass(frozen=True)
class Recipe:
    """One recording. `prepare` fills the scratch directory; `client` runs beside the recorder (its process is
    given); `note` says what the program does. For samples `fill` prepares more, and `contents` says what."""

    name: str
    command: list[str]
    note: str
    slice: str = "1 ms"
    llc: str = "1 MiB"
    prepare: Callable[[Path], None] = lambda scratch: None
    client: Callable[[Path, subprocess.Popen[bytes]], None] = lambda scratch, recorder: None
    fill: Callable[[Path], object] = lambda scratch: None
    contents: str = ""


def redis_client(scratch: Path, recorder: subprocess.Popen[bytes]) -> None:
    """The load generator; the server shuts down at its end."""
    load = [sys.executable, str(HERE / "redis_load.py"), "redis.sock", "160000", "500000"]
    load += ["text"] if (scratch / "text").exists() else []
    subprocess.run(load, cwd=scratch, check=True)


def compile_bfs(scratch: Path) -> None:
    source = str(HERE / "bfs.c")
    subprocess.run(["cc", "-O2", "-pthread", "-o", str(scratch / "bfs"), source], check=True)


def copy_duckdb_mix(scratch: Path) -> None:
    (scratch / "duckdb_mix.py").write_text((HERE / "duckdb_mix.py").read_text())
    (scratch / "venv").symlink_to(sys.prefix)


def stop_when_saving(scratch: Path, recorder: subprocess.Popen[bytes]) -> None:
    """fasttext writes its vectors as text for longer than it trains: end there."""
    while recorder.poll() is None and not (scratch / "model.vec").exists():
        time.sleep(0.2)
    if recorder.poll() is None:
        recorder.send_signal(signal.SIGINT)


def fill_sqlite(scratch: Path) -> None:
    inputs.sqlite_script(scratch / "mix.sql", 350_000, 60_000, inputs.library_text(1 << 20))


LIBRARY = ", with pieces of Python's library as values"

FASTTEXT_OPTIONS = ["-input", "text.txt", "-output", "model", "-minCount", "1", "-maxn", "0", "-dim", "100"]
FASTTEXT_OPTIONS += ["-epoch", "1", "-thread", "2", "-verbose", "0"]

RECIPES = [
    Recipe(
        "redis-zipf",
        ["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"],
        "160,000 keys of 200 to 700 bytes, then 500,000 requests (90 % get, 10 % set), zipf 0.99, pipelined",
        slice="2 ms",
        client=redis_client,
        fill=lambda scratch: (scratch / "text").write_bytes(inputs.library_text(8 << 20)),
        contents=LIBRARY,
    ),
    Recipe(
        "sqlite-mix",
        ["sqlite3", ":memory:", ".read mix.sql"],
        "350,000 rows with an index, 60,000 statements: 80 % skewed lookups, ranges, joins, updates",
        prepare=lambda scratch: inputs.sqlite_script(scratch / "mix.sql", 350_000, 60_000),
        fill=fill_sqlite,
        contents=LIBRARY,
    ),
    Recipe(
        "bfs-kron",
        ["./bfs", "19", "16", "16", "2"],
        "Kronecker graph of 2^19 vertices and 2^23 edges generated, sorted into rows, 16 searches, 2 threads",
        slice="16 ms",
        prepare=compile_bfs,
    ),
    Recipe(
        "duckdb-mix",
        ["venv/bin/python", "duckdb_mix.py", "2000000", "12", "2"],
        "tables of 2,000,000 and 100,000 rows, 12 rounds of scan, join, group-by, lookups, 2 threads",
        slice="2 ms",
        prepare=copy_duckdb_mix,
    ),
    Recipe(
        "fasttext-zipf",
        ["fasttext", "skipgram", *FASTTEXT_OPTIONS],
        "skip-gram embeddings of 40,000 words, 80,000 zipfian tokens, 2 threads; ended once it was saved",
        slice="16 ms",
        prepare=lambda scratch: inputs.zipf_text(scratch / "text.txt", 40_000, 40_000),
        client=stop_when_saving,
    ),
    Recipe(
        "xz-decompress",
        ["xz", "-dc", "data.xz"],
        "160 MiB of Python's library decompressed with a 96 MiB dictionary",
        slice="2 ms",
        prepare=lambda scratch: inputs.xz_archive(scratch / "data.xz", 160 << 20),
    ),
    Recipe(
        "stockfish-bench",
        ["stockfish", "bench", "96", "2", "9"],
        "chess search: transposition table of 96 MiB, network of 45 MB, 2 threads, built-in bench, depth 9",
        slice="4 ms",
    ),
]


# Debian keeps chess programs where a server's PATH does not look.
PATH = os.environ["PATH"] + ":/usr/games"


def pghot() -> list[str]:
    return os.environ.get("PGHOT", str(Path(sys.executable).with_name("pghot"))).split()


def make(recipe: Recipe, samples: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="recording-") as directory:
        scratch = Path(directory)
        recipe.prepare(scratch)
        if samples:
            recipe.fill(scratch)
        raw = scratch / f"{recipe.name}.pghot"
        options = ["--slice", recipe.slice, "--llc", recipe.llc, "--note", recipe.note]
        options += ["--compressibility"] if samples else []
        with (scratch / "stdout").open("wb") as out:
            recorder = subprocess.Popen(
                [*pghot(), "record", "-o", str(raw), *options, "--", *recipe.command],
                cwd=scratch,
                stdout=out,
                env=os.environ | {"PATH": PATH},
            )
            recipe.client(scratch, recorder)
            if recorder.wait() not in (0, 130):
                raise SystemExit(f"{recipe.name}: pghot record failed")
        (publish_samples if samples else publish)(recipe, open_recording(raw), scratch)


def publish(recipe: Recipe, recording: Recording, scratch: Path) -> None:
    """Write it again, compressed harder and with file names that do not depend on this machine."""
    trace = MemoryTrace(
        replace(recording.info, name=recipe.name),
        recording.pages,
        tuple(public_region(region, scratch) for region in recording.regions),
        list(recording.batches(by_thread=True)),
    )
    facts = {key: value for key, value in recording.final.items() if key != "pages"}
    path = OUT / f"{recipe.name}.pghot"
    OUT.mkdir(parents=True, exist_ok=True)
    write_recording(path, trace, level=19, force=True, **facts)
    footprint = recording.footprint_pages * recording.info.page_bytes
    size = path.stat().st_size
    print(
        f"{recipe.name}: {recording.slices} slices, {recording.rows} rows, {format_size(footprint)} touched, "
        f"{recording.total_touches / 1e6:.0f} M touches, {recording.total_misses / 1e6:.1f} M misses, "
        f"{recording.info.threads} threads, {format_size(size)}",
        flush=True,
    )
    if size > MAX_BYTES or footprint < MIN_FOOTPRINT:
        raise SystemExit(
            f"{recipe.name}: at most {format_size(MAX_BYTES)} and at least {format_size(MIN_FOOTPRINT)}"
        )


def publish_samples(recipe: Recipe, recording: Recording, scratch: Path) -> None:
    """Regions and samples, without slices."""
    samples = recording.compressibility
    if samples is None:
        raise SystemExit(f"{recipe.name}: it ended before a page was sampled")
    notes = (f"another run of the same command{recipe.contents}",)
    info = replace(recording.info, name=recipe.name, notes=notes)
    regions = tuple(public_region(region, scratch) for region in recording.regions)
    SAMPLES.mkdir(parents=True, exist_ok=True)
    path = SAMPLES / f"{recipe.name}.pghot"
    write_recording(path, MemoryTrace(info, recording.pages, regions, [], samples), force=True)
    print(f"{recipe.name}: {len(samples)} samples, {format_size(path.stat().st_size)}", flush=True)


def public_region(region: Region, scratch: Path) -> Region:
    name = region.name
    for prefix, short in (
        (scratch, "."),
        (Path(sys.prefix).resolve(), "venv"),
        (Path(sys.base_prefix), "python"),
    ):
        name = name.replace(f"{prefix}/", f"{short}/") if prefix != Path("/usr") else name
    return replace(region, name=name)


def main(names: list[str]) -> None:
    samples = "--samples" in names
    names = [name for name in names if name != "--samples"]
    known = [recipe.name for recipe in RECIPES]
    if unknown := set(names) - set(known):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    for recipe in RECIPES:
        if not names or recipe.name in names:
            make(recipe, samples)


if __name__ == "__main__":
    main(sys.argv[1:])
