"""The plugin, compiled on first use and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pghot.errors import PghotError, UnsupportedError
from pghot.recorder.programs import machine
from pghot.trusted import distrust_entry, instead_of_cache, private_directory

_FLAGS = ("-O3", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,lazy")


@dataclass(frozen=True, slots=True)
class Emulator:
    """qemu user-mode emulation as found on this machine. `version` as it states it, e.g. (7, 2)."""

    path: str
    version: tuple[int, int]

    @property
    def plugin_api(self) -> int:
        """QEMU 9.0 dropped version 1 of its plugin interface; what the plugin uses is the same in 2 and later."""
        return 1 if self.version < (9, 0) else 2


# Debian's qemu-user is static from 10 on (trixie, bookworm-backports), and what is static can load no plugin.
_WITH_PLUGINS = (
    "Debian 12's own has them: apt-get install qemu-user/bookworm; or build qemu with --enable-plugins"
)


def find_emulator() -> Emulator:
    """Raises `UnsupportedError` when this machine has no qemu user-mode emulator of its own architecture, or one
    without plugins."""
    name = f"qemu-{machine()}"
    path = shutil.which(name)
    if path is None:
        raise UnsupportedError(f"recording needs {name}, which is not installed", "apt-get install qemu-user")
    match = re.search(r"version (\d+)\.(\d+)", _answer(path, "--version"))
    if match is None:
        raise UnsupportedError(f"{path} does not state its version", "apt-get install --reinstall qemu-user")
    if not re.search(r"^-plugin\b", _answer(path, "-h"), re.MULTILINE):
        raise UnsupportedError(
            f"{path} (qemu {match[1]}.{match[2]}) was built without plugins, which recording needs",
            _WITH_PLUGINS,
        )
    return Emulator(path, (int(match[1]), int(match[2])))


def _answer(path: str, option: str) -> str:
    """What qemu prints; nothing when it cannot be run."""
    try:
        return subprocess.run([path, option], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


_SOURCES = (
    "plugin.c",
    "plugin_groups.h",
    "plugin_qemu.h",
    "plugin_sites.h",
    "plugin_stacks.h",
    "plugin_waits.h",
    "plugin_x86.h",
)


def plugin_sources() -> dict[str, str]:
    """The C sources that are installed with the package, by name; `plugin.c` includes the others."""
    return {name: files("pghot.recorder").joinpath(name).read_text() for name in _SOURCES}


def plugin_path(emulator: Emulator) -> Path:
    """The compiled plugin, from the cache or compiled now (about a second).

    Raises `UnsupportedError` without a C compiler, `PghotError` when compiling fails.
    """
    sources = plugin_sources()
    key = f"{emulator.plugin_api} {machine()} {_FLAGS} {sources}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = _cache_directory() / f"qemu-plugin-{digest}.so"
    if not _is_ours(path):
        compile_plugin(sources, path, emulator.plugin_api)
    return path


def _cache_directory() -> Path:
    """The user's cache. Where others may have put a plugin there, a directory of this process: qemu runs the plugin."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(base, "pghot").absolute()
    try:
        reason = private_directory(path)
    except OSError as error:
        raise PghotError(
            f"cannot create {path}: {error.strerror}", "set XDG_CACHE_HOME to a writable place"
        ) from None
    return instead_of_cache(path, reason, "pghot-plugin-") if reason else path.resolve()


def _is_ours(path: Path) -> bool:
    """Whether a plugin is there that nobody else can have written; its directory keeps others from replacing it."""
    try:
        fact = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(fact.st_mode) and not distrust_entry(str(path), fact)


def compile_plugin(sources: Mapping[str, str], path: Path, api: int, *flags: str) -> None:
    """Compile the plugin into `path`, with more `flags` for tests. Raises as `plugin_path` does."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise UnsupportedError(
            "recording compiles a small plugin and found no C compiler", "apt-get install gcc libc6-dev"
        )
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        for name, text in sources.items():
            (Path(scratch) / name).write_text(text)
        built = Path(scratch) / "plugin.so"
        code = str(Path(scratch) / "plugin.c")
        command = [compiler, *_FLAGS, *flags, f"-DPGHOT_PLUGIN_API={api}", "-o", str(built), code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            first = next(
                (line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200]
            )
            raise PghotError(
                f"{compiler} cannot compile the plugin: {first}", "apt-get install gcc libc6-dev"
            )
        built.chmod(0o600)
        os.replace(built, path)  # whole or not at all: two recorders may build at the same time
