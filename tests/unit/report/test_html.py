"""The HTML page: complete, self-contained, and safe with hostile names."""

from __future__ import annotations

import json
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import pghot
from builders.accesses import trace_from_accesses
from pghot.cli.main import run
from pghot.lab.metrics import METRICS
from pghot.recording.compressibility import CODINGS, Compressibility
from pghot.report.comparison_charts import durations, misses_by_node
from pghot.report.comparison_page import render
from pghot.rules import device_rules
from pghot.safety.adversary.attacks import ATTACKS

HOSTILE = "<script>alert('x')</script>&\"name"


class Page(HTMLParser):
    """What the page contains, as a browser would see it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.inside = ""
        self.sources: list[str] = []
        self.texts: list[str] = []
        self.figures: list[dict[str, object]] = []
        self.kind: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside = tag
        self.kind = dict(attrs).get("type")
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.texts.append(data)
        elif self.kind == "application/json":
            self.figures.append(json.loads(data))


def test_the_page_is_whole_offline_and_escapes_what_it_is_told() -> None:
    rng = np.random.default_rng(0)
    page = (rng.zipf(1.3, 60_000) % 2_000).astype(np.uint32)
    trace = trace_from_accesses(page, accesses_per_slice=1_000, name=HOSTILE)
    result = pghot.compare(
        trace, policies=["numab2", "pghot-default"], sources=["abit"], seeds=2, duration_s=None
    )
    text = render(result, ["pghot", "compare", HOSTILE])
    seen = Page(text)
    assert seen.sources == [], "nothing is loaded from elsewhere"
    assert "<script>alert" not in text
    shown = "".join(seen.texts)
    assert shown.count(HOSTILE) >= 2
    sentences = [sentence.replace("`", "") for sentence in result.verdict.sentences]
    assert [sentence for sentence in sentences if sentence not in shown] == []
    assert "<code>--classes to-come</code> would tell" in text
    assert [m.title for m in METRICS if m.title not in shown] == []
    assert seen.tags.count("tr") >= 1 + result.summary.num_rows
    assert "read every 2000 kernel ms" in shown, "the sampling of the source"
    assert "migrate_4k_ns" in shown, "the constants"
    assert len(seen.figures) == 5
    assert "<script" not in json.dumps(seen.figures)
    assert len(text) < 2_500_000, "most of it is Plotly, compressed"


@pytest.mark.heavy
def test_the_worst_attack_is_drawn_on_a_page_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "attack.html"
    command = [
        "margin",
        "--device",
        "ocp-4k",
        "--adversary",
        "all",
        "--access",
        "contained",
        "--reserve",
        "28GiB",
    ]
    monkeypatch.setattr("sys.argv", ["pghot", *command, HOSTILE])
    assert run([*command, "-o", str(path)]) == 1, "28 GiB are too few"
    out = capsys.readouterr().out
    text = path.read_text("utf-8")
    seen = Page(text)
    shown = " ".join("".join(seen.texts).split())
    assert seen.sources == [], "nothing is loaded from elsewhere"
    assert "<script>alert" not in text
    assert shlex.quote(HOSTILE) in shown
    assert len(seen.figures) == 1
    assert "DATA LOST: 'budget-overrun' exceeds the medium by 3.0 GiB" in shown
    assert "3.0 GiB too much: data is lost, step" in text
    assert "28.0 GiB in reserve" in shown
    names = [line.split()[0] for line in out.splitlines() if line.split()[:1] and line.split()[0] in ATTACKS]
    assert len(names) == len(ATTACKS) == seen.tags.count("tr") - 2 - len(device_rules())
    assert run([*command, "-o", str(path)]) == 2, "it is not overwritten"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "attack.html"], "--output goes with --adversary"),
        (["-o", "attack.csv", "--adversary", "all"], "end the name in .html"),
        (["-o", "nowhere/attack.html", "--adversary", "all"], "no directory 'nowhere'"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_the_attack(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["margin", *arguments]) == 2
    assert message in (err := capsys.readouterr().err)
    assert "compiling" not in err


def test_what_happens_over_time_is_in_seconds_and_a_colour_means_one_thing() -> None:
    trace = trace_from_accesses(np.arange(3_000, dtype=np.uint32) % 50, accesses_per_slice=100, name="small")
    result = pghot.compare(trace, policies=["none", "numab2", "all-fast"], duration_s=None)
    epochs = [row for row in result.epochs if row.label == "none" and row.seed == result.setup.first_seed]
    times = durations(result).figure
    none, fast = ({line.name: line for line in times.data}[name] for name in ("none", "all-fast"))
    # An epoch begins when the one before it ends.
    assert none.x == pytest.approx([0.0, *(row.elapsed_s for row in epochs[:-1])])
    assert (none.line.color, fast.line.color) == ("#888888", "#888888"), "they move nothing"
    assert none.line.dash != fast.line.dash
    nodes = {bar.marker.color for bar in misses_by_node(result.rows).figure.data}
    assert not nodes & {line.line.color for line in times.data}


def test_page_contents_are_shown_when_they_were_sampled() -> None:
    trace = trace_from_accesses(np.arange(3_000, dtype=np.uint32) % 50, accesses_per_slice=100, name="small")
    stored = np.full((len(CODINGS), 50), 1024, np.uint16)
    trace.compressibility = Compressibility(
        np.arange(50, dtype=np.uint32),
        np.zeros(50, np.uint64),
        np.zeros(50, np.uint8),
        stored,
        origin=HOSTILE,
    )
    result = pghot.compare(trace, policies=["none"], duration_s=None)
    assert result.to_dict()["setup"]["compressibility"]["samples"] == 50
    text = render(result, ["pghot", "compare"])
    seen = Page(text)
    assert len(seen.figures) == 6
    assert "lz4: 4.00 to 1" in text
    assert "<script>alert" not in text
