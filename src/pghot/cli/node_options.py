"""The memory nodes that options name: fast, slow, left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pghot.cli.shared_options import NODES
from pghot.live.machine.chosen_nodes import NodeChoice, parse_nodes


def node_choice(of: Mapping[str, Any]) -> NodeChoice:
    """The memory nodes that options name. `of` holds the values of a verb's parameters."""
    lists = ((option, of[option]) for option in NODES)
    return NodeChoice(
        *(
            None if text is None else parse_nodes(text, f"--{option.replace('_', '-')}")
            for option, text in lists
        )
    )
