"""The daemon's log on stderr: one JSON object a line, or text for people. Nobody can fill a disk with it.

Events of one name come at a bounded rate. What is left out is counted, and the next event of that name says how many
there were.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pghot.printable import printable

_FIELDS = "pghot_fields"
BURST, PER_S = 20, 1.0  # of events of one name
MOST_CHARACTERS = 2000  # of one field that is a text
# Libraries that log by themselves.
_OTHERS = ("asyncio", "py.warnings")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, _FIELDS, {})
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        return json.dumps(
            {"time": stamp, "level": record.levelname.lower(), "event": _name(record), **fields}
        )


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(
            f" {key}={printable(str(value))}" for key, value in getattr(record, _FIELDS, {}).items()
        )
        return f"pghot: {record.levelname.lower()}: {printable(_name(record))}{fields}"


def _name(record: logging.LogRecord) -> str:
    return record.getMessage()[:MOST_CHARACTERS]


class Bounded(logging.Filter):
    """Lets the first events of a name through, and then so many a second."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._left: dict[str, tuple[float, float]] = {}  # of each name: how many may come, as of when
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Names are few: those of our events, and of the libraries that log by themselves."""
        name = record.getMessage() if hasattr(record, _FIELDS) else record.name
        now_s = self._clock_s()
        left, then_s = self._left.get(name, (float(BURST), now_s))
        left = min(BURST, left + (now_s - then_s) * PER_S)
        self._left[name] = max(0.0, left - 1) if left >= 1 else left, now_s
        if left < 1:
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return False
        if before := self._left_out.pop(name, 0):
            setattr(record, _FIELDS, {**getattr(record, _FIELDS, {}), "left_out_before": before})
        return True


def open_log(form: Literal["json", "text"]) -> logging.Logger:
    """The logger of the daemon. What libraries log comes in the same form."""
    log = logging.getLogger("pghot.daemon")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    handler.addFilter(Bounded())
    logging.captureWarnings(True)
    for each in (log, *map(logging.getLogger, _OTHERS)):
        each.handlers = [handler]
        each.propagate = False
    log.setLevel(logging.INFO)
    return log


def event(log: logging.Logger, name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event with its fields."""
    log.log(level, name, extra={_FIELDS: {key: _short(value) for key, value in fields.items()}})


def unexpected(log: logging.Logger, context: Mapping[str, Any]) -> None:
    """Log what no code expected: an exception in the loop, as asyncio tells it (`set_exception_handler`)."""
    error = context.get("exception")
    what = f"{type(error).__name__}: {error}" if error is not None else ""
    event(log, "unexpected", logging.ERROR, what=context.get("message", ""), error=what, at=_where(error))


def _where(error: BaseException | None) -> str:
    """The line of code that raised it."""
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""


def _short(value: Any) -> Any:
    return value[:MOST_CHARACTERS] if isinstance(value, str) else value
