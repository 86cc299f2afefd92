"""Edit a build in the administrator's own editor, and lose nothing that was typed."""

import os
import signal
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EPERM
from functools import partial
from stat import S_ISREG
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

#: Follow no link, and wait for no pipe. Windows has neither flag.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


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
    with _kept_draft() as draft:
        text = _render(original.document)
        problems: list[str] = []
        wanted: Document | None = None
        while True:
            if wanted is None:
                before, text = text, _run_editor(draft, text, problems)
                if problems and not text.strip():
                    draft.write(before)
                    raise Refusal("Nothing was changed: the draft was emptied.")
                if problems and text == before:
                    raise Refusal("It is as wrong as before:", *problems)
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
                draft.write(text)


class _Draft:
    """A file to edit, which nobody else can read, or replace by something of theirs.

    Some editors remove the file, or put another in its place. Where everybody may create files, as
    in ``/tmp``, somebody else could then put a link there.
    """

    def __init__(self) -> None:
        self._text = b""
        handle, self.name = mkstemp(prefix="build-", suffix=".json")
        self._owner = os.fstat(handle).st_uid
        os.close(handle)

    def write(self, text: bytes) -> None:
        """Replace the file by a new one, with this text and for nobody else."""
        self._text = text
        handle, name = mkstemp(prefix="build-", suffix=".json")
        with open(handle, "wb") as file:
            file.write(text)
        try:
            os.replace(name, self.name)  # this replaces a link, and does not follow it
        except OSError:  # what is there belongs to somebody else
            self.name = name

    def read(self) -> bytes:
        """Return the text of the file; if the file was removed, the text that it had.

        :raises Refusal: something else is in its place.
        """
        try:
            with open(self.name, "rb", opener=_open_safely) as file:
                status = os.fstat(file.fileno())
                if not S_ISREG(status.st_mode) or status.st_uid != self._owner:
                    raise PermissionError(EPERM, "it is no file of yours")
                self._text = file.read()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Refusal(f"{self.name} cannot be read: {error.strerror}.") from error
        return self._text

    def keep(self) -> None:
        """Keep what was typed, as ``apply`` takes it."""
        with suppress(Refusal):
            self.read()
        self.write(_without_head(self._text))

    def remove(self) -> None:
        """Remove the file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(self.name)


def _open_safely(path: str, flags: int) -> int:
    return os.open(path, flags | _SAFELY)


@contextmanager
def _kept_draft() -> Iterator[_Draft]:
    """Provide a draft that is kept unless the edit is stored, or nothing was edited."""
    draft = _Draft()
    # Now, because a terminal that is closed later prints nothing.
    click.echo(f"The draft is {escape(draft.name)}", err=True)
    try:
        yield draft
    except BaseException:  # also Ctrl-C
        draft.keep()
        click.echo(f"The edit is kept in {escape(draft.name)}", err=True)
        raise
    draft.remove()


def _render(document: Document) -> bytes:
    return f"{format_json(document, indent=2)}\n".encode()


def _run_editor(draft: _Draft, text: bytes, problems: list[str]) -> bytes:
    """Open the editor, with the problems as comments at the top; return what it has written."""
    head = "".join(f"# {problem}\n" for problem in problems)
    draft.write(head.encode() + text)
    # Ctrl-C is for the editor. A handler, because the editor would inherit SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        click.edit(filename=draft.name)
    finally:
        signal.signal(signal.SIGINT, before)
    written = draft.read()
    draft.write(written)  # whatever the editor has made of the file
    return _without_head(written)


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
        raise Refusal(f"Both have changed {', '.join(both)}: edit the build again.", exit_code=3)
    ask("Carry the edit over to the build as it is now?")
    return now | {key: mine[key] for key in members}
