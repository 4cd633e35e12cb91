"""What MkDocs does not do by itself: files of the repository beside docs/, headings as the pages' links name them, and
the notebook as a page."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
_SHIM = "https://unpkg.com/iframe-worker/shim"
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")
_Config = Any


def slug(head: str, separator: str) -> str:
    """The anchor of a heading, as tests/unit/test_docs.py and forges make it.

    >>> slug("Is it A & B?", "-")
    'is-it-a--b'
    """
    return re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", separator)


def on_config(config: _Config) -> _Config:
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    return config


def on_files(files: Files, config: _Config) -> Files:
    """Pages that lie elsewhere, or are made of something else."""
    for name in BESIDE:
        files.append(File.generated(config, name, content=(ROOT / name).read_text("utf-8")))
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))
    text, pictures = page_of(notebook)
    files.append(File.generated(config, "notebook.md", content=text))
    for name, data in pictures.items():
        files.append(File.generated(config, name, content=data))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Links to the notebook lead to its page; what is no page is named, not linked."""

    def linked(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        if target.startswith(("http:", "https:")):
            return found[0]
        own = ROOT / page.file.src_uri if page.file.src_uri in BESIDE else ROOT / "docs" / page.file.src_uri
        place = own.parent / target
        name = place.resolve().relative_to(ROOT).as_posix()
        if name in BESIDE:
            return f"[{text}]({'../' * page.file.src_uri.count('/')}{name}{anchor})"
        if name.startswith("docs/") and not name.startswith("docs/make/"):
            up = "../" * page.file.src_uri.count("/")
            name = name.removeprefix("docs/").replace(".ipynb", ".md")
            return f"[{text}]({up}{name}{anchor})"
        return f"`{name}`" if text.strip("`") == name else f"{text} (`{name}`)"

    return _LINK.sub(linked, markdown)


def on_post_page(output: str, **_: object) -> str:
    """Search from files works by our own script in place of one that the theme asks a host for."""
    script = (Path(__file__).with_name("search_from_files.js")).read_text("utf-8")
    return output.replace(f'<script src="{_SHIM}"></script>', f"<script>\n{script}</script>")


def on_post_template(output: str, **_: object) -> str:
    """The page for what is not there."""
    return on_post_page(output)


def page_of(notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by their names."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if picture := data.get("image/png"):
                name = f"images/notebook-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(picture)
                parts.append(f"![{data['text/plain'].strip('<>')}]({name})")
            elif "text/html" in data:
                parts.append(data["text/html"])
            else:
                text = data.get("text/plain") or "".join(output.get("text") or "\n".join(output["traceback"]))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures
