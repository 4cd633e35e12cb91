"""Slow, plain versions of the kernels of `pghot.recording.address_rows`."""

from __future__ import annotations


def rows_reference(sizes: list[int], each: int) -> list[list[tuple[int, int]]]:
    """What `lay_out` and `number_pages` say: each row as its (span, item) pairs.

    Spans of `each` items or more are cut into rows of their own. Smaller ones are packed, in order, into rows that
    hold at most `each`, and that only they share.
    """
    rows: list[list[tuple[int, int]]] = []
    open_row: list[tuple[int, int]] | None = None
    for span, size in enumerate(sizes):
        items = [(span, item) for item in range(size)]
        if size >= each:
            rows += [items[at : at + each] for at in range(0, size, each)]
            open_row = None
        elif size:
            if open_row is None or len(open_row) + size > each:
                open_row = []
                rows.append(open_row)
            open_row += items
    return rows


def parts_reference(
    spans: list[tuple[int, int]], row_of_page: list[int], heat: list[int], touches: list[int]
) -> dict[tuple[int, int], tuple[int, int, int, int]]:
    """What `find_parts` finds: (row, span) to the first and last touched page, the heat and the touched pages."""
    found: dict[tuple[int, int], tuple[int, int, int, int]] = {}
    for span, (first, pages) in enumerate(spans):
        for page in (p for p in range(first, first + pages) if touches[p]):
            start, _, warmth, count = found.get((row_of_page[page], span), (page, page, 0, 0))
            found[row_of_page[page], span] = (start, page, warmth + heat[page], count + 1)
    return found
