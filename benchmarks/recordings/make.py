"""Makes the bundled recordings: `python benchmarks/recordings/make.py [--samples] [NAME...]` (all without names).

With --samples it records each program once more, with samples of its page contents, and keeps only these
(src/pghot/data/page_samples): the recordings stay as they are. For these runs the values in redis-zipf and
sqlite-mix are pieces of Python's library: those of the recordings are filler, which compresses as no user's data.

Each is a real program under `pghot record`, in a scratch directory, with the command given here. What a program
only loads was made before, outside of the emulator. Slices are joined until the file is small enough. Needs qemu-user,
a C compiler, redis-server, sqlite3, nodejs, stockfish, fasttext and xz, and duckdb in this environment; half an hour
of two cores.
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

from pghot.recorder.slice_fit import joined
from pghot.recording.reader import Recording, open_recording
from pghot.recording.trace import MemoryTrace, Region, TraceInfo
from pghot.recording.writer import write_recording
from pghot.units import format_size

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "src" / "pghot" / "data" / "recordings"
SAMPLES = OUT.with_name("page_samples")
MIN_FOOTPRINT = 256 << 20
MIN_SLICES = 200
FACTORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)  # slices joined to one
CACHES = "256 KiB, 1 MiB, 4 MiB"


@dataclass(frozen=True)
class Recipe:
    """One recording. `prepare` fills the scratch directory; `client` runs beside the recorder (its process is
    given); `note` says what the program does. For samples `fill` prepares more, and `contents` says what."""

    name: str
    command: list[str]
    note: str
    slice: str = "1 ms"
    max_bytes: int = 4 << 20
    prepare: Callable[[Path], None] = lambda scratch: None
    client: Callable[[Path, subprocess.Popen[bytes]], None] = lambda scratch, recorder: None
    fill: Callable[[Path], object] = lambda scratch: None
    contents: str = ""


def redis_client(scratch: Path, recorder: subprocess.Popen[bytes]) -> None:
    """The load generator; the server shuts down at its end."""
    load = [sys.executable, str(HERE / "redis_load.py"), "redis.sock", "480000", "300000"]
    load += ["text"] if (scratch / "text").exists() else []
    subprocess.run(load, cwd=scratch, check=True)


def compile_bfs(scratch: Path) -> None:
    source = str(HERE / "bfs.c")
    subprocess.run(["cc", "-O2", "-pthread", "-o", str(scratch / "bfs"), source], check=True)
    subprocess.run(["./bfs", "make", "graph.bin", "20", "32"], cwd=scratch, check=True)


def prepare_mapped(scratch: Path, text: bytes = b"") -> None:
    """A database file, and statements that only read it."""
    inputs.sqlite_script(scratch / "mix.sql", 1_200_000, 0, text)
    (scratch / "mapped.db").unlink(missing_ok=True)
    subprocess.run(["sqlite3", "mapped.db", ".read mix.sql"], cwd=scratch, check=True)
    inputs.sqlite_reads(scratch / "reads.sql", 1_200_000, 60_000)


def prepare_rank(scratch: Path) -> None:
    copy_program(scratch, "shared_rank.py")
    make = ["venv/bin/python", "shared_rank.py", "--make", *RANK[:2]]
    subprocess.run(make, cwd=scratch, check=True)


def node_client(scratch: Path, recorder: subprocess.Popen[bytes]) -> None:
    load = [sys.executable, str(HERE / "node_load.py"), "node.sock", "90000", "90000"]
    subprocess.run(load, cwd=scratch, check=True)


def copy_program(scratch: Path, name: str) -> None:
    (scratch / name).write_text((HERE / name).read_text())
    (scratch / "venv").symlink_to(sys.prefix)


def stop_when_saving(scratch: Path, recorder: subprocess.Popen[bytes]) -> None:
    """fasttext writes its vectors as text for longer than it trains: end there."""
    while recorder.poll() is None and not (scratch / "model.vec").exists():
        time.sleep(0.2)
    if recorder.poll() is None:
        recorder.send_signal(signal.SIGINT)


def fill_sqlite(scratch: Path) -> None:
    inputs.sqlite_script(scratch / "mix.sql", 900_000, 60_000, inputs.library_text(1 << 20))


RANK = ["1000000", "64000000", "3", "4"]

LIBRARY = ", with pieces of Python's library as values"

FASTTEXT_OPTIONS = ["-input", "text.txt", "-output", "model", "-minCount", "1", "-maxn", "0", "-dim", "100"]
FASTTEXT_OPTIONS += ["-ws", "2", "-neg", "3", "-epoch", "1", "-thread", "2", "-verbose", "0"]

RECIPES = [
    Recipe(
        "redis-zipf",
        ["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"],
        "480,000 keys of 200 to 700 bytes, then 300,000 requests (90 % get, 10 % set), zipf 0.99, pipelined",
        slice="4 ms",
        client=redis_client,
        fill=lambda scratch: (scratch / "text").write_bytes(inputs.library_text(8 << 20)),
        contents=LIBRARY,
    ),
    Recipe(
        "sqlite-mix",
        ["sqlite3", ":memory:", ".read mix.sql"],
        "900,000 rows with an index, 60,000 statements: 80 % skewed lookups, ranges, joins, updates",
        slice="4 ms",
        prepare=lambda scratch: inputs.sqlite_script(scratch / "mix.sql", 900_000, 60_000),
        fill=fill_sqlite,
        contents=LIBRARY,
    ),
    Recipe(
        "bfs-kron",
        ["./bfs", "search", "graph.bin", "1", "4"],
        "breadth-first search of a Kronecker graph of 2^20 vertices and 2^25 edges from one root, 4 threads",
        max_bytes=8 << 20,
        prepare=compile_bfs,
    ),
    Recipe(
        "sqlite-mapped",
        ["sqlite3", "mapped.db", "pragma mmap_size=1073741824", ".read reads.sql"],
        "a database file of 1,200,000 rows mapped into memory: a scan, then 60,000 lookups, ranges and joins",
        prepare=prepare_mapped,
        fill=lambda scratch: prepare_mapped(scratch, inputs.library_text(1 << 20)),
        contents=LIBRARY,
    ),
    Recipe(
        "shared-rank",
        ["venv/bin/python", "shared_rank.py", *RANK],
        "PageRank by 4 processes over one graph of 10^6 vertices and 6.4*10^7 edges in shared memory, 3 rounds",
        prepare=prepare_rank,
        max_bytes=8 << 20,
    ),
    Recipe(
        "node-cache",
        ["node", str(HERE / "node_cache.js"), "node.sock"],
        "a cache service in Node.js: 90,000 values of 1 to 3 kB, then 90,000 requests, 90 % reads, zipf 0.99",
        slice="4 ms",
        client=node_client,
        fill=lambda scratch: (scratch / "text").write_bytes(inputs.library_text(8 << 20)),
        contents=LIBRARY,
    ),
    Recipe(
        "duckdb-mix",
        ["venv/bin/python", "duckdb_mix.py", "4000000", "6", "2"],
        "tables of 4,000,000 and 200,000 rows, 6 rounds of scan, join, group-by, lookups, 2 threads",
        slice="4 ms",
        prepare=lambda scratch: copy_program(scratch, "duckdb_mix.py"),
    ),
    Recipe(
        "fasttext-zipf",
        ["fasttext", "skipgram", *FASTTEXT_OPTIONS],
        "skip-gram embeddings of 40,000 words, 60,000 zipfian tokens, 2 threads; ended once it was saved",
        slice="4 ms",
        prepare=lambda scratch: inputs.zipf_text(scratch / "text.txt", 40_000, 20_000),
        client=stop_when_saving,
    ),
    Recipe(
        "xz-decompress",
        ["xz", "-dc", "data.xz"],
        "320 MiB of Python's library decompressed with a 256 MiB dictionary",
        slice="4 ms",
        prepare=lambda scratch: inputs.xz_archive(scratch / "data.xz", 320 << 20),
    ),
    Recipe(
        "stockfish-bench",
        ["stockfish", "bench", "128", "2", "9"],
        "chess search: transposition table of 128 MiB, network of 45 MB, 2 threads, built-in bench, depth 9",
        slice="2 ms",
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
        options = ["--slice", recipe.slice, "--llc", CACHES, "--note", recipe.note]
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
    """Write it again: slices joined until it fits, compressed harder, with file names that do not depend on this
    machine."""
    path = OUT / f"{recipe.name}.pghot"
    OUT.mkdir(parents=True, exist_ok=True)
    factors = iter(FACTORS)
    while recording.file_bytes > 3 * (factor := next(factors)) * recipe.max_bytes:
        pass  # level 19 and joined slices save less than that
    write_public(recipe, recording, scratch, path, factor)
    while path.stat().st_size > recipe.max_bytes:
        write_public(recipe, recording, scratch, path, factor := next(factors))
    path.chmod(0o644)
    made = open_recording(path)
    footprint = made.footprint_pages * made.info.page_bytes
    misses = ", ".join(f"{count / 1e6:.1f}" for count in made.misses_by_cache)
    print(
        f"{recipe.name}: {made.slices} slices of {made.info.slice_ns / 1e6:g} ms, {made.rows} rows, "
        f"{format_size(footprint)} touched, {made.total_touches / 1e6:.0f} M touches, {misses} M misses, "
        f"{made.info.threads} threads, {format_size(path.stat().st_size)}",
        flush=True,
    )
    if footprint < MIN_FOOTPRINT or made.slices < MIN_SLICES:
        raise SystemExit(f"{recipe.name}: at least {format_size(MIN_FOOTPRINT)} and {MIN_SLICES} slices")


def write_public(recipe: Recipe, recording: Recording, scratch: Path, path: Path, factor: int) -> None:
    info = public_info(recipe, recording, scratch)
    trace = MemoryTrace(
        replace(info, slice_ns=info.slice_ns * factor),
        recording.pages,
        tuple(public_region(region, scratch) for region in recording.regions),
        list(joined(recording.batches(by_thread=True), info.slice_ns, factor)),
    )
    facts = {key: value for key, value in recording.final.items() if key != "pages"}
    write_recording(path, trace, level=19, force=True, **facts)


def public_info(recipe: Recipe, recording: Recording, scratch: Path) -> TraceInfo:
    processes = recording.info.processes
    return replace(
        recording.info,
        name=recipe.name,
        command=public_command(recipe),
        processes=tuple(replace(process, name=public_name(process.name, scratch)) for process in processes),
    )


def public_command(recipe: Recipe) -> tuple[str, ...]:
    return tuple(word.replace(f"{HERE}/", "") for word in recipe.command)


def publish_samples(recipe: Recipe, recording: Recording, scratch: Path) -> None:
    """Regions and samples, without slices."""
    samples = recording.compressibility
    if samples is None:
        raise SystemExit(f"{recipe.name}: it ended before a page was sampled")
    notes = (f"another run of the same command{recipe.contents}",)
    info = replace(public_info(recipe, recording, scratch), notes=notes)
    regions = tuple(public_region(region, scratch) for region in recording.regions)
    SAMPLES.mkdir(parents=True, exist_ok=True)
    path = SAMPLES / f"{recipe.name}.pghot"
    write_recording(path, MemoryTrace(info, recording.pages, regions, [], samples), force=True)
    print(f"{recipe.name}: {len(samples)} samples, {format_size(path.stat().st_size)}", flush=True)


def public_region(region: Region, scratch: Path) -> Region:
    return replace(region, name=public_name(region.name, scratch))


def public_name(name: str, scratch: Path) -> str:
    """A file's name as it does not depend on this machine."""
    for prefix, short in (
        (scratch, "."),
        (Path(sys.prefix).resolve(), "venv"),
        (Path(sys.base_prefix), "python"),
    ):
        name = name.replace(f"{prefix}/", f"{short}/") if prefix != Path("/usr") else name
    return name


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
