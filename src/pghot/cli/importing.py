"""Other tools' recordings are imported before a verb begins, with progress; the verb then opens them at once."""

from __future__ import annotations

from pghot.cli.progress import after_a_while, progress_on_stderr

_MADE = ("bundled:", "workload:", "masim:")


def import_first(*recordings: str) -> None:
    """Import those that are files of other tools. Raises as `open_named` does."""
    from pghot.recording.bundled import open_named
    from pghot.recording.convert import FileKind, kind_of

    for each in recordings:
        if not each.startswith(_MADE) and kind_of(each) is FileKind.FOREIGN:
            open_named(each, after_a_while(progress_on_stderr("importing")))
