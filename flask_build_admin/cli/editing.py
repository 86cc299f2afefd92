"""Edit a build in the administrator's own editor, and lose nothing that was typed."""

import os
import signal
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkstemp

import click

from ..exceptions import BuildConflict, InvalidBuild, InvalidJSON, PreconditionFailed
from ..representation import Document, changed_members, changes_between, decode, same
from ..store import BuildStore, ChangeOptions
from .confirmation import (
    Refusal,
    UnchangedSince,
    ask,
    at_terminal,
    confirm_change,
    newest_revision,
    problems_of,
)
from .formatting import escape, format_changes, format_json, format_revision

#: The most revisions of others that are printed.
_MAX_OTHERS = 200


def edit(store: BuildStore, build_id: str, options: ChangeOptions) -> None:
    """Open one build in an editor, and store it.

    :param build_id: as text.
    :param options: without ``precondition`` and ``dry_run``.
    :raises Refusal: it was not stored; what was typed is in a file, whose name is printed.
    """
    if not at_terminal():
        raise Refusal("There is no terminal to edit at: use set, or show --json and apply.")
    original = store.find(build_id)
    known = newest_revision(store, build_id) or 0
    with _draft() as file:
        text = _render(original.document)
        problems: list[str] = []
        wanted: Document | None = None
        while True:
            if wanted is None:
                before, text = text, _run_editor(file, text, problems)
                if problems and not text.strip():
                    file.write_bytes(before)
                    raise Refusal("Nothing was changed: the draft was emptied.")
                if problems and text == before:
                    raise Refusal("\n".join(["It is as wrong as before:", *problems]))
                if not text.strip() or text == before:
                    click.echo("Nothing was changed.")
                    return
            try:
                wanted = wanted or _load(text, original.document)
                change = partial(store.overwrite, wanted)
                seen = UnchangedSince(original)
                confirm_change(change, options, seen, yes=False, dry_run=False)
                return
            except (InvalidJSON, InvalidBuild, BuildConflict) as error:
                problems, wanted = problems_of(error), None
                if isinstance(error, InvalidJSON):
                    problems.append("Lines are counted from below these.")
            except PreconditionFailed:
                mine = wanted or {}
                current = store.find(build_id)
                wanted = _carry_over(store, known, original.document, mine, current.document)
                original, known, problems = current, newest_revision(store, build_id) or 0, []
                text = _render(wanted)
                file.write_bytes(text)


@contextmanager
def _draft() -> Iterator[Path]:
    """Provide a file that is kept unless the edit is stored, or nothing was edited."""
    handle, name = mkstemp(prefix="build-", suffix=".json")
    os.close(handle)
    file = Path(name)
    # Now, because a terminal that is closed later prints nothing.
    click.echo(f"The draft is {escape(name)}", err=True)
    try:
        yield file
    except BaseException:  # also Ctrl-C
        file.write_bytes(_without_head(file.read_bytes()))  # as apply takes it
        click.echo(f"The edit is kept in {escape(name)}", err=True)
        raise
    file.unlink()


def _render(document: Document) -> bytes:
    return f"{format_json(document, indent=2)}\n".encode()


def _run_editor(file: Path, text: bytes, problems: list[str]) -> bytes:
    """Open the editor, with the problems as comments at the top; return what it has written."""
    head = "".join(f"# {escape(problem)}\n" for problem in problems)
    file.write_bytes(head.encode() + text)
    # Ctrl-C is for the editor. A handler, because the editor would inherit SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        click.edit(filename=str(file))
    finally:
        signal.signal(signal.SIGINT, before)
        if not file.exists():
            file.write_bytes(text)
    return _without_head(file.read_bytes())


def _without_head(text: bytes) -> bytes:
    """Remove the byte order mark that some editors write, and the comments at the top."""
    lines = text.removeprefix(BOM_UTF8).splitlines(keepends=True)
    while lines and (lines[0].startswith(b"#") or not lines[0].strip()):
        del lines[0]
    return b"".join(lines)


def _load(text: bytes, original: Document) -> Document:
    document = decode(text)
    if "id" in document and not same(document["id"], original["id"]):
        raise InvalidBuild({"id": ["is that of another build"]})
    return document


def _carry_over(
    store: BuildStore, known: int, original: Document, mine: Document, now: Document
) -> Document:
    """Print what others have changed, and ask whether to apply the edit to the build as it is now.

    :param known: the id of the newest revision when the edit began.
    :raises Refusal: both have changed the same members, or the answer is no.
    """
    click.echo("The build was changed meanwhile:")
    if store.has_history:
        for revision in reversed(store.revisions(str(now["id"]), limit=_MAX_OTHERS)):
            if (revision.id or 0) > known:
                click.echo(format_revision(revision))
    theirs = changes_between(original, now)
    for line in format_changes(theirs):
        click.echo(line)
    members = changed_members(original, mine)
    if both := [key for key in members if key in theirs]:
        raise Refusal(f"Both have changed {', '.join(both)}: edit the build again.", 3)
    ask("Carry the edit over to the build as it is now?")
    return now | {key: mine[key] for key in members}
