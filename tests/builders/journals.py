"""What a journal says, in a form to compare."""

from __future__ import annotations

import numpy as np

from pghot.live.journal_file import JournalFile

Origins = dict[int, dict[int, int]]  # by pid: page number and first node


def origins_of(journal: JournalFile) -> Origins:
    """The first node of each page that the journal names."""
    found = {}
    for entry in journal.spaces:
        address, node = entry.origins()
        found[entry.identity.pid] = dict(
            zip((address // np.uint64(4096)).tolist(), node.tolist(), strict=True)
        )
    return found
