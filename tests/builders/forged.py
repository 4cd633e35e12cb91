"""Recordings that someone changed and sealed again: every digest fits, only the content lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pghot.recording import format as fmt
from pghot.recording.digest import BLANK, START, with_digests
from pghot.recording.framing import InMemory, messages

END_MARK = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def resealed(content: bytes) -> bytes:
    """The same messages with digests that fit what they are now."""
    end = list(messages(InMemory(content)))[-1].end
    return with_digests(content[:end], START)[0] + END_MARK


@dataclass(slots=True)
class Draft:
    """A recording taken apart.

    header   the facts of the schema message
    batches  record batch and facts of each message, the final facts the last
    """

    header: dict[str, Any]
    batches: list[tuple[pa.RecordBatch, dict[str, Any]]]

    @property
    def facts(self) -> list[dict[str, Any]]:
        return [facts for _, facts in self.batches]

    def content(self, sealed: bool = True) -> bytes:
        """The bytes of the recording, with digests that fit; without its last message when not `sealed`."""
        schema = self.batches[0][0].schema
        schema = schema.with_metadata({fmt.INFO_KEY: json.dumps(self.header), fmt.DIGEST_KEY: BLANK})
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(sink, schema, options=options) as stream:
            for number, (batch, facts) in enumerate(self.batches):
                is_final = sealed and number == len(self.batches) - 1
                key = fmt.FINAL_KEY if is_final else fmt.BATCH_KEY
                stream.write_batch(batch, custom_metadata={key: json.dumps(facts), fmt.DIGEST_KEY: BLANK})
        return resealed(sink.getvalue().to_pybytes())


def draft(path: Path) -> Draft:
    """Take a sealed recording apart."""
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        header = json.loads(stream.schema.metadata[fmt.INFO_KEY.encode()])
        batches = []
        while True:
            try:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
            except StopIteration:
                break
            text = metadata.get(fmt.FINAL_KEY) or metadata[fmt.BATCH_KEY]
            batches.append((batch, json.loads(text)))
    return Draft(header, batches)


@contextmanager
def forging(path: Path) -> Iterator[Draft]:
    """Change a recording in place: `with forging(path) as it: it.facts[0]["rows"] = 23`."""
    taken_apart = draft(path)
    yield taken_apart
    path.write_bytes(taken_apart.content())
