"""The recorder: runs a program under qemu with the plugin and writes what it did to its memory."""

from __future__ import annotations

import contextlib
import os
import platform
import selectors
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pghot.errors import PghotError, UnsupportedError
from pghot.printable import printable
from pghot.recorder import child
from pghot.recorder.build import Emulator, find_emulator, plugin_path
from pghot.recorder.content_samples import ContentSamples
from pghot.recorder.decode import (
    Base,
    End,
    FrameReader,
    Hello,
    Name,
    Note,
    NoteKind,
    Site,
    SliceFrame,
    Thread,
)
from pghot.recorder.frame_names import FrameNames
from pghot.recorder.programs import is_privileged, machine, resolve
from pghot.recorder.record_settings import FILTER_BYTES, NS_PER_INSTRUCTION, RecordSettings
from pghot.recorder.slice_fit import fit
from pghot.recorder.status_line import Progress, Totals
from pghot.recorder.timeline import Process, Timeline
from pghot.recording import trace
from pghot.recording.reader import open_recording
from pghot.recording.trace import PATTERNS, TraceInfo
from pghot.recording.writer import RecordingWriter
from pghot.trusted import temporary_place

_POLL_S = 0.1
# Slices are taken together: taking them one by one costs more than what is in them.
_TAKE_S = 0.1
# zstd's level while the program runs. Level 9 saves a tenth and takes three times as long.
_LEVEL = 3
_RECEIVE_BYTES = 1 << 20
# A thread counts as working when it ran at least this share of all instructions.
_WORKING_SHARE = 0.05
# A program that fails within this much virtual time "died at once".
_AT_ONCE_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a recording ended.

    status         as in `subprocess`, negative for a signal
    out_of_time    the program was ended after the longest duration
    slice_ns       of the file; `joined` of the slices that were recorded became one of them
    waiting_share  of all instructions, those of threads that only waited for another
    """

    path: Path
    status: int
    interrupted: bool
    out_of_time: bool
    virtual_ns: int
    wall_s: float
    references: int
    slices: int
    slice_ns: int
    joined: int
    footprint: int
    file_bytes: int
    threads: int
    waiting_share: float
    not_followed: tuple[str, ...]

    @property
    def ended(self) -> str:
        """How the program ended, in words."""
        return describe_status(self.status)

    @property
    def died_at_once(self) -> bool:
        by_itself = not (self.interrupted or self.out_of_time)
        return self.status != 0 and by_itself and self.virtual_ns < _AT_ONCE_NS


def describe_status(status: int) -> str:
    """
    >>> describe_status(-15)
    'ended by SIGTERM'
    """
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"


def record(
    command: list[str], path: Path, settings: RecordSettings, progress: Progress | None = None
) -> Outcome:
    """Run `command` and write its recording to `path`.

    Raises `UsageError` when the command or the settings are wrong, `UnsupportedError` when this machine lacks
    qemu-user or a compiler, or when qemu cannot start the program. Ctrl-C and SIGTERM are passed on to the
    program, and the recording is finished when it has ended.
    """
    settings.check()
    resolved = resolve(command)
    emulator = find_emulator()
    _check_stacks(settings)
    plugin = plugin_path(emulator)
    info = trace_info(command, path, settings)
    directory = Path(tempfile.mkdtemp(prefix="pghot-", dir=temporary_place()))
    try:
        with (
            RecordingWriter(path, info, force=settings.force, level=_LEVEL) as writer,
            child.Signals() as signals,
        ):
            session = _Session(writer, settings, signals, progress or Progress(quiet=True))
            arguments = child.command_prefix(emulator, plugin, directory, settings)
            outcome = session.run(arguments, command[0], resolved, directory)
            writer.finish(**session.facts(outcome, emulator, resolved))
        return _fitted(outcome, settings)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _check_stacks(settings: RecordSettings) -> None:
    if settings.stacks and machine() != "x86_64":
        raise UnsupportedError(
            f"--stacks knows the calls of x86_64, and this machine is {machine()}", "record without it"
        )


def _fitted(outcome: Outcome, settings: RecordSettings) -> Outcome:
    """Join the slices of the file until it is small enough."""
    factor = fit(outcome.path, settings.max_bytes) if settings.max_bytes else 1
    slice_ns = settings.slice_ns * factor
    slices = outcome.slices if factor == 1 else open_recording(outcome.path).slices
    size = outcome.path.stat().st_size
    return replace(outcome, slice_ns=slice_ns, slices=slices, joined=factor, file_bytes=size)


def trace_info(command: list[str], path: Path, settings: RecordSettings) -> TraceInfo:
    """What is known before the program starts."""
    return TraceInfo(
        name=path.stem,
        source="qemu",
        slice_ns=settings.slice_ns,
        ns_per_instruction=NS_PER_INSTRUCTION,
        llc_bytes=settings.modelled_bytes[0],
        llc_ways=settings.llc_ways,
        cache_bytes=settings.modelled_bytes,
        patterns=PATTERNS,
        command=tuple(command),
        kernel=platform.release(),
        notes=settings.notes,
    )


@dataclass(slots=True)
class _Connection:
    """One process's stream: `process` is known after its HELLO."""

    socket: socket.socket
    reader: FrameReader = field(default_factory=FrameReader)
    process: Process | None = None


class _Session:
    """The loop between the sockets of the recorded processes and the writer."""

    def __init__(
        self, writer: RecordingWriter, settings: RecordSettings, signals: child.Signals, progress: Progress
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._signals = signals
        self._progress = progress
        self._timeline = Timeline(settings.slice_ns, settings.stacks)
        self._frame_names = FrameNames()
        self._contents = ContentSamples(self._timeline, writer) if settings.compressibility else None
        self._selector = selectors.DefaultSelector()
        self._connections: dict[int, _Connection] = {}
        self._processes: list[Process] = []
        self._spaces: dict[int, int] = {}
        self._ended_regularly: set[int] = set()
        self._not_followed: dict[int, str] = {}
        self._exec_failed: list[str] = []
        self._flushed_at = time.monotonic()
        self._started_at = self._taken_at = self._flushed_at
        self._out_of_time = False

    def run(self, prefix: list[str], argv0: str, resolved: list[str], directory: Path) -> Outcome:
        listener = _listen(directory, prefix)
        self._selector.register(listener, selectors.EVENT_READ, None)
        start = [*prefix, "-0", argv0] if resolved[0].endswith(argv0) else prefix
        program = child.start([*start, *resolved], self._signals.mask)
        with self._progress:
            try:
                self._loop(program, listener)
            except BaseException:
                program.kill()
                raise
            finally:
                listener.close()
                program.wait()
        self._drain(processes=0)
        return self._outcome(program.returncode)

    def _loop(self, program: subprocess.Popen[bytes], listener: socket.socket) -> None:
        deadline = self._settings.max_duration_s
        while True:
            running = program.poll() is None
            events = self._selector.select(_POLL_S if running or self._connections else 0)
            for key, _ in events:
                self._accept(listener) if key.data is None else self._receive(key.data)
            if not events and not running and not self._connections:
                return
            self._drain(max(1, len(self._connections)))
            self._signals.pass_on(lambda: self._alive(program))
            began = bool(self._processes)  # until then the emulator starts
            if deadline and began and time.monotonic() - self._started_at > deadline:
                self._out_of_time = True
                self._signals.stop(self._alive(program))
            self._progress.show(self._totals)

    def _alive(self, program: subprocess.Popen[bytes]) -> list[int]:
        """Which processes a signal goes to: the program, or once it has ended the children that still run."""
        if program.poll() is None:
            return [program.pid]
        return [connection.process.pid for connection in self._connections.values() if connection.process]

    def _accept(self, listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        connection = _Connection(accepted)
        self._connections[accepted.fileno()] = connection
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _receive(self, connection: _Connection) -> bool:
        """Take what a process sent. False at the end of its stream."""
        data = b""
        with contextlib.suppress(ConnectionError):  # killed in the middle of a frame: as an end
            data = connection.socket.recv(_RECEIVE_BYTES)
        if not data:
            self._selector.unregister(connection.socket)
            del self._connections[connection.socket.fileno()]
            connection.socket.close()
            return False
        for frame in connection.reader.feed(data):
            self._take(connection, frame)
        return True

    def _take(self, connection: _Connection, frame: object) -> None:
        if isinstance(frame, Hello):
            connection.process = self._greet(frame)
        elif isinstance(frame, Note):
            self._note(frame)
            if frame.kind is NoteKind.EXEC and connection.process is not None:
                self._before_it_goes(connection, connection.process)
                connection.process.leaving = True
        elif connection.process is None:
            raise PghotError("the plugin sent counts before its greeting", "report this as a bug")
        elif isinstance(frame, SliceFrame):
            self._timeline.add(connection.process, frame)
            connection.process.leaving = False
        elif isinstance(frame, Thread):
            self._timeline.name_thread(connection.process, frame)
        elif isinstance(frame, Name):
            connection.process.names[frame.id] = frame.text
        elif isinstance(frame, Site):
            process = connection.process
            process.sites[frame.id] = self._frame_names.chain(frame, process.names)
        elif isinstance(frame, Base):
            connection.process.guest_base = frame.guest_base
        elif isinstance(frame, End):
            self._ended_regularly.add(connection.process.pid)
            self._before_it_goes(connection, connection.process)

    def _before_it_goes(self, connection: _Connection, process: Process) -> None:
        """Take a last round of samples: the process waits, its memory intact, until it is answered."""
        if self._contents is None:
            return
        self._contents.take([process])
        with contextlib.suppress(OSError):  # killed while it waited
            connection.socket.send(b"\1")

    def _greet(self, hello: Hello) -> Process:
        """The address space behind a new connection: all programs of one process share its number."""
        if hello.again:
            self._finish_former(hello.pid)
            return next(process for process in reversed(self._processes) if process.pid == hello.pid)
        space = self._spaces.setdefault(hello.pid, len(self._spaces))
        process = Process(hello.pid, space, hello.program)
        self._processes.append(process)
        self._timeline.names_changed = True
        return process

    def _finish_former(self, pid: int) -> None:
        """A process that closed our descriptor connects again. Take first what it sent before."""
        for connection in list(self._connections.values()):
            if connection.process is not None and connection.process.pid == pid:
                while self._receive(connection):
                    pass

    def _note(self, note: Note) -> None:
        """What is not followed is said when it happens: the user may want to begin anew."""
        if note.kind is NoteKind.EXEC:
            return
        if note.kind is NoteKind.CHILD_NOT_FOLLOWED:
            self._not_followed[note.pid] = note.text or self._not_followed.get(note.pid, "")
        else:
            self._exec_failed.append(note.text)
        if note.text:
            self._progress.say(f"not followed: {printable(note.text)} (pid {note.pid})")

    def _drain(self, processes: int) -> None:
        now = time.monotonic()
        if processes and now - self._taken_at < _TAKE_S:
            return
        self._taken_at = now
        taken = self._timeline.take(processes)
        if self._timeline.names_changed:
            self._timeline.names_changed = False
            self._writer.name_tasks(self._programs(), self._timeline.tasks)
        if taken is not None:
            self._writer.append(*taken)
        if self._contents is not None and processes:
            living = [
                connection.process
                for connection in self._connections.values()
                if connection.process is not None
            ]
            self._contents.take_when_due(living, now - self._started_at)
        if now - self._flushed_at > self._settings.flush_s:
            self._writer.flush()
            self._flushed_at = now

    def _totals(self) -> Totals:
        return Totals(
            wall_s=time.monotonic() - self._started_at,
            virtual_ns=self._timeline.now_ns,
            references=self._timeline.references,
            slices=self._writer.slices,
            footprint=self._timeline.footprint,
            file_bytes=self._writer.bytes_written,
            threads=self._working_threads(),
            left_s=self._left_s(),
        )

    def _left_s(self) -> float | None:
        """Wall seconds until the program ends, at the speed so far; None: not known."""
        wall_s = time.monotonic() - self._started_at
        bounds = []
        done_s = self._timeline.now_ns / 1e9 / self._working_threads()
        if self._settings.takes_s and done_s:
            bounds.append(wall_s * max(0.0, self._settings.takes_s / done_s - 1))
        if self._settings.max_duration_s:
            bounds.append(max(0.0, self._settings.max_duration_s - wall_s))
        return min(bounds, default=None)

    def _outcome(self, status: int) -> Outcome:
        state = self._totals()
        return Outcome(
            path=self._writer.path,
            status=status,
            interrupted=bool(self._signals.received),
            out_of_time=self._out_of_time,
            virtual_ns=state.virtual_ns,
            wall_s=state.wall_s,
            references=state.references,
            slices=state.slices,
            slice_ns=self._settings.slice_ns,
            joined=1,
            footprint=state.footprint,
            file_bytes=state.file_bytes,
            threads=state.threads,
            waiting_share=self._waiting_share(),
            not_followed=tuple(self._names_not_followed()),
        )

    def _waiting_share(self) -> float:
        waited = self._timeline.waited
        return waited / (waited + self._timeline.instructions) if waited else 0.0

    def _working_threads(self) -> int:
        counts: Counter[tuple[int, int]] = (
            Counter()
        )  # a thread stays the same through all execs of its process
        for process in self._processes:
            counts.update({(process.pid, cpu): count for cpu, count in process.instructions.items()})
        return max(1, sum(count >= _WORKING_SHARE * counts.total() for count in counts.values()))

    def _names_not_followed(self) -> list[str]:
        programs = [name or "a fork of the program" for name in self._not_followed.values()]
        return sorted({*programs, *self._exec_failed})

    def facts(self, outcome: Outcome, emulator: Emulator, resolved: list[str]) -> dict[str, Any]:
        """What is known only at the end, for the recording's metadata."""
        if not self._processes:
            self._writer.discard()
            raise UnsupportedError(
                f"'{shlex.join(resolved)}' did not start under {emulator.path}: {outcome.ended}",
                "the lines above are qemu's; try another --cpu, or a newer qemu-user",
            )
        return {
            "threads": outcome.threads,
            "lost": self._timeline.lost,
            "pages": self._timeline.pages,
            "exit_status": outcome.status,
            "interrupted_by": [number.name for number in self._signals.received],
            "ended_regularly": self._spaces_first() in self._ended_regularly,
            "references": outcome.references,
            "wall_s": round(outcome.wall_s, 3),
            "filter_bytes": FILTER_BYTES,
            "emulator": f"qemu-user {emulator.version[0]}.{emulator.version[1]}, -cpu {self._settings.cpu}",
            "waiting_share": round(outcome.waiting_share, 4),
            "children_not_followed": list(outcome.not_followed),
            "late_rows": self._timeline.late_rows,
            **({} if self._timeline.sites is None else self._timeline.sites.facts()),
            "privileges_dropped": is_privileged(resolved[0]),
        }

    def _programs(self) -> list[trace.Process]:
        """The process with its last program of each address space, by its number."""
        latest = {process.space: trace.Process(process.pid, process.program) for process in self._processes}
        return [latest[space] for space in sorted(latest)]

    def _spaces_first(self) -> int:
        return next(iter(self._spaces))


def _listen(directory: Path, prefix: list[str]) -> socket.socket:
    """What the plugin finds in `directory`: the socket, the shared clock, and how to start a program anew."""
    (directory / "clock").write_bytes(struct.pack("<Q", 0))
    (directory / "prefix").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in prefix))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(directory / "socket"))
    listener.listen(64)
    return listener
