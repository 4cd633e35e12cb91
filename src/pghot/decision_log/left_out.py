"""What the log of a live run has not, in words: it is bounded, so that it never holds up a round."""

from __future__ import annotations

from collections.abc import Mapping

from pghot.units import counted

# A live log has so many ranges of 128 MiB, 16 GiB of addresses. A page of one in use takes some 60 bytes of memory, so
# this is 0.25 GB at most.
MOST_SECTIONS = 128


def left_out_words(left_out: Mapping[str, int]) -> list[str]:
    """What a log has not.

    >>> left_out_words({"dropped_rows": 2, "unlogged": 0})
    ['the log is without 2 rows: they came faster than the disk took them, or were too many for one file']
    """
    words = []
    if rows := left_out["dropped_rows"]:
        words.append(
            f"the log is without {counted(rows, 'row')}: they came faster than the disk took them, or were too many "
            "for one file"
        )
    if times := left_out["unlogged"]:
        words.append(
            f"the log has {MOST_SECTIONS} sections of 128 MiB and no more: {counted(times, 'report')} on pages of "
            "others were left out"
        )
    return words
