"""What each seed of a comparison replays: the trace as the real system's cache saw it, or a sample of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pghot.lab.page_sample import draw_samples
from pghot.lab.recorded_cache import seen_by_the_real_cache
from pghot.lab.setting import Setting
from pghot.lab.traces import differs_by_seed, load_trace
from pghot.recording.trace import Trace
from pghot.sim.machine.topology import Topology


def played_traces(
    recording: str | Path | Trace, topology: Topology, setting: Setting
) -> Iterator[tuple[int, Trace]]:
    """Each seed and its trace. What is the same under every seed is read for all samples at once."""
    seeds = range(setting.first_seed, setting.first_seed + setting.seeds)

    def heard(seed: int) -> Trace:
        trace = load_trace(recording, seed, setting.page_bytes)
        return seen_by_the_real_cache(trace, topology.llc_bytes, setting.stands_for, setting.times)

    if setting.sample is None:
        yield from ((seed, heard(seed)) for seed in seeds)
    elif differs_by_seed(recording):
        yield from ((seed, draw_samples(heard(seed), setting.sample, [seed])[0]) for seed in seeds)
    else:
        drawn = draw_samples(heard(setting.first_seed), setting.sample, seeds)
        while drawn:  # what was replayed is let go
            yield seeds[len(seeds) - len(drawn)], drawn.pop(0)
