"""A QEMU guest with real memory tiers that runs a command: a stock Debian kernel, this machine's files.

The guest's root is this machine's `/`, read-only over 9p, with tmpfs on /tmp, /run, /var/tmp and /dev/shm: the
interpreter and the environment outside are the ones inside. Directories given as `writable` are mounted at the same
path; those that it `carries` are copied into its memory, as each file over 9p takes tens of milliseconds. Nothing is
installed but QEMU and busybox; the kernel package is fetched once and unpacked into a cache.
"""

from __future__ import annotations

import io
import os
import re
import select
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from debian import CannotFetchError
from emulator import CannotBootError, Emulator, busybox, find_emulator
from kernels import CXL_MODULES, SWAP_MODULES, Kernel, fetch_kernel

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pghot-guest"
SILENCE_S = 9000  # a guard against a hang only: each test says something, and has a limit below this
# With ERMS and FSRM Linux and glibc clear and copy with `rep stosb` and `rep movsb`, which QEMU emulates byte by byte:
# without them clearing pages takes a third of the time, and memset a sixth (measured).
_CPU = "max,-hypervisor,-erms,-fsrm"
_EXIT = re.compile(r"@@guest exit (\d+)@@")

_INIT = r"""#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc p /proc; $B mount -t sysfs s /sys; $B mount -t devtmpfs d /dev
for m in @MODULES@; do $B insmod /m/$m || $B echo "insmod $m failed"; done
O=trans=virtio,version=9p2000.L,msize=524288
$B mount -t 9p -o ro,cache=loose,$O root /n || exec $B poweroff -f
for f in proc:proc sysfs:sys devtmpfs:dev; do $B mount -t ${f%%:*} x /n/${f##*:}; done
$B mkdir -p /n/dev/pts /n/dev/shm; $B mount -t devpts p /n/dev/pts
for d in /tmp /run /var/tmp /dev/shm; do $B mount -t tmpfs t /n$d; done
$B mount -t debugfs g /n/sys/kernel/debug; $B mount -t tracefs t /n/sys/kernel/tracing
$B mount -t cgroup2 c /n/sys/fs/cgroup; $B ip link set lo up
# Debian boots with balancing on, and 7.x with a DAMON of its own: both would move pages behind the tests' backs.
$B echo 0 > /proc/sys/kernel/numa_balancing
[ -e /sys/module/damon_stat ] && $B echo N > /sys/module/damon_stat/parameters/enabled
@MOUNTS@
$B tar -x -f /carried -C /n/run; $B rm /carried
$B cp /cmd /n/run/cmd
exec </dev/null >/n/dev/hvc0 2>&1
$B stty -F /n/dev/hvc0 -opost
$B chroot /n /bin/bash /run/cmd; rc=$?
$B echo; $B echo "@@guest exit $rc@@"
$B sync; $B poweroff -f
"""


@dataclass(frozen=True)
class Node:
    """One memory node: size in MiB, latency and bandwidth as HMAT says them, distance to node 0."""

    mib: int
    latency_ns: int
    bandwidth_gb_s: int
    distance: int = 10


@dataclass(frozen=True)
class Machine:
    """Memory nodes, of which node 0 has the CPUs, and a kernel.

    cxl   with an emulated CXL memory device, where QEMU has one (from 10 on)
    swap  with the modules of zram and of a RAM disk; the tests make the swap
    """

    nodes: tuple[Node, ...]
    kernel: str = "6.12"
    cxl: bool = False
    swap: bool = False


_TWO = (Node(1024, 10, 32), Node(1024, 40, 8, 30))

# Each kind boots once for all tests that are marked with its name.
MACHINES = {
    "two_tiers": Machine(_TWO),
    # The kernel's documented example: HBM without CPUs on top, DRAM in the middle, slow memory below.
    "three_tiers": Machine((Node(1024, 20, 16), Node(512, 10, 64, 20), Node(1024, 160, 2, 30))),
    # For swap in compressed memory. Beside the DRAM is a CXL device, of which the last tests make a node.
    "one_node": Machine((Node(1536, 10, 32),), cxl=True, swap=True),
    # Debian 12's kernel has neither DAMON nor tiers by latency; the newest has everything.
    "linux_6_1": Machine(_TWO, "6.1"),
    "linux_7_3": Machine(_TWO, "7.3"),
}

CXL_MIB = 768
# A type-3 memory device behind a root port: the tests inside make a region of it (tests/guest/inside/cxl.py).
CXL_DEVICE = (
    "-object", f"memory-backend-ram,id=cxl-memory,share=on,size={CXL_MIB}M",
    "-device", "pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.1",
    "-device", "cxl-rp,port=0,bus=cxl.1,id=cxl-port,chassis=0,slot=2",
    "-device", "cxl-type3,bus=cxl-port,volatile-memdev=cxl-memory,id=cxl-device",
    "-M", "cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=4G",
)  # fmt: skip


@dataclass
class Guest:
    """A machine, the directories that it may write to, the environment of its commands, and what it carries: name
    below /run and directory outside."""

    machine: Machine = MACHINES["two_tiers"]
    writable: Sequence[Path] = ()
    environment: dict[str, str] = field(default_factory=dict)
    carries: dict[str, Path] = field(default_factory=dict)
    cpus: int = 2

    def needs(self) -> tuple[Emulator, Kernel]:
        """Fetch what it takes to boot. Raises `CannotBootError`."""
        emulator = find_emulator(CACHE)
        try:
            return emulator, fetch_kernel(self.machine.kernel, CACHE)
        except CannotFetchError as lack:
            raise CannotBootError(f"no kernel {self.machine.kernel}: {lack}") from lack

    def run(self, command: Sequence[str], directory: Path) -> tuple[int | None, str]:
        """Exit status (None: the guest died or fell silent) and output of `command`, run in `directory`."""
        emulator, kernel = self.needs()
        with tempfile.TemporaryDirectory(prefix="pghot-guest") as scratch:
            initrd, log = Path(scratch, "initrd"), Path(scratch, "log")
            extra = CXL_MODULES * self.machine.cxl + SWAP_MODULES * self.machine.swap
            modules = kernel.load(extra)
            initrd.write_bytes(self._initramfs(modules, command, directory, emulator.why_not_10))
            output = _output(self._qemu(emulator, kernel, initrd, log, directory))
            status = _EXIT.search(output)
            if status is None:
                output += "\n--- end of the kernel's log ---\n" + log.read_text(errors="replace")[-3000:]
        return (int(status[1]) if status else None), _EXIT.sub("", output)

    def _initramfs(
        self, modules: dict[str, bytes], command: Sequence[str], directory: Path, why_not_10: str
    ) -> bytes:
        mount = "$B mkdir -p /n{0}; $B mount -t 9p -o {1},$O {2} /n{0}"
        mounts = [
            mount.format(path, "ro,cache=loose", f"ro{i}") for i, path in enumerate(_under_tmpfs(directory))
        ]
        mounts += [mount.format(path, "cache=none", f"rw{i}") for i, path in enumerate(self.writable)]
        init = _INIT.replace("@MODULES@", " ".join(modules)).replace("@MOUNTS@", "\n".join(mounts))
        variables = {
            "HOME": "/root",
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "PYTHONDONTWRITEBYTECODE": "1",
            "PGHOT_GUEST_NOT_QEMU_10": why_not_10,
            **self.environment,
        }
        script = f"cd {shlex.quote(str(directory))}\n"
        script += "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
        script += f"exec {shlex.join(command)}\n"
        files = [(name, 0o40755, b"", (0, 0)) for name in ("bin", "proc", "sys", "dev", "n", "m")]
        files += [
            ("dev/console", 0o20600, b"", (5, 1)),
            ("init", 0o100755, init.encode(), (0, 0)),
            ("cmd", 0o100644, script.encode(), (0, 0)),
            ("carried", 0o100644, _tar(self.carries), (0, 0)),
            ("bin/busybox", 0o100755, busybox().read_bytes(), (0, 0)),
        ]
        files += [(f"m/{name}", 0o100644, data, (0, 0)) for name, data in modules.items()]
        return _cpio(files)

    def _qemu(
        self, emulator: Emulator, kernel: Kernel, initrd: Path, log: Path, directory: Path
    ) -> list[str]:
        # QEMU 7.2 dies at random with thread=multi; 10 does not.
        threads = "multi" if emulator.version >= 10 else "single"
        cxl = self.machine.cxl and emulator.version >= 10
        machine = "q35,hmat=on" + (",cxl=on" if cxl else "")
        size = f"{sum(node.mib for node in self.machine.nodes)}M,maxmem=16G,slots=8"
        arguments = [
            *emulator.command, "-accel", f"tcg,thread={threads}", "-cpu", _CPU, "-machine", machine,
            "-smp", str(self.cpus), "-m", size,
            "-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", f"file:{log}",
            "-kernel", str(kernel.image), "-initrd", str(initrd),
            # no_timer_check: on a busy host the check of the timer's ticks fails, and the kernel panics.
            "-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no5lvl init_on_alloc=0 no_timer_check",
            "-device", "virtio-serial-pci", "-chardev", "stdio,id=o,signal=off", "-device", "virtconsole,chardev=o",
            *_share("root", Path("/"), "readonly=on,multidevs=remap"),
        ]  # fmt: skip
        for i, path in enumerate(_under_tmpfs(directory)):
            arguments += _share(f"ro{i}", path, "readonly=on,multidevs=remap")
        for i, path in enumerate(self.writable):
            arguments += _share(f"rw{i}", path, "multidevs=remap")
        return [*arguments, *_numa(self.machine.nodes, self.cpus), *(CXL_DEVICE if cxl else ())]


def _output(command: Sequence[str]) -> str:
    """What the guest printed until it ended, or was ended for it said nothing any more."""
    output = b""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as qemu:
        assert qemu.stdout is not None
        try:
            while select.select([qemu.stdout], [], [], SILENCE_S)[0]:
                if not (new := os.read(qemu.stdout.fileno(), 1 << 16)):
                    break
                output += new
        finally:
            qemu.kill()
    return output.decode(errors="replace").replace("\r", "")


def _under_tmpfs(directory: Path) -> list[Path]:
    """Of what the commands need, that which the guest's own /tmp and its like would hide."""
    wanted = {directory.resolve(), Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    hidden = [
        path for path in sorted(wanted) if str(path).startswith(("/tmp/", "/run/", "/var/tmp/", "/dev/shm/"))
    ]
    return [path for path in hidden if not any(other in path.parents for other in hidden)]


def _share(tag: str, path: Path, options: str) -> list[str]:
    return [
        "-fsdev", f"local,id={tag},path={path},security_model=none,{options}",
        "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}",
    ]  # fmt: skip


def _numa(nodes: Sequence[Node], cpus: int) -> list[str]:
    arguments = []
    for i, node in enumerate(nodes):
        owner = f",cpus=0-{cpus - 1}" if i == 0 else ""
        arguments += [
            "-object", f"memory-backend-ram,id=m{i},size={node.mib}M",
            "-numa", f"node,nodeid={i},memdev=m{i},initiator=0{owner}",
        ]  # fmt: skip
    for i, node in enumerate(nodes):
        where = f"initiator=0,target={i},hierarchy=memory"
        arguments += [
            "-numa", f"hmat-lb,{where},data-type=access-latency,latency={node.latency_ns}",
            "-numa", f"hmat-lb,{where},data-type=access-bandwidth,bandwidth={node.bandwidth_gb_s}G",
        ]  # fmt: skip
    for i in range(len(nodes)):
        for j in range(i):
            far = nodes[i].distance if j == 0 else nodes[i].distance + 10
            arguments += ["-numa", f"dist,src={j},dst={i},val={far}"]
    return arguments


def _tar(directories: dict[str, Path]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, path in directories.items():
            tar.add(path, name)
    return out.getvalue()


def _cpio(entries: Sequence[tuple[str, int, bytes, tuple[int, int]]]) -> bytes:
    """An initramfs in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = io.BytesIO()
    for name, mode, data, device in [*entries, ("TRAILER!!!", 0, b"", (0, 0))]:
        path = name.encode() + b"\0"
        numbers = [out.tell() // 4 + 1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0]
        out.write(b"070701" + b"".join(b"%08X" % number for number in numbers) + path)
        out.write(b"\0" * (-out.tell() % 4) + data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()
