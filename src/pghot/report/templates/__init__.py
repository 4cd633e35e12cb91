"""The templates of the pages, their styles and their scripts; what goes into a template is escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pghot.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def filled(template: str, **values: object) -> Markup:
    """A template with its values. A `Markup` goes in as it is, all other text is escaped."""
    return Markup(_environment().get_template(template).render(values))


def asset(name: str) -> Markup:
    """A style or a script, as it stands in its file."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), name)[0])


def inside_a_script(json: str) -> Markup:
    """The same JSON, in which nothing ends the script that holds it, or begins a comment."""
    return Markup(json.replace("<", "\\u003c"))
