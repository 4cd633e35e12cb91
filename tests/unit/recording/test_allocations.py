"""Later sites of pages as facts of a recording: as they were, and refused where they cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pghot.recording.reallocations import Reallocation, from_facts, to_facts

_ROWS = st.builds(
    Reallocation,
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 20),
    st.integers(1, 512),
    st.sampled_from(["", "f", "g < h"]),
)


@given(st.lists(_ROWS, max_size=8))
def test_they_come_back_as_they_were(rows: list[Reallocation]) -> None:
    facts = to_facts(rows)
    assert from_facts({"reallocations": facts}) == rows
    assert len(facts["sites"]) == len({row.site for row in rows})


def test_a_recording_without_them_has_none() -> None:
    assert from_facts({}) == []


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        {"sites": ["f"]},
        {"sites": ["f"], "rows": [[1, 2, 3]]},
        {"sites": ["f"], "rows": [[1, 2, 3, 1]]},
        {"sites": ["f"], "rows": [[1, 2, 3, -1]]},
        {"sites": ["f"], "rows": [[1, 2, 0, 0]]},
        {"sites": ["f"], "rows": [[1, 2.5, 3, 0]]},
        {"sites": ["f"], "rows": [[True, 2, 3, 0]]},
        {"sites": [7], "rows": [[1, 2, 3, 0]]},
        {"sites": ["f"], "rows": [[1 << 63, 2, 3, 0]]},
        {"sites": ["f"], "rows": [[1, 1 << 28, 1, 0]]},
        {"sites": ["f"], "rows": 5},
    ],
)
def test_what_is_none_is_refused(facts: Any) -> None:
    with pytest.raises(ValueError, match="reallocations"):
        from_facts({"reallocations": facts})
