"""Processes as `/proc/PID` shows them: who they are, and whether they still are who they were.

A pid alone is not enough: it is reused after its process has died, and after an exec the same process has other
memory. `Identity` tells these cases apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pghot.errors import NotPermittedError, UsageError
from pghot.kernel.process_status import status_field
from pghot.kernel.sysroot import SysRoot
from pghot.units import PAGE_BYTES

PID_MAX_LIMIT = 1 << 22  # include/linux/threads.h
PF_KTHREAD = 0x00200000  # include/linux/sched.h
_NUMBER = re.compile(r"[0-9]{1,18}")
MANY_THREADS = 64  # of one process; with fewer it is not looked how many processes there are
_HIDDEN = (1, 0, 0)  # fields of stat for users who may not see them (do_task_stat, fs/proc/array.c)


@dataclass(frozen=True, slots=True)
class Identity:
    """One address space of one process.

    start_ticks  when the process started, in clock ticks since boot: tells a reused pid
    mm           fields of its stat file that change with every exec (startcode, startstack, arg_start):
                 tells an exec. (1, 0, 0) when the kernel hides them from this user (do_task_stat).
    """

    pid: int
    start_ticks: int
    mm: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Stat:
    """The parts of `/proc/PID/stat` that pghot uses.

    parent     pid of the process that it is a child of, whichever thread of it made it
    cpu_ticks  user and system time so far, in clock ticks
    """

    comm: str
    state: str
    parent: int
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
        parent=int(fields[1]),
        flags=int(fields[6]),
        cpu_ticks=user + system,
        identity=Identity(int(pid), start, (code, stack, arguments)),
    )


def read_stat(root: SysRoot, pid: int) -> Stat:
    """The process's stat line. Raises `OSError` (usually `ProcessLookupError`, `FileNotFoundError`)."""
    path = f"/proc/{pid}/stat"
    try:
        return parse_stat(root.read(path))
    except ValueError as error:
        raise ProcessLookupError(f"{path}: {error}") from None


def alive(root: SysRoot, identity: Identity) -> bool:
    """Whether the same process with the same memory still runs."""
    try:
        stat = read_stat(root, identity.pid)
    except OSError:
        return False
    return not stat.dead and stat.identity == identity


def ended(root: SysRoot, identity: Identity) -> bool:
    """Whether this memory is gone for certain. It may still be there when the process cannot be read just now, or when
    the kernel hides what tells an exec."""
    try:
        stat = read_stat(root, identity.pid)
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False
    now, hidden = stat.identity, _HIDDEN in (stat.identity.mm, identity.mm)
    return stat.dead or now.start_ticks != identity.start_ticks or (now.mm != identity.mm and not hidden)


def check_target(root: SysRoot, pid: int) -> Stat:
    """The stat line of a process whose memory can be tracked.

    Raises `UsageError` for a pid that does not exist, a kernel thread, a zombie or a thread of another process.
    """
    try:
        stat = read_stat(root, pid)
    except OSError:
        raise UsageError(f"no process {pid}", "see `ps -e`; in a container pids are its own") from None
    if stat.kernel_thread:
        raise UsageError(
            f"process {pid} ({stat.comm}) is a kernel thread", "it has no memory of its own; name a program"
        )
    if stat.dead:
        raise UsageError(
            f"process {pid} ({stat.comm}) ended and has no memory any more (a zombie)", "name one that runs"
        )
    leader = status_field(root, pid, "Tgid")
    if leader.isdigit() and int(leader) != pid:
        raise UsageError(f"{pid} is a thread of process {leader}", f"name the process: -p {leader}")
    return stat


def running(root: SysRoot) -> dict[int, int]:
    """Each pid that there is, with the inode number of its directory: another one tells a reused pid."""
    return {int(name): inode for name, inode in root.inodes("/proc").items() if name.isdigit()}


def pids(root: SysRoot) -> list[int]:
    """All processes that this user can see; none where there is no `/proc`."""
    try:
        return sorted(running(root))
    except OSError:
        return []


def threads_of(root: SysRoot, pid: int) -> list[int]:
    """The threads of a process; empty when it has ended."""
    return [int(name) for name in root.list(f"/proc/{pid}/task")]


def children(root: SysRoot, pid: int) -> list[int]:
    """Pids of the direct children of all its threads.

    Each thread has a list of its own. Of more threads than there are processes, each process is asked for its parent.
    """
    found, threads = set(), threads_of(root, pid)
    if len(threads) > MANY_THREADS and len(threads) > len(others := pids(root)):
        return [each for each in others if _parent(root, each) == pid]
    for tid in threads:
        found |= set(pids_in(root.read_or(f"/proc/{pid}/task/{tid}/children")))
    return sorted(found)


def _parent(root: SysRoot, pid: int) -> int:
    """0: it has ended."""
    try:
        return read_stat(root, pid).parent
    except OSError:
        return 0


def pids_in(text: str) -> list[int]:
    """The numbers in a list of processes; what else is in it is none."""
    return [int(word) for word in text.split() if _NUMBER.fullmatch(word)]


def descendants(root: SysRoot, pid: int) -> list[int]:
    """The process and all its children's children."""
    found, waiting = [], [pid]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting += children(root, pid)
    return found


def resident_bytes(root: SysRoot, pid: int | str = "self") -> int:
    """Resident memory of a process, by default of this one; 0 when it cannot be told."""
    words = root.read_or(f"/proc/{pid}/statm").split()
    return int(words[1]) * PAGE_BYTES if len(words) > 1 and _NUMBER.fullmatch(words[1]) else 0


def pid_max(root: SysRoot) -> int:
    """A bound above every pid: the most that 64-bit kernels have, unless the kernel says less."""
    said = root.read_or("/proc/sys/kernel/pid_max")
    return min(int(said), PID_MAX_LIMIT) if _NUMBER.fullmatch(said) else PID_MAX_LIMIT


def descriptor_path(fd: int) -> str:
    """A path to the file behind an open descriptor of this process, even if its own path has been replaced since."""
    return f"/proc/self/fd/{fd}"


def capabilities(root: SysRoot) -> int:
    """Effective capabilities of this process as a bit mask; none when they cannot be told."""
    try:
        return int(status_field(root, "self", "CapEff") or "0", 16)
    except ValueError:
        return 0


CAPABILITIES = {"CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_SYS_NICE": 23, "CAP_PERFMON": 38}


def has_capability(root: SysRoot, name: str) -> bool:
    """Whether this process has a capability; CAP_SYS_ADMIN stands for CAP_PERFMON, as in the kernel."""
    held = capabilities(root)
    names = {name, "CAP_SYS_ADMIN"} if name == "CAP_PERFMON" else {name}
    return any(held >> CAPABILITIES[each] & 1 for each in names)


def with_capabilities(*names: str) -> str:
    """The command that lets a user run pghot with capabilities. Only inheritable ones can be ambient
    (capabilities(7)): setpriv drops the others silently.

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
