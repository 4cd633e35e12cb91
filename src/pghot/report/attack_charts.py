"""The worst attack on a compressed tier as a picture: what the device holds, what the cache holds back, step by step.

Sizes are those of the real device. Steps are those of the scene, which is a scaled-down copy.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pghot.report.html import Chart
from pghot.safety.adversary.search import Campaign
from pghot.safety.adversary.steps import OPERATIONS
from pghot.safety.adversary.trial import History
from pghot.units import format_number, format_size

# Okabe and Ito's palette, as in `charts`; grey is what the host does, or nobody.
_USED, _DIRTY, _WARNED, _LOST = "#0072b2", "#009e73", "#e69f00", "#d55e00"
_DOING = {
    "store-zero": "#56b4e9", "store-raw": "#e69f00", "flush": "#009e73", "cold": "#aaaaaa", "free": "#666666",
    "pin": "#cc79a7", "unpin": "#cc79a7", "dma-zero": "#0072b2", "dma-raw": "#d55e00", "read": "#f0e442",
    "wait": "#dddddd",
}  # fmt: skip


def attack_chart(campaign: Campaign, shown: History) -> Chart:
    """Three panels over the steps: bytes of the medium in use, dirty lines in the cache, what tenants do most."""
    figure = make_subplots(rows=3, shared_xaxes=True, row_heights=[0.7, 0.22, 0.08], vertical_spacing=0.04)
    _fill(figure, campaign, shown)
    _cache(figure, campaign, shown)
    _doing(figure, shown)
    figure.update_layout(
        template="simple_white",
        height=630,
        barmode="overlay",
        legend={"orientation": "h", "y": -0.14},
        margin={"l": 10, "r": 200, "t": 30},
    )
    figure.update_xaxes(range=[0, 1.01 * campaign.worst.steps])
    figure.update_xaxes(
        title_text=f"step of the scene, 1:{format_number(campaign.scene.scale)} in size", row=3, col=1
    )
    note = (
        "Shaded: a warning stands, no demotion is admitted. Below: lines of the device that the cache holds dirty, and "
        "what tenants do most."
    )
    return Chart(f"The worst attack found: {campaign.worst.name}", note, figure)


def _fill(figure: go.Figure, campaign: Campaign, shown: History) -> None:
    """The device's fill, its limits, and the step in which it came nearest to the medium's size."""
    scene, worst = campaign.scene, campaign.worst
    unit, name = _unit(scene.real * scene.scale)
    size = scene.scale / unit
    used = (scene.real - shown.remaining) * size
    top = 1.1 * max(scene.real * size, float(used.max()))
    figure.add_scatter(
        x=shown.step,
        y=used,
        mode="lines",
        line={"color": _USED, "width": 2},
        showlegend=False,
        hovertemplate=f"step %{{x:,}}: %{{y:,.2f}} {name} in use<extra></extra>",
        row=1,
        col=1,
    )
    for first, last in _spans(shown):
        figure.add_vrect(first, last, fillcolor=_WARNED, opacity=0.12, line_width=0, row=1, col=1)
    _limits(figure, campaign, shown, size, top)
    _mark(figure, campaign, (scene.real - worst.least_bytes) * size)
    figure.update_yaxes(title_text=f"in use ({name})", range=[0, top], row=1, col=1)


def _limits(figure: go.Figure, campaign: Campaign, shown: History, size: float, top: float) -> None:
    """Lines at the medium's size, the reserve and both thresholds; lines at the same height share a label."""
    scene = campaign.scene
    labels: dict[str, list[str]] = {}
    at: dict[str, float] = {}
    for height, text, colour, dash in (
        (scene.real, "medium", _LOST, "solid"),
        (scene.real - scene.reserve, "reserve", "#666666", "solid"),
        (scene.real - shown.low, "warning", _WARNED, "dash"),
        (scene.real - shown.high, "warning ends", _WARNED, "dot"),
    ):
        label = format_size(height * scene.scale)
        labels.setdefault(label, []).append(text)
        at.setdefault(label, height * size)
        line = {"color": colour, "width": 1.5, "dash": dash}
        figure.add_hline(height * size, line=line, opacity=1, row=1, col=1)
    below = float("inf")
    for label in sorted(labels, key=lambda label: -at[label]):
        below = min(at[label], below - 0.05 * top)  # room for a line of text between two labels
        figure.add_annotation(
            x=1.01,
            xref="x domain",
            y=below,
            text=f"{label}: {', '.join(labels[label])}",
            showarrow=False,
            xanchor="left",
            font={"size": 12},
            row=1,
            col=1,
        )


def _mark(figure: go.Figure, campaign: Campaign, height: float) -> None:
    """A ring around the worst moment, with its label on the left: the curve was never as high before."""
    at = campaign.worst.worst_step
    figure.add_scatter(
        x=[at],
        y=[height],
        mode="markers",
        marker={"symbol": "circle-open", "size": 14, "color": _LOST, "line": {"width": 3}},
        showlegend=False,
        hovertemplate=f"{nearest(campaign)}<extra></extra>",
        cliponaxis=False,
        row=1,
        col=1,
    )
    left = at > 0.42 * campaign.worst.steps  # otherwise there is no room for the label
    figure.add_annotation(
        x=at,
        y=height,
        text=nearest(campaign),
        font={"color": _LOST},
        ax=-24 if left else 24,
        ay=-14,
        xanchor="right" if left else "left",
        arrowcolor=_LOST,
        standoff=8,
        row=1,
        col=1,
    )


def _cache(figure: go.Figure, campaign: Campaign, shown: History) -> None:
    figure.add_scatter(
        x=shown.step,
        y=100 * shown.dirty / campaign.scene.cache_lines,
        mode="lines",
        line={"color": _DIRTY},
        fill="tozeroy",
        showlegend=False,
        hovertemplate="step %{x:,}: %{y:.1f} % of the cache<extra></extra>",
        row=2,
        col=1,
    )
    figure.update_yaxes(title_text="dirty (%)", range=[0, 105], row=2, col=1)


def _doing(figure: go.Figure, shown: History) -> None:
    """A strip of what tenants do most, each kind in its colour."""
    spans: dict[str, list[tuple[int, int]]] = {}
    at = 0
    for operation, group in groupby(shown.operation.tolist()):
        length = len(list(group))
        end = int(shown.step[at + length]) if at + length < len(shown.step) else int(shown.step[-1])
        spans.setdefault(OPERATIONS[operation], []).append((int(shown.step[at]), end))
        at += length
    for name, parts in spans.items():
        figure.add_bar(
            base=[first for first, _ in parts],
            x=[last - first for first, last in parts],
            y=[0] * len(parts),
            width=1,
            orientation="h",
            name=name,
            marker={"color": _DOING[name], "line_width": 0},
            hovertemplate=f"{name}<extra></extra>",
            row=3,
            col=1,
        )
    figure.update_yaxes(visible=False, row=3, col=1)


def nearest(campaign: Campaign) -> str:
    """The worst moment in words: how near the device came to its limit, and when."""
    worst = campaign.worst
    least = format_size(abs(worst.least_bytes) * campaign.scene.scale)
    what = f"{least} too much: data is lost" if worst.least_bytes < 0 else f"least distance: {least}"
    return f"{what}, step {worst.worst_step:,}"


def _unit(size: float) -> tuple[int, str]:
    return (1 << 30, "GiB") if size >= 1 << 30 else (1 << 20, "MiB")


def _spans(shown: History) -> list[tuple[int, int]]:
    """First and last step of each time that a warning stands."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], shown.warned.astype(np.int8), [0]))))
    return [(int(shown.step[first]), int(shown.step[last - 1])) for first, last in edges.reshape(-1, 2)]
