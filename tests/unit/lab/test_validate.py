"""Published experiments in the lab, within their bars."""

from __future__ import annotations

import pytest

from pghot.errors import UsageError
from pghot.lab.validate import load_validation, run_validation


@pytest.mark.timeout(600)
def test_colloid_6a_within_six_percent_a_cell_and_two_and_a_half_in_the_mean() -> None:
    result = run_validation("colloid-6a")
    assert len(result.cells) == 16
    assert result.worst_error <= 0.06
    assert result.mean_error <= 0.025
    assert result.ok


def test_xsbench_on_two_memories_within_six_percent_a_cell() -> None:
    result = run_validation("xsbench")
    assert len(result.cells) == 12
    assert result.worst_error <= 0.06
    assert result.ok


def test_what_is_fitted_must_name_every_cell(tmp_path) -> None:
    text = 'name = "x"\ntitle = "t"\npublished_in = "p"\nbar = 0.1\ntiers = "dram-cxl"\n'
    text += '[workload]\nkind = "uniform"\n[[rows]]\nlabel = "r"\n[[columns]]\nlabel = "c"\n'
    path = tmp_path / "x.toml"
    path.write_text(text + "[published]\ncells = [[1.0]]\nfitted = [[true]]\n")
    assert load_validation(str(path)).published.is_fitted(0, 0)
    path.write_text(text + "[published]\ncells = [[1.0]]\nfitted = [[true, false]]\n")
    with pytest.raises(UsageError, match="as many cells"):
        load_validation(str(path))
