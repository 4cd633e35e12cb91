"""Address spaces and mapped files that pghot tracks: numbered, with the ranges that sources may watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pghot.arrays import U64
from pghot.kernel.process import Identity


@dataclass(frozen=True, slots=True)
class Space:
    """The memory of one process.

    number    1.. in the order of discovery; used again only after 65535 others
    identity  pid, and what tells it apart from a later process with that pid
    name      the command, for people
    start, end  uint64[R]  bytes; the ranges whose pages may be moved, ascending and disjoint
    """

    number: int
    identity: Identity
    name: str
    start: U64
    end: U64

    @property
    def pid(self) -> int:
        return self.identity.pid


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file, or shared memory.

    device, inode  as in `Mappings`
    born_ns        see `born_ns`: tells it from a later file with this inode
    """

    device: int
    inode: int
    born_ns: int

    def may_be(self, other: FileIdentity) -> bool:
        """Whether both can be the same file: a file system may not know when one came to be."""
        same = (self.device, self.inode) == (other.device, other.inode)
        return same and (self.born_ns == other.born_ns or 0 in (self.born_ns, other.born_ns))


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file, or shared memory, that tracked programs map. Its addresses are offsets in it.

    number  one that no tracked space has
    name    for people
    """

    number: int
    identity: FileIdentity
    name: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What sources are told to watch.

    spaces  the tracked address spaces now
    cgroup  the cgroup v2 that holds all of them, as the user named it (`cgroup_path`); "" when pids were named
    """

    spaces: tuple[Space, ...]
    cgroup: str = ""

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(space.pid for space in self.spaces)


# Sets a kernel knob: path, new value. The caller's journal remembers the old value first and puts it back.
SetKnob = Callable[[str, str], None]
