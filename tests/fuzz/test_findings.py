"""What the fuzzers found, each as the smallest case that shows it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from builders.forged import resealed
from fuzz.recording import originals
from pghot.errors import PghotError
from pghot.recording.framing import InMemory, batch_header, messages
from pghot.recording.reader import open_recording


@pytest.mark.parametrize("node", range(29))
def test_a_batch_that_says_it_leaves_values_out(node: int, tmp_path: Path) -> None:
    """Of a struct too: Arrow then reads no row where pghot read one."""
    original = originals()[0]
    message = list(messages(InMemory(original.content)))[1]
    nodes = batch_header(message).nodes
    assert len(nodes) == 29
    content = bytearray(original.content)
    first = content.index(b"".join(struct.pack("<qq", *each) for each in nodes), message.offset)
    content[first + 16 * node + 8] = 1
    path = tmp_path / "a.pghot"
    path.write_bytes(resealed(bytes(content)))
    with pytest.raises(PghotError, match=r"damaged at byte .* values left out"):
        list(open_recording(path).batches())
