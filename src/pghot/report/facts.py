"""What the live side and the recordings tell: JSON documents, which reports read and never change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Facts = Mapping[str, Any]
