"""The daemon's log on stderr: one JSON object a line, or text for people."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal

from pghot.printable import printable

_FIELDS = "pghot_fields"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, _FIELDS, {})
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        return json.dumps(
            {"time": stamp, "level": record.levelname.lower(), "event": record.getMessage(), **fields}
        )


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(
            f" {key}={printable(str(value))}" for key, value in getattr(record, _FIELDS, {}).items()
        )
        return f"pghot: {record.levelname.lower()}: {record.getMessage()}{fields}"


def open_log(form: Literal["json", "text"]) -> logging.Logger:
    """The logger of the daemon."""
    log = logging.getLogger("pghot.daemon")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    return log


def event(log: logging.Logger, name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields."""
    log.log(level, name, extra={_FIELDS: fields})
