"""The chain of digests through a recording: each message vouches for itself and for all before it.

The value of `DIGEST_KEY` in a message's metadata is two digests in hex. The first is that of its body. The second,
the *chain*, is that of the chain before it followed by the message up to its body, its own 32 hex digits taken as
zeros; so it covers the first digest, and with it the body. Where the chain holds, no message was changed, left out,
doubled or moved. Walking it needs no body. A digest is BLAKE2b (RFC 7693) of 16 bytes: of what Python's standard
library has, the fastest keyless one of its strength, and it runs over the compressed bytes, some two for each row.
"""

from __future__ import annotations

import hashlib
from typing import Final

from pghot.recording.framing import DamageError, InMemory, Message, messages

DIGEST_BYTES: Final = 16
_HEX: Final = 2 * DIGEST_BYTES

# What a message carries while it is being made, and the chain before the first message.
BLANK: Final = "0" * (2 * _HEX)
START: Final = bytes(DIGEST_BYTES)


def digest(*parts: bytes | memoryview) -> bytes:
    """The digest of these parts, one after the other."""
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        state.update(part)
    return state.digest()


def with_digests(data: bytes, chain: bytes) -> tuple[bytes, bytes]:
    """Whole messages that carry `BLANK`, with their digests in place; and the chain after them."""
    parts = []
    for message in messages(InMemory(data)):
        before, after = (
            bytes(message.raw[: message.digest_at]),
            bytes(message.raw[message.digest_at + 2 * _HEX :]),
        )
        body = data[message.body_offset : message.end]
        before += digest(body).hex().encode()
        chain = digest(chain, before, BLANK[:_HEX].encode(), after)
        parts += [before, chain.hex().encode(), after, body]
    return b"".join(parts), chain


def next_chain(message: Message, chain: bytes) -> bytes:
    """The chain after a message. Raises `DamageError` when the message does not follow on `chain` as it is."""
    at = message.digest_at + _HEX
    if message.digest_at < 0 or at + _HEX > len(message.raw):
        raise DamageError("a message without its digest")
    found = digest(chain, message.raw[:at], BLANK[:_HEX].encode(), message.raw[at + _HEX :])
    if found.hex().encode() != message.raw[at : at + _HEX]:
        raise DamageError("a message that was changed or is not in its place: its digest does not match")
    return found


def check_body(message: Message, body: memoryview) -> None:
    """Raise `DamageError` when these are not the bytes that the message's digest is of."""
    if digest(body).hex().encode() != message.raw[message.digest_at : message.digest_at + _HEX]:
        raise DamageError("the digest of the rows does not match")
