"""perf_event_open(2): opening events and mapping their rings. Layouts as in include/uapi/linux/perf_event.h.

`pghot.kernel.perf_records` decodes the rings.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pghot.errors import NotPermittedError, PghotError, UnsupportedError, UsageError
from pghot.kernel.cgroup import cgroup_path
from pghot.kernel.cpus import online_cpus
from pghot.kernel.needs import Need
from pghot.kernel.process import has_capability, with_capabilities
from pghot.kernel.sysroot import SysRoot

# perf_type_id, perf_sw_ids
TYPE_SOFTWARE = 1
SW_PAGE_FAULTS = 2
SW_PAGE_FAULTS_MIN = 5
SW_PAGE_FAULTS_MAJ = 6

# perf_event_sample_format
SAMPLE_IP = 1 << 0
SAMPLE_TID = 1 << 1
SAMPLE_TIME = 1 << 2
SAMPLE_ADDR = 1 << 3
SAMPLE_CPU = 1 << 7
SAMPLE_PERIOD = 1 << 8
SAMPLE_WEIGHT = 1 << 14
SAMPLE_DATA_SRC = 1 << 15
SAMPLE_PHYS_ADDR = 1 << 19
SAMPLE_DATA_PAGE_SIZE = 1 << 22  # Linux >= 5.11
SAMPLE_WEIGHT_STRUCT = 1 << 24

# perf_event_read_format
FORMAT_TOTAL_TIME_ENABLED = 1 << 0
FORMAT_TOTAL_TIME_RUNNING = 1 << 1

# Bits of the flag word of perf_event_attr, by position.
_FLAGS = {
    "disabled": 0, "inherit": 1, "exclude_user": 4, "exclude_kernel": 5, "exclude_hv": 6, "mmap": 8, "comm": 9,
    "freq": 10, "task": 13, "watermark": 14, "sample_id_all": 18, "exclude_guest": 20, "comm_exec": 24,
    "use_clockid": 25,
}  # fmt: skip
_PRECISE_IP_SHIFT = 15

FLAG_FD_CLOEXEC = 8
FLAG_PID_CGROUP = 4
IOC_ENABLE = 0x2400
IOC_DISABLE = 0x2401
IOC_PERIOD = 0x40082404

_SYSCALL = {"x86_64": 298, "aarch64": 241}

# Offsets in struct perf_event_mmap_page.
_DATA_HEAD, _DATA_TAIL, _AUX_HEAD, _AUX_TAIL, _AUX_OFFSET, _AUX_SIZE = (
    offset // 8 for offset in (1024, 1032, 1056, 1064, 1072, 1080)
)


class _Attr(ctypes.Structure):
    """struct perf_event_attr, PERF_ATTR_SIZE_VER8 (Linux 6.3). Older kernels accept it: the fields they lack are 0."""

    _fields_ = (
        ("type", ctypes.c_uint32), ("size", ctypes.c_uint32), ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64), ("sample_type", ctypes.c_uint64), ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64), ("wakeup", ctypes.c_uint32), ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64), ("config2", ctypes.c_uint64), ("branch_sample_type", ctypes.c_uint64),
        ("sample_regs_user", ctypes.c_uint64), ("sample_stack_user", ctypes.c_uint32), ("clockid", ctypes.c_int32),
        ("sample_regs_intr", ctypes.c_uint64), ("aux_watermark", ctypes.c_uint32),
        ("sample_max_stack", ctypes.c_uint16), ("reserved_2", ctypes.c_uint16),
        ("aux_sample_size", ctypes.c_uint32), ("aux_action", ctypes.c_uint32), ("sig_data", ctypes.c_uint64),
        ("config3", ctypes.c_uint64),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What to open. `flags` are names of bits of perf_event_attr; config* as the PMU's format says."""

    type: int
    config: int
    sample_type: int
    sample_period: int = 1
    config1: int = 0
    config2: int = 0
    flags: tuple[str, ...] = ()
    precise_ip: int = 0
    read_format: int = 0


def perf_event_open(spec: EventSpec, pid: int, cpu: int, group_fd: int = -1, cgroup: bool = False) -> int:
    """The file descriptor of a new event, disabled when `spec.flags` says so.

    pid     process, -1 for all; with `cgroup` the descriptor of a cgroup directory
    Raises `OSError` as the kernel reports it, `UnsupportedError` on an architecture without a known number.
    """
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise UnsupportedError(
            f"perf_event_open: no system call number for {platform.machine()}", "report this machine"
        )
    attr = _Attr(
        type=spec.type, size=ctypes.sizeof(_Attr), config=spec.config, sample_period=spec.sample_period,
        sample_type=spec.sample_type, config1=spec.config1, config2=spec.config2, read_format=spec.read_format,
        flags=sum(1 << _FLAGS[name] for name in spec.flags) | spec.precise_ip << _PRECISE_IP_SHIFT,
    )  # fmt: skip
    libc = ctypes.CDLL(None, use_errno=True)
    how = FLAG_FD_CLOEXEC | (FLAG_PID_CGROUP if cgroup else 0)
    fd = libc.syscall(
        ctypes.c_long(number), ctypes.byref(attr), ctypes.c_int(pid), ctypes.c_int(cpu),
        ctypes.c_int(group_fd), ctypes.c_ulong(how),
    )  # fmt: skip
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(fd)


class Ring:
    """The mapped ring of one event.

    data  uint8[N]  the ring itself, N a power of two
    aux   uint8[M]  the AUX area of a PMU that has one, M a power of two; else empty
    """

    def __init__(self, fd: int, data_pages: int, aux_bytes: int = 0, leader_fd: int = -1) -> None:
        """leader_fd  the event that leads the group, closed with this one

        Raises `OSError`: EPERM over perf_event_mlock_kb, ENOMEM.
        """
        self.fd, self._leader_fd = fd, leader_fd
        page = mmap.PAGESIZE
        self._map = mmap.mmap(fd, (1 + data_pages) * page)
        self._control = np.frombuffer(self._map, np.uint64, 136)
        self.data = np.frombuffer(self._map, np.uint8, data_pages * page, page)
        self.aux: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._aux_map: mmap.mmap | None = None
        if aux_bytes:
            offset = (1 + data_pages) * page
            self._control[_AUX_OFFSET], self._control[_AUX_SIZE] = offset, aux_bytes
            self._aux_map = mmap.mmap(fd, aux_bytes, offset=offset)
            self.aux = np.frombuffer(self._aux_map, np.uint8)

    @property
    def head(self) -> int:
        """Bytes ever written by the kernel."""
        return int(self._control[_DATA_HEAD])

    @property
    def tail(self) -> int:
        """Bytes ever consumed."""
        return int(self._control[_DATA_TAIL])

    def consume(self, tail: int) -> None:
        """Give the kernel back the room up to `tail`."""
        self._control[_DATA_TAIL] = tail

    @property
    def aux_head(self) -> int:
        return int(self._control[_AUX_HEAD])

    @property
    def aux_tail(self) -> int:
        return int(self._control[_AUX_TAIL])

    def consume_aux(self, tail: int) -> None:
        self._control[_AUX_TAIL] = tail

    def enable(self) -> None:
        fcntl.ioctl(self.fd, IOC_ENABLE, 0)

    def disable(self) -> None:
        fcntl.ioctl(self.fd, IOC_DISABLE, 0)

    def set_period(self, period: int) -> None:
        fcntl.ioctl(self.fd, IOC_PERIOD, period.to_bytes(8, "little"))

    def idle_ns(self) -> int:
        """Time in which the event was enabled but not on its PMU, because others were.

        Needs both FORMAT_TOTAL_TIME_* in `read_format`.
        """
        _, enabled, running = struct.unpack("=3Q", os.read(self.fd, 24))
        return int(enabled - running)

    def close(self) -> None:
        """End the event. Arrays handed out keep the mapping, and with it the idle event, until they are gone too."""
        if self.fd >= 0:
            with suppress(OSError):  # its PMU went away
                self.disable()
        for fd in (self.fd, self._leader_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self._leader_fd = -1


def open_on_all_cpus(
    root: SysRoot,
    spec: EventSpec,
    ring_bytes: int,
    cgroup: str = "",
    cpus: Sequence[int] | None = None,
    aux_bytes: int = 0,
    leader: EventSpec | None = None,
) -> list[Ring]:
    """One event and ring for each CPU: of all processes, or of those in `cgroup` (as the user named it).

    ring_bytes  a power of two, at least a page
    cpus        the CPUs that the PMU is for; None: all online ones
    aux_bytes   size of each AUX area, a power of two; 0: none
    leader      an event without a ring that must lead a group on each CPU
    Raises `NotPermittedError`, `UnsupportedError` or `PghotError` that say what the kernel refused, `UsageError` for a
    cgroup that does not exist any more.
    """
    rings: list[Ring] = []
    directory = _open_cgroup(root, cgroup) if cgroup else -1
    try:
        for cpu in online_cpus(root) if cpus is None else cpus:
            ring = _open_ring(spec, directory, cpu, ring_bytes, aux_bytes, leader)
            rings.append(ring)
    except (OSError, PghotError) as error:
        for ring in rings:
            ring.close()
        if isinstance(error, OSError):
            raise root.shortages.of(error) or _explain(error) from error
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return rings


def _open_cgroup(root: SysRoot, cgroup: str) -> int:
    try:
        return root.open(cgroup_path(cgroup), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsageError(f"no cgroup {cgroup}: {error.strerror}", "name one under /sys/fs/cgroup") from None


def _open_ring(
    spec: EventSpec, cgroup_fd: int, cpu: int, ring_bytes: int, aux_bytes: int, leader: EventSpec | None
) -> Ring:
    fds: list[int] = []
    try:
        for event in (leader, spec):
            if event is not None:
                group_fd = fds[-1] if fds else -1
                fds.append(perf_event_open(event, cgroup_fd, cpu, group_fd, cgroup=cgroup_fd >= 0))
        return _mapped(fds[-1], ring_bytes, aux_bytes, fds[0] if leader else -1)
    except (OSError, PghotError):
        for fd in fds:
            os.close(fd)
        raise


def _mapped(fd: int, ring_bytes: int, aux_bytes: int, leader_fd: int) -> Ring:
    """The ring of an open event. All rings may lock perf_event_mlock_kb a CPU and RLIMIT_MEMLOCK (perf_mmap)."""
    try:
        return Ring(fd, ring_bytes // mmap.PAGESIZE, aux_bytes, leader_fd)
    except PermissionError:
        size = (ring_bytes + aux_bytes) // 1024
        raise NotPermittedError(
            f"perf rings of {size} KiB a CPU are more memory than this user may lock",
            "run as root, add CAP_IPC_LOCK, or raise kernel.perf_event_mlock_kb or `ulimit -l`",
        ) from None


def _explain(error: OSError) -> PghotError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermittedError(
            f"perf_event_open: {error.strerror}", "run as root, or add CAP_PERFMON and CAP_SYS_PTRACE"
        )
    if error.errno in (
        errno.ENOENT,
        errno.EOPNOTSUPP,
        errno.ENODEV,
        errno.ENODATA,
        errno.ENOSYS,
        errno.EINVAL,
    ):
        return UnsupportedError(
            f"perf_event_open: {error.strerror}",
            "this kernel or CPU does not have the event; see `pghot doctor`",
        )
    return PghotError(f"perf_event_open: {error.strerror}", "see `pghot doctor`")


def perf_need(root: SysRoot) -> Need:
    """Whether this user may open events of all processes on all CPUs."""
    what = "perf events of all processes"
    paranoid = root.read_or("/proc/sys/kernel/perf_event_paranoid", "")
    if not paranoid:
        return Need(what, "unsupported", "the kernel has no perf events (CONFIG_PERF_EVENTS)")
    # Above 0 events of a CPU are refused (perf_allow_cpu, include/linux/perf_event.h).
    if int(paranoid) <= 0 or has_capability(root, "CAP_PERFMON"):
        return Need(what)
    return Need(
        what,
        "not permitted",
        f"perf_event_paranoid is {paranoid} and CAP_PERFMON is missing",
        f"run as root, or add CAP_PERFMON: {with_capabilities('CAP_PERFMON')}",
    )
