"""The file of the daemon's unix socket: made where nobody listens, given to a group, removed at the end."""

from __future__ import annotations

import grp
import os
import socket
import stat
from pathlib import Path

from pghot.daemon.door import BACKLOG
from pghot.errors import NotPermittedError, UsageError
from pghot.kernel.process import descriptor_path
from pghot.trusted import make_directory


class SocketFile:
    """A socket that listens at a path. Whoever takes `listening` closes it."""

    def __init__(self, path: Path, group: str = "") -> None:
        """`group` may connect, beside the owner.

        Raises `UsageError` when somebody listens there already, or the group does not exist, and `NotPermittedError`.
        """
        number = _group_number(group)
        self._path = path
        self.listening = socket.socket(socket.AF_UNIX)
        try:
            self._file = _bind(self.listening, path)
        except BaseException:
            self.listening.close()
            raise
        try:
            if number is not None:
                _give_to(path, group, number)
        except BaseException:
            self.listening.close()
            self.remove()
            raise

    def remove(self) -> None:
        """Remove the file, unless another has its name by now."""
        try:
            if _which(self._path) == self._file:
                self._path.unlink()
        except FileNotFoundError:
            return


def _bind(listening: socket.socket, path: Path) -> tuple[int, int]:
    """Make the file, for its owner alone; its device and inode."""
    before = os.umask(0o022)
    try:
        _make_way(path)
        make_directory(path.parent, 0o755)  # may be entered by the socket's group
        os.umask(0o177)
        listening.bind(str(path))
        listening.listen(BACKLOG)  # at once: nobody listens at a stale one
        return _which(path)
    except PermissionError:
        raise NotPermittedError(
            f"not permitted to make the socket {path}", "run as root, or name another"
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot make the socket {path}: {error.strerror or error}", "name another"
        ) from None
    finally:
        os.umask(before)


def _which(path: Path) -> tuple[int, int]:
    facts = path.lstat()
    return facts.st_dev, facts.st_ino


def _group_number(group: str) -> int | None:
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(
            f"the group '{group}' for the socket does not exist", "name one of `getent group`"
        ) from None


def _give_to(path: Path, group: str, number: int) -> None:
    # Through a descriptor: whoever may write to the directory could replace the socket by a link to any file.
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise UsageError(f"{path} is another file now", "name a socket where nobody else may write")
        itself = descriptor_path(fd)
        os.chown(itself, -1, number)
        os.chmod(itself, 0o660)
    except PermissionError:
        raise NotPermittedError(
            f"not permitted to give the socket {path} to the group '{group}'",
            "run as root, or name a group that this user is in",
        ) from None
    finally:
        os.close(fd)


def _make_way(path: Path) -> None:
    """Remove a socket that nobody listens at any more. Raises `UsageError` for anything else at that path, and
    `PermissionError` for a socket of another user, since nobody can tell whether it is in use."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UsageError(f"{path} exists and is not a socket", "name another socket")
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except PermissionError:
            raise
        except BlockingIOError:
            pass  # so many wait there that nobody else can
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise UsageError(f"a daemon listens at {path} already", "stop it first, or name another socket")
