"""Published and simulated values side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pghot.lab.validate import Cell, ValidationResult
from pghot.report.validation_table import render

RESULT = ValidationResult(
    name="small",
    title="Two cells",
    published_in="a paper",
    bar=0.1,
    cells=[Cell("row 1", "left", 2.0, 2.1, fitted=True), Cell("row 1", "right", 4.0, 3.8)],
    order_errors=[],
    notes=("not fitted",),
)


def test_each_cell_has_its_error_and_the_worst_is_held_against_the_bar() -> None:
    assert render(RESULT).split("\n") == [
        "Two cells",
        "published in a paper",
        "",
        f"{'row':28} {'column':24} published simulated   error  made by",
        f"{'row 1':28} {'left':24}     2.000     2.100   +5.0 %  fitted",
        f"{'row 1':28} {'right':24}     4.000     3.800   -5.0 %  predicted",
        "not fitted",
        "small: ok, worst error 5.0 %, bar 10.0 %; mean 5.0 %",
        "",
    ]


@pytest.mark.parametrize(
    "missed",
    [
        replace(RESULT, bar=0.04),
        replace(RESULT, mean_bar=0.04),
        replace(RESULT, order_errors=["row 1: 'left' should be below 'right'"]),
    ],
)
def test_an_error_above_the_bar_or_a_wrong_order_misses(missed: ValidationResult) -> None:
    text = render(missed)
    assert "small: MISSED, worst error 5.0 %" in text
    assert all(error in text for error in missed.order_errors)


def test_the_mean_error_is_over_all_cells() -> None:
    cells = [*RESULT.cells, Cell("row 2", "left", 1.0, 1.2)]
    assert replace(RESULT, cells=cells).mean_error == pytest.approx(0.1), "5 %, 5 % and 20 %"
    assert replace(RESULT, cells=cells).worst_error == pytest.approx(0.2)
