"""An independent reader of verdicts: it takes each sentence apart and computes its figures anew from the table.

It knows the sentences as a reader does, by their words, and shares no code with the verdict. A sentence that it does
not know is an error, so that none can be added unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from pghot.lab.outcomes import SummaryRow
from pghot.lab.verdict import Verdict

MATTERS, IDLE = 0.02, 0.001
GAIN = r"([+-]\d+\.\d|0\.0) %(?: ± (\d+\.\d))?"  # nothing has no sign
LABEL = r"(.+?)"
TITLES = {
    "kernel": "The kernel alone",
    "user space": "A released kernel with pghot in user space",
    "to come": "Patches or hardware to come",
}


class Reader:
    """A table of runs, as a reader sees it: three digits of each speed-up."""

    def __init__(self, rows: Sequence[SummaryRow], pages: int) -> None:
        self.rows, self.pages = {row.label: row for row in rows}, pages

    def gain(self, label: str) -> float:
        speedup = self.rows[label].figures.speedup
        assert speedup is not None, f"{label} has no speed-up"
        return round(float(f"{speedup:.3f}") - 1, 3)

    def half(self, label: str) -> float:
        return float(f"{self.rows[label].ci95['speedup'] or 0.0:.3f}")

    def shows(self, label: str, gain: str, half: str | None) -> None:
        """The printed gain and interval are those of the run."""
        assert _signed(self.gain(label)) == gain
        assert (half is not None) == (self.rows[label].seeds > 1)
        if half is not None:
            assert f"{100 * self.half(label):.1f}" == half

    def sound(self, label: str) -> bool:
        row = self.rows[label]
        nones = [
            r for r in self.rows.values() if r.policy == "none" and not r.sources and r.access == row.access
        ]
        return all(
            r.figures.speedup is not None and not r.figures.lost_pages for r in [row, *nones]
        ) and bool(nones)

    def base(self, label: str) -> str:
        (none,) = [
            r.label
            for r in self.rows.values()
            if r.policy == "none" and not r.sources and r.access == self.rows[label].access
        ]
        return none

    def movers(self, runs_on: str | None = None) -> list[str]:
        """Movers that a real machine could have."""
        return [
            label
            for label, row in self.rows.items()
            if row.kind == "mover" and not row.needs_foresight and runs_on in (None, row.runs_on)
        ]

    def oracles(self, runs_on: str) -> list[str]:
        """The oracles under the access rules of the movers of a class."""
        rules = {self.rows[label].access for label in self.movers(runs_on) if self.sound(label)}
        return [
            o
            for o, row in self.rows.items()
            if row.kind == "oracle" and row.access in rules and self.sound(o)
        ]

    def moved(self, label: str) -> bool:
        return self.rows[label].figures.promotions >= IDLE * self.pages

    def saved(self, label: str) -> float:
        return 1 - 1 / (1 + self.gain(label))

    def beside(self, label: str) -> list[str]:
        return [
            other
            for other, row in self.rows.items()
            if row.access == self.rows[label].access and self.sound(other)
        ]

    def alone(self, policy: str, label: str) -> str:
        """The run of `policy` under the rule of `label` that hears no source."""
        found = [o for o in self.beside(label) if self.rows[o].policy == policy and not self.rows[o].sources]
        return found[0]

    def tied(self, one: str, other: str) -> bool:
        """Whether the mean difference is at most what counts or than the interval of the seeds' differences."""
        pairs = [a - b for a, b in zip(self.rows[one].speedups, self.rows[other].speedups, strict=True)]
        n, mean = len(pairs), sum(pairs) / len(pairs)
        half = 0.0
        if n > 1:
            t = {2: 12.706, 3: 4.303, 4: 3.182}[n]
            half = t * (sum((p - mean) ** 2 for p in pairs) / (n - 1) / n) ** 0.5
        return abs(self.gain(one) - self.gain(other)) <= max(MATTERS, half) + 1e-12


def _signed(gain: float) -> str:
    """In percent with its sign; nothing has none."""
    text = f"{100 * gain:+.1f}"
    return text if float(text) else "0.0"


def check_verdict(verdict: Verdict, rows: Sequence[SummaryRow], pages: int, lack: bool = False) -> None:
    """Raises `AssertionError` for a sentence that is not so, that contradicts another, or that is not known."""
    reader = Reader(rows, pages)
    _check_classes(verdict, reader, lack)
    _check_headline(verdict)
    for note in verdict.notes:
        _check_note(note, verdict, reader)
    _check_together(verdict, reader, lack)


def _check_classes(verdict: Verdict, reader: Reader, lack: bool) -> None:
    assert [each.runs_on for each in verdict.classes] == list(TITLES)
    for each in verdict.classes:
        title, _, rest = each.sentence.partition(": ")
        assert title == TITLES[each.runs_on]
        outcome = re.match(r"pays|does not pay|hurts|cannot tell", rest)
        assert outcome
        assert outcome[0] == each.outcome == each.to_dict()["outcome"]
        sound = [label for label in reader.movers(each.runs_on) if reader.sound(label)]
        moving = [label for label in sound if reader.moved(label)]
        best = max(moving, key=reader.gain, default=None)
        _check_class(rest.removeprefix(outcome[0]), each.outcome, each.runs_on, best, reader, lack)


def _check_class(rest: str, outcome: str, runs_on: str, best: str | None, reader: Reader, lack: bool) -> None:
    told = rf"{LABEL} gains {GAIN} over '(.+?)'"
    if outcome == "cannot tell":
        assert rest.startswith(", as ")
        assert rest.endswith(" would tell."), "what would tell"
        if "no mover of this class was run" in rest:
            assert not reader.movers(runs_on)
            return
        assert reader.movers(runs_on)
        if lack:
            assert "recording" in rest or "cache" in rest
        elif "data was lost" in rest:
            assert not [label for label in reader.movers(runs_on) if reader.sound(label)]
        elif found := re.match(rf", as {told}, and the seeds do not tell whether that is a gain\. ", rest):
            label, gain, half, base = found.groups()
            assert (label, base) == (best, reader.base(label))
            reader.shows(label, gain, half)
            assert reader.half(label) > MATTERS, "else they do tell"
            assert abs(reader.gain(label)) <= max(reader.half(label), MATTERS) + 1e-12
            assert reader.gain(label) + reader.half(label) > MATTERS
        else:
            assert best is None
            found = re.match(
                rf", as all its movers stood still, (?:although {LABEL} gains {GAIN}|and no oracle was run): ",
                rest,
            )
            assert found, rest
            if found[1]:
                reader.shows(found[1], found[2], found[3])
                assert reader.rows[found[1]].kind == "oracle"
                assert reader.gain(found[1]) > MATTERS
            else:
                assert not reader.oracles(runs_on)
            for label in reader.movers(runs_on):
                assert (label in rest) == reader.sound(label), "each is named"
        return
    if best is None:
        found = re.fullmatch(
            rf"\. Its movers found next to nothing to promote, and even an oracle gains only {GAIN}\.", rest
        )
        assert found
        assert outcome == "does not pay"
        oracles = reader.oracles(runs_on)
        assert max(map(reader.gain, oracles)) <= MATTERS
        assert found[1] in {"0.0", *(_signed(reader.gain(o)) for o in oracles)}
        return
    start = {
        "pays": "",
        "hurts": f"Even {_best_mover(runs_on, reader)} loses: ",
        "does not pay": "The best mover has no gain that counts: ",
    }[outcome]
    found = re.fullmatch(rf"\. {start}{told}\.", rest)
    assert found, rest
    label, gain, half, base = found.groups()
    assert base == reader.base(label)
    assert reader.gain(label) == max(reader.gain(o) for o in [label, best])
    reader.shows(label, gain, half)
    true_gain, spread = reader.gain(label), reader.half(label)
    if outcome == "pays":
        assert true_gain > MATTERS - 1e-12
        assert true_gain > spread - 1e-12
    elif outcome == "hurts":
        assert -true_gain > MATTERS - 1e-12
        assert -true_gain > spread - 1e-12
    else:
        assert true_gain <= MATTERS + 1e-12


def _best_mover(runs_on: str, reader: Reader) -> str:
    """Not "the best mover" where one that stood still may have lost less."""
    sound = [label for label in reader.movers(runs_on) if reader.sound(label)]
    if all(map(reader.moved, sound)):
        return "the best mover"
    return "the best of its movers that did not stand still"


def _check_headline(verdict: Verdict) -> None:
    outcomes = {each.runs_on: each.outcome for each in verdict.classes}
    run = {each.runs_on for each in verdict.classes if "no mover of this class was run" not in each.sentence}
    today = [outcomes[c] for c in ("kernel", "user space") if c in run]
    where = "on a released kernel" if today else "with patches or hardware to come"
    order = ["pays", "cannot tell", "does not pay", "hurts"]
    outcome = min(today, key=order.index) if today else outcomes["to come"]
    assert verdict.outcome == outcome == verdict.to_dict()["outcome"]
    only = " It pays with patches or hardware to come."
    expected = (
        f"Whether moving pages pays {where} cannot be told."
        if outcome == "cannot tell"
        else f"Moving pages {outcome} {where}."
    )
    if today and outcome != "pays" and outcomes["to come"] == "pays":
        expected += only
    assert verdict.headline == expected


def _seen(verdict: Verdict, reader: Reader) -> str:
    """The mover that the notes are about: the best of the class that decides, else the best of all classes."""
    among = [each.best.label for each in verdict.classes if each.best]  # of equals, the first
    return verdict.best or max(among, key=reader.gain, default="")


def _fast(found: re.Match[str], seen: str, reader: Reader) -> None:
    fast = reader.alone("all-fast", seen)
    reader.shows(fast, found[1], found[2])
    if found[3]:
        assert found[3] == seen
        assert found[4] == f"{100 * reader.saved(seen) / reader.saved(fast):.0f}"
        assert reader.gain(fast) > MATTERS


def _no_oracle(found: re.Match[str], seen: str, reader: Reader) -> None:
    knowing = [o for o in reader.beside(seen) if reader.rows[o].needs_foresight]
    best = max(knowing, key=reader.gain)
    reader.shows(best, found[1], found[2])
    assert max(reader.gain(best), reader.gain(seen)) <= MATTERS + 1e-12


def _oracle(found: re.Match[str], seen: str, reader: Reader) -> None:
    reader.shows(found[1], found[2], found[3])
    assert reader.rows[found[1]].needs_foresight
    assert reader.gain(found[1]) > reader.gain(seen)


def _limits(found: re.Match[str], seen: str, reader: Reader) -> None:
    assert found[1] == seen
    figures = reader.rows[found[1]].figures
    overhead = figures.tracking_app_share + figures.moving_app_share
    known: Mapping[str, float | None] = {
        r"only ([\d.]+) % of the true hot set is in fast memory": figures.coverage,
        r"only ([\d.]+) % of its promotions were of hot pages": figures.accuracy,
        r"tracking and moving take ([\d.]+) % of the program's time": overhead,
        r"([\d.]+) % of its promotions repeat an earlier one \(ping-pong\)": figures.pingpong
        / figures.promotions,
    }
    for clause in found[2].split("; "):
        (match, value) = next((m, v) for p, v in known.items() if (m := re.fullmatch(p, clause)))
        assert value is not None
        assert abs(float(match[1]) - 100 * value) <= (0.05 if "." in match[1] else 0.5) + 1e-9


def _points(reader: Reader, best: str, base: str, points: str, direction: str) -> None:
    difference = 100 * (reader.gain(best) - reader.gain(base))
    assert abs(abs(difference) - float(points)) <= 0.05 + 1e-9
    assert direction == ("more" if difference >= 0 else "less") or abs(difference) < 1e-9


def _demotion(found: re.Match[str], seen: str, reader: Reader) -> None:
    demotion = reader.alone("demotion", seen)
    reader.shows(demotion, found[1], found[2])
    assert found[3] == seen
    _points(reader, seen, demotion, found[4], found[5])


def _fixed(found: re.Match[str], seen: str, reader: Reader) -> None:
    fixed = reader.alone("oracle-static", seen)
    reader.shows(fixed, found[1], found[2])
    assert found[3] == seen
    _points(reader, seen, fixed, found[4], found[5])
    best, other = reader.gain(seen), reader.gain(fixed)
    if found[6] == "neither gain counts":
        assert max(best, other) <= MATTERS + 1e-12
        return
    assert max(best, other) > MATTERS - 1e-12
    if found[6] == "moving brings no more than a fixed placement":
        assert reader.tied(seen, fixed)
    elif found[6] == "moving brings more":
        assert best > other + MATTERS - 1e-12
    else:
        assert other > best + MATTERS - 1e-12


def _of_the_setup(found: re.Match[str], seen: str, reader: Reader) -> None:
    """The setup says so; the table does not."""


def _over_kernel(found: re.Match[str], seen: str, reader: Reader) -> None:
    user, more, direction, kernel = found.groups()
    for label, runs_on in ((user, "user space"), (kernel, "kernel")):
        moving = [o for o in reader.movers(runs_on) if reader.sound(o) and reader.moved(o)]
        assert label in moving
        assert reader.gain(label) == max(map(reader.gain, moving))
    _points(reader, user, kernel, more, direction)
    assert not reader.tied(user, kernel), "no difference is one that counts"


def _static(found: re.Match[str], seen: str, reader: Reader) -> None:
    reader.shows(found[1], found[2], found[3])
    assert reader.rows[found[1]].kind == "static"
    assert reader.gain(found[1]) >= reader.gain(seen) - MATTERS - 1e-12


def _ties(found: re.Match[str], seen: str, reader: Reader) -> None:
    assert found[1] == seen
    for label in found[2].split(", "):
        assert reader.tied(seen, label)
        assert reader.moved(label)


def _loser(found: re.Match[str], seen: str, reader: Reader) -> None:
    alone, many, first, base, gain, half = found.groups()
    label = alone or first
    losers = [
        o
        for o in reader.movers()
        if reader.sound(o) and -reader.gain(o) > max(MATTERS, reader.half(o)) and o != seen
    ]
    assert base == reader.base(label)
    reader.shows(label, gain, half)
    assert reader.gain(label) == min(map(reader.gain, losers))
    assert len(losers) == int(many or 1)


def _still(found: re.Match[str], seen: str, reader: Reader) -> None:
    still = [o for o in reader.movers() if reader.sound(o) and not reader.moved(o)]
    named = [label for group in found[1].split("); ") for label in group.partition(" (")[0].split(", ")]
    assert sorted(named) == sorted(still)


def _unsafe(found: re.Match[str], seen: str, reader: Reader) -> None:
    assert found[1].split(", ") == [o for o in reader.movers() if not reader.sound(o)]


def _danger(found: re.Match[str], seen: str, reader: Reader) -> None:
    assert reader.rows[seen].access == found[1]
    assert not reader.rows[seen].figures.lost_pages


SAVES = rf"{LABEL} saves (\d+) % of the time that this saves"
POINTS = rf"{LABEL} ([\d.]+) points (more|less)"
PAYS = r"(neither gain counts|moving brings no more than a fixed placement|(?:moving|a fixed placement) brings more)"
UNSAFE = r"Not judged, for data was lost or a tenant killed, there or under 'none'"
NOTES: dict[str, Callable[[re.Match[str], str, Reader], None]] = {
    r"The recording is of a live system: its misses are estimates, and so are these gains\.": _of_the_setup,
    r"Only \d+ % of the recording was played: a longer run \(--duration\) may tell otherwise\.": _of_the_setup,
    rf"With all memory in the top tier the gain is {GAIN}(?:; {SAVES})?\.": _fast,
    rf"No run that knows the future gains more than {GAIN}: with this share of fast memory there is little to gain\.": (
        _no_oracle
    ),
    rf"{LABEL}, which knows the future, gains {GAIN}\.": _oracle,
    rf"What limits {LABEL}: (.+)\.": _limits,
    rf"{LABEL} gains ([\d.]+) points (more|less) than {LABEL} of the kernel alone\.": _over_kernel,
    rf"Demotion alone gains {GAIN}, and {POINTS}\.": _demotion,
    rf"The fixed placement of oracle-static gains {GAIN}, and {POINTS}: {PAYS}\.": _fixed,
    rf"A placement that never promotes does about as well or better: {LABEL} gains {GAIN}\.": _static,
    rf"No difference to {LABEL} that counts: (.+)\.": _ties,
    rf"(?:{LABEL} loses|(\d+) movers lose, {LABEL} the most): its gain over '(.+?)' is {GAIN}\.": _loser,
    r"Stood still, having promoted less than 0\.1 % of the pages: (.+)\.": _still,
    rf"{UNSAFE}: (.+)\.": _unsafe,
    r"Nothing was lost here, but under '(.+?)' .+\.": _danger,
}


def _check_note(note: str, verdict: Verdict, reader: Reader) -> None:
    matches = [(match, check) for pattern, check in NOTES.items() if (match := re.fullmatch(pattern, note))]
    assert len(matches) == 1, f"a sentence that the checker does not know: {note}"
    match, check = matches[0]
    check(match, _seen(verdict, reader), reader)


def _check_together(verdict: Verdict, reader: Reader, lack: bool) -> None:
    """What no single sentence can tell: nothing is left out, and the decisive figures are those of the JSON."""
    said = "\n".join(verdict.sentences)
    assert verdict.to_dict()["sentences"] == verdict.sentences
    if lack:
        assert not verdict.notes
        assert verdict.outcome == "cannot tell"
        return
    still = [o for o in reader.movers() if reader.sound(o) and not reader.moved(o)]
    assert ("Stood still" in said) == bool(still)
    losers = [
        o for o in reader.movers() if reader.sound(o) and -reader.gain(o) > max(MATTERS, reader.half(o))
    ]
    assert all(label == _seen(verdict, reader) for label in losers) or re.search(
        r" (movers lose|loses: its)", said
    )
    if verdict.best:
        assert abs((verdict.to_dict()["gain"] or 0.0) - reader.gain(verdict.best)) < 1e-9
    for each in verdict.classes:
        if each.best is not None:
            assert reader.moved(each.best.label)
