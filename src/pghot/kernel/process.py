"""Processes as `/proc/PID` shows them: who they are, and whether they still are who they were.

A pid alone names nobody: it is used again after its process died, and after an exec the same process has
other memory. `Identity` tells these cases apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghot.errors import NotPermittedError, UnsupportedError, UsageError
from pghot.kernel.sysroot import SysRoot

PF_KTHREAD = 0x00200000  # include/linux/sched.h


@dataclass(frozen=True, slots=True)
class Identity:
    """One address space of one process.

    start_ticks  when the process started, in clock ticks since boot: tells a reused pid
    mm           fields of its stat file that every exec draws anew (startcode, startstack, arg_start):
                 tells an exec. (1, 0, 0) when the kernel hides them from this user (do_task_stat).
    """

    pid: int
    start_ticks: int
    mm: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Stat:
    """The parts of `/proc/PID/stat` that pghot uses.

    cpu_ticks  user and system time so far, in clock ticks
    """

    comm: str
    state: str
    flags: int
    cpu_ticks: int
    identity: Identity

    @property
    def kernel_thread(self) -> bool:
        return bool(self.flags & PF_KTHREAD)

    @property
    def dead(self) -> bool:
        """A zombie has no memory any more."""
        return self.state in "ZX"


def parse_stat(text: str) -> Stat:
    """`/proc/PID/stat`, see proc(5). Raises `ValueError` when it is not one.

    The command stands in parentheses and may contain any character, parentheses too.
    """
    head, _, tail = text.rpartition(")")
    pid, _, comm = head.partition(" (")
    fields = tail.split()
    if len(fields) < 46:
        raise ValueError("not a stat line")
    start, code, stack, arguments = (int(fields[number - 3]) for number in (22, 26, 28, 48))
    user, system = (int(fields[number - 3]) for number in (14, 15))
    return Stat(
        comm=comm,
        state=fields[0],
        flags=int(fields[6]),
        cpu_ticks=user + system,
        identity=Identity(int(pid), start, (code, stack, arguments)),
    )


def read_stat(root: SysRoot, pid: int) -> Stat:
    """The process's stat line. Raises `OSError` (usually `ProcessLookupError`, `FileNotFoundError`)."""
    try:
        return parse_stat(root.read(f"/proc/{pid}/stat"))
    except ValueError as error:
        raise ProcessLookupError(f"/proc/{pid}/stat: {error}") from None


def alive(root: SysRoot, identity: Identity) -> bool:
    """Whether the same process with the same memory still runs."""
    try:
        stat = read_stat(root, identity.pid)
    except OSError:
        return False
    return not stat.dead and stat.identity == identity


def check_target(root: SysRoot, pid: int) -> Stat:
    """The stat line of a process whose memory can be tracked.

    Raises `UsageError` for a pid that does not exist, a kernel thread, a zombie or a thread of another process.
    """
    try:
        stat = read_stat(root, pid)
    except OSError:
        raise UsageError(f"no process {pid}", "see `ps -e`") from None
    if stat.kernel_thread:
        raise UsageError(
            f"process {pid} ({stat.comm}) is a kernel thread", "it has no memory of its own; name a program"
        )
    if stat.dead:
        raise UsageError(
            f"process {pid} ({stat.comm}) ended and has no memory any more (a zombie)", "name one that runs"
        )
    leader = re.search(r"^Tgid:\s*(\d+)$", root.read_or(f"/proc/{pid}/status"), re.MULTILINE)
    if leader and int(leader[1]) != pid:
        raise UsageError(f"{pid} is a thread of process {leader[1]}", f"name the process: -p {leader[1]}")
    return stat


def children(root: SysRoot, pid: int) -> list[int]:
    """Pids of the direct children of all its threads."""
    found = set()
    for tid in root.list(f"/proc/{pid}/task"):
        words = root.read_or(f"/proc/{pid}/task/{tid}/children").split()
        found |= {int(word) for word in words}
    return sorted(found)


def descendants(root: SysRoot, pid: int) -> list[int]:
    """The process and all its children's children."""
    found, waiting = [], [pid]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting += children(root, pid)
    return found


def cgroup_members(root: SysRoot, path: str) -> list[int]:
    """Pids in a cgroup (v2) and the groups below it; `path` as in /proc/PID/cgroup or under /sys/fs/cgroup.

    Raises `UsageError` when there is no such group, `UnsupportedError` without cgroup v2.
    """
    if not root.exists("/sys/fs/cgroup/cgroup.procs"):
        raise UnsupportedError("no cgroup v2 at /sys/fs/cgroup", cgroup2_remedy(root))
    name = cgroup_path(path)
    if not root.exists(f"{name}/cgroup.procs"):
        raise UsageError(f"no cgroup {path}", "name a directory under /sys/fs/cgroup")
    found, waiting = [], [name]
    while waiting:
        group = waiting.pop()
        found += [int(word) for word in root.read_or(f"{group}/cgroup.procs").split()]
        waiting += [
            f"{group}/{entry}" for entry in root.list(group) if root.path(f"{group}/{entry}").is_dir()
        ]
    return sorted(pid for pid in found if pid)


def cgroup2_remedy(root: SysRoot) -> str:
    """What brings cgroup v2 to /sys/fs/cgroup. A mount over the hierarchies of v1 would hide them from systemd."""
    if root.list("/sys/fs/cgroup"):
        return "cgroup v1 is mounted there: boot with systemd.unified_cgroup_hierarchy=1, or track pids"
    return "mount it: mount -t cgroup2 none /sys/fs/cgroup"


def cgroup_path(path: str) -> str:
    """The directory of a cgroup.

    >>> cgroup_path("/system.slice")
    '/sys/fs/cgroup/system.slice'
    """
    return "/sys/fs/cgroup/" + path.removeprefix("/sys/fs/cgroup").strip("/")


def memory_cgroups(root: SysRoot, path: str) -> list[str]:
    """The cgroups, `path` and those below it, to which memory is charged, as the kernel names them ("/a/b").

    A group without the memory controller charges to the nearest one above it that has it. Raises `UsageError` when
    `path` itself is such a one: its memory cannot be told from that of others. Empty when it does not exist any more.
    """
    top = cgroup_path(path)
    if not root.exists(top):
        return []
    if not root.exists(f"{top}/memory.current"):
        raise UsageError(
            f"the memory of the cgroup {path} is not accounted for itself",
            f"echo +memory > {top.rpartition('/')[0]}/cgroup.subtree_control, before its programs start",
        )
    found, waiting = [], [top]
    while waiting:
        group = waiting.pop()
        if root.exists(f"{group}/memory.current"):
            found.append(group.removeprefix("/sys/fs/cgroup"))
            waiting += [
                f"{group}/{entry}" for entry in root.list(group) if root.path(f"{group}/{entry}").is_dir()
            ]
    return sorted(found)


def cgroup_of(root: SysRoot, pid: int) -> str:
    """The process's cgroup v2, "/" when it has none or it cannot be read."""
    for line in root.read_or(f"/proc/{pid}/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def capabilities(root: SysRoot, pid: str = "self") -> int:
    """Effective capabilities as a bit mask."""
    for line in root.read_or(f"/proc/{pid}/status").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


CAPABILITIES = {"CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_SYS_NICE": 23, "CAP_PERFMON": 38}


def has_capability(root: SysRoot, name: str) -> bool:
    """Whether this process has a capability; CAP_SYS_ADMIN stands for CAP_PERFMON, as in the kernel."""
    held = capabilities(root)
    names = {name, "CAP_SYS_ADMIN"} if name == "CAP_PERFMON" else {name}
    return any(held >> CAPABILITIES[each] & 1 for each in names)


def with_capabilities(*names: str) -> str:
    """The command that lets a user run pghot with capabilities. Ambient are only those that are inheritable
    (capabilities(7)): setpriv drops the others without a word.

    >>> with_capabilities("CAP_SYS_NICE")
    'sudo setpriv --reuid=$USER --init-groups --inh-caps +sys_nice --ambient-caps +sys_nice pghot ...'
    """
    words = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in names)
    return f"sudo setpriv --reuid=$USER --init-groups --inh-caps {words} --ambient-caps {words} pghot ..."


def refused(pid: int, what: str, *capabilities: str) -> NotPermittedError:
    """The error for a process that belongs to somebody else."""
    return NotPermittedError(
        f"not permitted to {what} process {pid}",
        f"run as root, or add {' and '.join(capabilities)}: {with_capabilities(*capabilities)}",
    )
