"""How the running kernel was built: /proc/config.gz (CONFIG_IKCONFIG_PROC), or /boot/config-RELEASE."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from pghot.kernel.sysroot import SysRoot

_IKCONFIG = "/proc/config.gz"


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """Options that are set, by name with CONFIG_. `path` is the file they come from, "" when none can be read."""

    path: str
    options: Mapping[str, str]

    def says(self, option: str) -> str:
        """What is known about an option, in words; "" when no configuration could be read.

        >>> KernelConfig("/proc/config.gz", {"CONFIG_DAMON": "y"}).says("CONFIG_DAMON_PADDR")
        'CONFIG_DAMON_PADDR is not set'
        """
        if not self.path:
            return ""
        value = self.options.get(option)
        return f"{option} is not set" if value is None else f"{option}={value} is set"


def read_config(root: SysRoot) -> KernelConfig:
    """The configuration of the running kernel, empty when this user can read no file that has it."""
    release = root.osrelease()
    for path in (_IKCONFIG, f"/boot/config-{release}", f"/usr/lib/modules/{release}/config"):
        try:
            raw = root.read_bytes(path)
            text = gzip.decompress(raw) if path.endswith(".gz") else raw
        except (OSError, EOFError, zlib.error):
            continue
        if options := _options(text.decode("ascii", "replace")):
            return KernelConfig(path, options)
    return KernelConfig("", {})


def _options(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.MULTILINE))
