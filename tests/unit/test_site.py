"""The documentation as a site: built strictly, asks no host, is searched offline, and shows what its commands print."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from builders.chromium import PROGRAM, Browser

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"""(?:\bsrc=|<link [^>]*href=|url\(|@import )["']?(https?:)?//""")
# Scripts, styles and pictures that a page asks a host for; a link that a reader follows is none.
WIDE = "document.documentElement.scrollWidth <= innerWidth"
SEARCH = """new Promise((done, failed) => { const field = document.querySelector('.md-search__input');
document.querySelector('#__search').click(); field.focus(); field.value = 'ping-pong';
for (const event of [new Event('input', {bubbles: true}), new KeyboardEvent('keyup', {bubbles: true})])
field.dispatchEvent(event);
const end = Date.now() + 60000, look = () => { const found = document.querySelectorAll('.md-search-result__link');
found.length ? done([...found].map(each => each.href)) : Date.now() > end ? done([]) : setTimeout(look, 50) };
look() })"""


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "make" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRANSCRIPTS = tool("transcripts")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strict: a link that leads nowhere, or a page that no menu has, is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not PROGRAM:
        pytest.skip("not installed: chromium")
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.mark.heavy
def test_no_page_loads_anything_from_a_host(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 30
    found = {path.name: LOADED.findall(path.read_text("utf-8")) for path in pages}
    assert {name: loads for name, loads in found.items() if loads} == {}


@pytest.mark.heavy
@pytest.mark.parametrize(("width", "dark"), [(1600, False), (1600, True), (400, False)])
def test_pages_open_from_files_and_fit_the_window(
    site: Path, browser: Browser, width: int, dark: bool
) -> None:
    for name in ("index.html", "tutorials/kernel-engineer.html", "gallery.html", "notebook.html"):
        (site / name).write_text((site / name).read_text().replace("<html ", '<html data-drawn="true" ', 1))
        with browser.page(site / name, width, dark) as page:
            assert page.run(WIDE), name
            assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []
            assert page.complaints == []
            scheme = page.run("document.body.getAttribute('data-md-color-scheme')")
            assert scheme == ("slate" if dark else "default")
            page.run("localStorage.clear()")  # the choice is kept, for all pages


@pytest.mark.heavy
def test_a_page_is_found_offline(site: Path, browser: Browser) -> None:
    (site / "cli.html").write_text(
        (site / "cli.html").read_text().replace("<html ", '<html data-drawn="true" ', 1)
    )
    with browser.page(site / "cli.html", 1600) as page:
        assert any("live.html" in link for link in page.run(SEARCH))
        assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.heavy
@pytest.mark.parametrize("page", TRANSCRIPTS.PAGES, ids=lambda page: page.stem)
def test_commands_print_what_their_page_shows(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    assert TRANSCRIPTS.written_anew(text, tmp_path) == text, "make it anew: python docs/make/transcripts.py"
    made = {path.name for path in tmp_path.iterdir()}
    assert made <= set(TRANSCRIPTS.pictures_of(text))
    if page.stem == "gallery":
        assert len(made) >= 4


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    assert {name: size for name, size in sizes.items() if size > 100_000} == {}
