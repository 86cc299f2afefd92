"""A build in the administrator's own editor: nothing that was typed is lost on the way."""

from __future__ import annotations

import os
import signal
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkstemp

import click

from .body import Document, decode
from .change import changed, changes, same
from .errors import BuildConflict, InvalidBuild, MalformedBody, PreconditionFailed
from .proposal import (
    Refusal,
    Unchanged,
    ask,
    at_terminal,
    find,
    newest,
    propose,
    revisions,
    sentences,
)
from .store import BuildStore
from .terminal import difference, headline, printable, told
from .update import Change

#: Changes of others that are told one by one, at the most.
_OTHERS = 200


def edit(store: BuildStore, build_id: str, change: Callable[..., Change]) -> None:
    """Have one build edited, and store it.

    :param build_id: as text.
    :param change: stores a document; takes what ``BuildStore.overwrite`` takes.
    :raises Refusal: it was not stored; what was typed is in a file that is told.
    """
    if not at_terminal():
        raise Refusal("There is no terminal to edit at: use set, or show --json and apply.")
    original = find(store, build_id)
    known = newest(store, build_id) or 0
    with _draft() as file:
        text = _rendered(original.document)
        problems: list[str] = []
        wanted: Document | None = None
        while True:
            if wanted is None:
                before, text = text, _edited(file, text, problems)
                if problems and not text.strip():
                    file.write_bytes(before)
                    raise Refusal("Nothing was changed: the draft was emptied.")
                if problems and text == before:
                    raise Refusal("\n".join(["It is as wrong as before:", *problems]))
                if not text.strip() or text == before:
                    click.echo("Nothing was changed.")
                    return
            try:
                wanted = wanted or _read(text, original.document)
                seen = Unchanged(original)
                propose(partial(change, wanted), yes=False, dry_run=False, seen=seen)
                return
            except (MalformedBody, InvalidBuild, BuildConflict) as error:
                problems, wanted = sentences(error), None
                if isinstance(error, MalformedBody):
                    problems.append("Lines are counted from below these.")
            except PreconditionFailed:
                mine = wanted or {}
                current = find(store, build_id)
                wanted = _carried(store, known, original.document, mine, current.document)
                original, known, problems = current, newest(store, build_id) or 0, []
                text = _rendered(wanted)
                file.write_bytes(text)


@contextmanager
def _draft() -> Iterator[Path]:
    """Have a file that only outlives what ends without the edit being stored."""
    handle, name = mkstemp(prefix="build-", suffix=".json")
    os.close(handle)
    file = Path(name)
    # Before anything can go wrong: a terminal that is closed is told nothing more.
    click.echo(f"The draft is {printable(name)}", err=True)
    try:
        yield file
    except BaseException:  # whatever ends it, Ctrl-C too
        file.write_bytes(_without_head(file.read_bytes()))  # as apply takes it
        click.echo(f"The edit is kept in {printable(name)}", err=True)
        raise
    file.unlink()


def _rendered(document: Document) -> bytes:
    return f"{told(document, indent=2)}\n".encode()


def _edited(file: Path, text: bytes, problems: list[str]) -> bytes:
    """Open the editor, with the problems as comments at the top; answer what it has left."""
    head = "".join(f"# {printable(problem)}\n" for problem in problems)
    file.write_bytes(head.encode() + text)
    # Ctrl-C is the editor's. A handler, and not SIG_IGN, which the editor would inherit.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        click.edit(filename=str(file))
    finally:
        signal.signal(signal.SIGINT, before)
        if not file.exists():
            file.write_bytes(text)
    return _without_head(file.read_bytes())


def _without_head(text: bytes) -> bytes:
    """Leave out the mark of byte order that some editors write, and comments at the top."""
    lines = text.removeprefix(BOM_UTF8).splitlines(keepends=True)
    while lines and (lines[0].startswith(b"#") or not lines[0].strip()):
        del lines[0]
    return b"".join(lines)


def _read(text: bytes, original: Document) -> Document:
    document = decode(text)
    if "id" in document and not same(document["id"], original["id"]):
        raise InvalidBuild({"id": ["is that of another build"]})
    return document


def _carried(
    store: BuildStore, known: int, original: Document, mine: Document, now: Document
) -> Document:
    """Show what others have changed, and offer to have the edit made to the build as it is now.

    :param known: the id of the newest revision when the edit began.
    :param original: the build as it was then.
    :param mine: the build as it was edited.
    :param now: the build as it is.
    :raises Refusal: both have changed the same members, or the answer is no.
    """
    click.echo("The build was changed meanwhile:")
    others = revisions(store, str(now["id"]), limit=_OTHERS) if store.has_history else []
    for revision in reversed(others):
        if (revision.id or 0) > known:
            click.echo(headline(revision))
    theirs = changes(original, now)
    for line in difference(theirs):
        click.echo(line)
    members = changed(original, mine)
    if both := [name for name in members if name in theirs]:
        raise Refusal(f"Both have changed {', '.join(both)}: edit the build again.", 3)
    ask("Carry the edit over to the build as it is now?")
    return now | {name: mine[name] for name in members}
