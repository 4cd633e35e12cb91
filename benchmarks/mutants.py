"""Mutation measurement: how many small faults, put into the code one at a time, do the tests notice?

    python benchmarks/mutants.py run engine --work DIR [--sample 80] [--seed 1]
    python benchmarks/mutants.py again engine --work DIR
    python benchmarks/mutants.py report --work DIR

cosmic-ray makes the mutants and keeps them with their results in one session file a part, so a run that was stopped
goes on where it was. What is ours: a seeded sample (at most one mutant for each place and kind of change, drawn at
random over all places of the part), the rule for what is no behaviour (`not_behaviour`), and the runner. Each mutant
is tried in a forked child that imports the changed source from memory: no file is edited. Numba is switched off, so a
mutant in a kernel costs no compilation.
Needs the optional dependencies "test" and "mutation".
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

# Imported once, before the forks.
import hypothesis
import numba
import pyarrow  # noqa: F401
import pydantic  # noqa: F401
import pytest
from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

ROOT = Path(__file__).parents[1]
# For each test file, and for one test. An endless loop burns processor time, however busy the machine is; a deadlock
# only time.
CPU_S, WALL_S = 40, 300


@dataclass(frozen=True)
class Part:
    """Modules below src/pghot, and the tests that are to notice a fault in them, quickest first.

    slow     tests that take long without Numba and are left out: with them more mutants would be noticed
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    slow: tuple[str, ...] = ()


def _worked(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"unit/{folder}/test_{name}_worked.py" for name in names)


# Tests of policies that replay a recording.
_REPLAYS = (
    "bounds_hold_for_every_policy",
    "promotes_the_hot_set",
    "the_same_seed_gives_the_same_figures",
    "moves_pages_that_fault_soon",
    "only_while_the_slow_tier_is_pressed",
    "pack_the_hot_set",
    "deals_by_bandwidth",
    "keeps_its_classes",
    "no_fixed_placement_beats",
    "slower_under_load",
    "swaps_only_what_repays",
    "from_every_placement",
    "every_result_says_where_a_run_takes_place",
    "samples_at_its_own_rate_and_others",
    "refuses_a_page_that_faulted_late",  # two million pages
    "pays_for_the_walk_of_the_hash_list",
)

PARTS = {
    "engine": Part(
        ("engine/*.py",),
        (
            "unit/engine",
            "property/test_gate.py",
            "property/test_stores.py",
            "property/test_heap.py",
            "property/test_engine_conservation.py",
        ),
        ("lowers_the_threshold_for_pages_that_merely_wait",),
    ),
    "mover": Part(
        tuple(
            f"live/machine/{name}.py"
            for name in ("mover", "eligibility", "room", "bucket", "pingpong", "demotion")
        ),
        (
            "unit/live/machine/test_rates_worked.py",
            "unit/live/machine/test_eligibility_worked.py",
            "unit/live/machine/test_room_worked.py",
            "unit/live/machine/test_demotion_worked.py",
            "unit/live/machine/test_mover_worked.py",
            "unit/live/machine/test_room.py",
            "unit/live/machine/test_mover.py",
            "property/test_machine_kernels.py",
        ),
        ("whatever_the_kernel_answers",),
    ),
    "undo": Part(
        tuple(f"live/{name}.py" for name in ("journal", "journal_file", "knobs", "undo")),
        (
            "unit/live/test_journal_worked.py",
            "unit/live/test_undo_order_worked.py",
            "unit/live/test_stopping_order_worked.py",
            "unit/live/test_journal.py",
        ),
    ),
    "recording": Part(
        ("recording/*.py",),
        (
            "property/test_recording_kernels.py",
            "unit/recording/test_roundtrip.py",
            "unit/recording/test_summary.py",
            "unit/recording/test_coarsen.py",
            "unit/recording/test_compressibility.py",
            "unit/recording/test_convert.py",
            "unit/recording/test_bad_input.py",
            "unit/recording/test_threads.py",
            "unit/recording/test_caches.py",
            "property/test_recording_seal.py",
        ),
        ("every_bundled_recording_has_samples", "many_accesses_span_batches", "every_single_bit"),
    ),
    "sim-machine": Part(
        ("sim/machine/*.py",),
        (
            *_worked("sim/machine", "kernels", "loaded_latency", "moves", "topology", "machine"),
            *_worked("sim/compressed", "access"),
            "unit/sim/machine/test_simulated.py",
            "unit/sim/machine/test_curves.py",
            "unit/sim/machine/test_stuck_kswapd.py",
            "property/test_machine_kernels.py",
            "property/test_loaded_latency.py",
        ),
    ),
    "sim-sources": Part(
        ("sim/sources/*.py",),
        (
            *_worked("sim/sources", "scans", "sampling", "sources", "damon"),
            "unit/sim/sources/test_order_among_equals.py",
            "unit/sim/sources/test_sources.py",
            "property/test_sources_kernels.py",
        ),
        ("is_unbiased_over_seeds",),
    ),
    "sim-policies": Part(
        ("sim/policies/*.py",),
        (
            *_worked("sim/policies", "placements", "numab2", "lru_bw", "colloid", "fixed_placement"),
            *_worked("sim/policies", "tpp", "memtis", "chrono", "alto", "hybridtier", "mtier", "soar"),
            *_worked("sim/policies", "multi_clock", "tpp_colloid", "nomad", "autotiering", "pact"),
            *_worked("policies", "seam", "held_back"),
            "unit/sim/policies/test_policies.py",
        ),
        _REPLAYS,
    ),
    "sim-compressed": Part(
        ("sim/compressed/*.py",),
        (
            *_worked("sim/compressed", "device", "node", "access"),
            "unit/sim/compressed/test_node.py",
            "property/test_compressed_machine.py",
        ),
        ("adversary", "placement_leads", "slow_placement"),
    ),
    "sim-user-space": Part(
        ("sim/user_space/*.py", "sim/lab_world.py"),
        _worked("sim/user_space", "user_space_moves", "user_space"),
    ),
    "policies": Part(
        ("policies/*.py",),
        (
            *_worked("policies", "seam", "hemem", "pghot", "rates", "held_back"),
            "unit/policies/test_decisions.py",
            "property/test_policies_kernels.py",
        ),
        _REPLAYS,
    ),
}


def not_behaviour(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Spans (start, end; line and column) where a change is no fault of a rule, so that no test is due.

    Types, decorators (Numba's, `slots`), `if TYPE_CHECKING`, texts of errors and warnings, the references that
    tests compare with, and hints to the processor's caches (for `engine/prefetch.py` see `mutants`).
    """
    return [
        (
            (part.lineno, 0 if part in _decorators(node) else part.col_offset),
            (part.end_lineno, part.end_col_offset),
        )
        for node in ast.walk(ast.parse(source))
        for part in _no_rule(node)
    ]


def _decorators(node: ast.AST) -> list[ast.expr]:
    return getattr(node, "decorator_list", [])


def _no_rule(node: ast.AST) -> list[ast.AST]:
    """What of this node, without the nodes below it, says nothing about behaviour."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if name.endswith(
            ("_reference", "Reference")
        ):
            return [node, *_decorators(node)]
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*_decorators(node), *([node.returns] if node.returns else [])]
        case ast.ClassDef():
            return _decorators(node)
        case ast.arg(annotation=annotation) if annotation:
            return [annotation]
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")) | ast.JoinedStr():
            return [node]
        case ast.Assign(targets=[ast.Name(id="ahead")]) | ast.AnnAssign(target=ast.Name(id="ahead")):
            return [node]
        case ast.Call(func=ast.Name(id="prefetch")):
            return [node]
        case ast.AnnAssign(annotation=annotation):
            return [annotation]
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return [*node.body]
    return []


def mutants(part: Part, seed: int, sample: int) -> list[WorkItem]:
    """`sample` mutants of the part, drawn by `seed`: none where there is no behaviour, one a place and operator."""
    places: dict[tuple[str, tuple[int, int], str], list[WorkItem]] = {}
    paths = sorted(path for pattern in part.modules for path in (ROOT / "src/pghot").glob(pattern))
    paths = [path for path in paths if not path.stem.endswith(("_reference", "prefetch"))]
    spans = {path: not_behaviour(path.read_text()) for path in paths}
    for item in _all_work_items([path for path in spans if path.read_text()], {}):
        mutation = item.mutations[0]
        if any(start <= mutation.start_pos < end for start, end in spans[mutation.module_path]):
            continue
        kind = mutation.operator_name.split("_")[0]
        places.setdefault((str(mutation.module_path), mutation.start_pos, kind), []).append(item)
    rng = random.Random(seed)
    chosen = rng.sample(sorted(places), min(sample, len(places)))
    return [rng.choice(places[place]) for place in chosen]


class Changed(MetaPathFinder, Loader):
    """Imports one module from a changed source."""

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source
        self.name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        """The module itself, if it is the one."""
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed source as the module. Compiled functions of the unchanged one must not be found for it."""
        source = self.source.replace("@njit(cache=True)", "@njit")
        exec(compile(source, str(self.path), "exec"), module.__dict__)


def run_tests(part: Part, changed: Changed | None, output: Path) -> int:
    """Run the part's tests in a forked child; its exit status, negative for a signal (SIGXCPU: endless)."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if changed:
            sys.meta_path.insert(0, changed)
        os._exit(_pytest(part))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status


def _pytest(part: Part) -> int:
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    numba.config.reload_config()
    try:
        from pghot.engine import prefetch

        prefetch.prefetch = lambda array, index: None
    except Exception as error:
        print(error)
        return 1
    hypothesis.settings.register_profile(
        "mutation",
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=15,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    options = [
        "-x",
        "-q",
        "--tb=line",
        f"--timeout={WALL_S}",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:cov",
        "--hypothesis-profile=mutation",
    ]
    if part.slow:
        options += ["-k", " and ".join(f"not {name}" for name in part.slow)]
    # One after the other: most mutants need only the first to be collected.
    for test in part.tests:
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + CPU_S, resource.RLIM_INFINITY))
        if status := int(pytest.main([*options, str(ROOT / "tests" / test)])):
            return status
    return 0


def judge(part: Part, mutation: MutationSpec, output: Path) -> WorkResult:
    """Whether the tests notice this mutant."""
    operator = get_operator(mutation.operator_name)()
    source = mutation.module_path.read_text()
    changed = mutate_code(source, operator, mutation.occurrence)
    status = run_tests(part, Changed(mutation.module_path, changed), output)
    before, after = source.splitlines(), changed.splitlines()
    diff = "\n".join(
        f"{mutation.module_path.relative_to(ROOT)}:{number}: {old.strip()}  ->  {new.strip()}"
        for number, (old, new) in enumerate(zip(before, after, strict=False), 1)
        if old != new
    )
    timed_out = status in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGALRM)
    words = "timeout" if timed_out else "\n".join(output.read_text(errors="replace").splitlines()[-3:])
    return WorkResult(
        WorkerOutcome.ABNORMAL if timed_out else WorkerOutcome.NORMAL,
        words,
        TestOutcome.SURVIVED if status == 0 else TestOutcome.KILLED,
        diff,
    )


def run(name: str, work: Path, seed: int, sample: int) -> None:
    """Try what is still untried of a part's sample."""
    work.mkdir(parents=True, exist_ok=True)
    session, output = work / f"{name}-{seed}-{sample}.sqlite", work / f"{name}.log"
    with use_db(str(session), WorkDB.Mode.create) as db:
        if not db.num_work_items:
            if run_tests(PARTS[name], None, output) != 0:
                raise SystemExit(f"{name}: the tests fail without a mutant, see {output}")
            db.add_work_items(mutants(PARTS[name], seed, sample))
        pending = list(db.pending_work_items)
        for number, item in enumerate(pending, 1):
            try:
                result = judge(PARTS[name], item.mutations[0], output)
            except AttributeError as error:  # cosmic-ray stumbles over exceptions with a dot in their name
                print(f"{number}/{len(pending)} not made: {error}", flush=True)
                continue
            db.set_result(item.job_id, result)
            print(f"{number}/{len(pending)} {result.test_outcome.value:8} {result.diff}", flush=True)


def again(name: str, work: Path, seed: int, sample: int) -> None:
    """Try a part's survivors once more, with tests that were written since. The measurement stays what it was."""
    session = work / f"{name}-{seed}-{sample}.sqlite"
    with use_db(str(session), WorkDB.Mode.open) as db:
        alive = {job for job, result in db.results if result.test_outcome == TestOutcome.SURVIVED}
        for item in [item for item in db.work_items if item.job_id in alive]:
            result = judge(PARTS[name], item.mutations[0], work / f"{name}.log")
            print(f"{result.test_outcome.value:8} {result.diff}", flush=True)


def wilson_lower(killed: int, tried: int) -> float:
    """The lower end of the 95 % Wilson interval of a share."""
    if not tried:
        return 0.0
    z, share = 1.959964, killed / tried
    middle = share + z * z / (2 * tried)
    spread = z * ((share * (1 - share) + z * z / (4 * tried)) / tried) ** 0.5
    return (middle - spread) / (1 + z * z / tried)


def results(session: Path) -> Iterator[WorkResult]:
    """What was tried."""
    with use_db(str(session), WorkDB.Mode.open) as db:
        yield from (result for _, result in db.results)


def report(work: Path) -> None:
    """A line for each part and one for all; then the survivors."""
    rows, survivors = [], []
    for session in sorted(work.glob("*.sqlite")):
        found = list(results(session))
        alive = [result for result in found if result.test_outcome == TestOutcome.SURVIVED]
        late = sum(result.worker_outcome == WorkerOutcome.ABNORMAL for result in found)
        rows.append((session.stem, len(found), len(found) - len(alive), late))
        survivors += [result.diff for result in alive]
    rows.append(("all", *(sum(row[column] for row in rows) for column in (1, 2, 3))))
    print(f"{'part-seed-sample':24} tried killed (of these timeouts) share lower bound")
    for name, tried, killed, late in rows:
        share = killed / tried if tried else 0.0
        print(f"{name:24} {tried:5} {killed:6} {late:20} {share:5.2f} {wilson_lower(killed, tried):11.3f}")
    print(*survivors, sep="\n")


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["run", "again", "report"])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--work", type=Path, required=True, help="directory of the session files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=60, help="mutants of each part")
    chosen = parser.parse_args()
    if chosen.command == "report":
        report(chosen.work)
        return
    for name in chosen.parts or PARTS:
        (again if chosen.command == "again" else run)(name, chosen.work, chosen.seed, chosen.sample)


if __name__ == "__main__":
    main()
