"""A recording played like a film on a full screen: `pghot top FILE` and `pghot run --what-if --view`."""

from __future__ import annotations

from pghot.errors import UsageError

BINS = 512  # of time
USUAL_S = 60.0  # in which a recording is played


def play_recording(recording: str, speed: float | None = None) -> None:
    """Until a key ends it. speed: of the recording's time; None: all of it in a minute. Raises `UsageError` when no
    page was touched."""
    from pghot.cli.report_options import opened, read
    from pghot.cli.screen import Screen
    from pghot.recording.activity import Activities
    from pghot.recording.heat import Heat, measure_of
    from pghot.recording.time_bins import at_most
    from pghot.recording.totals import PageTotals
    from pghot.report.view.replay_screen import play
    from pghot.report.view.tape import Tape

    trace = opened(recording)
    if not trace.footprint_pages:
        raise UsageError(f"{trace.info.name} has nothing to play: no page was touched", "record for longer")
    time = at_most(trace, BINS)
    heat, lives, totals = (
        Heat(trace, measure_of(trace), time),
        Activities(trace, time),
        PageTotals(trace.pages),
    )
    read(trace, heat, lives, totals)
    tape = Tape(trace.info.name, time, heat, totals, lives.result())
    play(tape, speed or tape.seconds / USUAL_S, Screen().colour)
