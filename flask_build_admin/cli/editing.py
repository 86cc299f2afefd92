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
from ..schema import MISSING, members_of, time_members
from ..store import BuildStore, ChangeOptions
from ..wording import escape
from .confirmation import Unchanged, ask, at_terminal, confirm_change
from .formatting import format_changes, format_json, format_revision
from .refusals import Refusal, problems_of

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
    known = _newest_revision(store, build_id)
    text = _render(original.document)
    with _kept_draft(text) as draft:
        problems: list[str] = []
        wanted: Document | None = None
        while True:
            if wanted is None:
                before, text = text, _run_editor(draft, text, problems)
                if problems and not text.strip():
                    raise Refusal("Nothing was changed: the draft was emptied.")
                if problems and text == before:
                    raise Refusal("It is as wrong as before:", *problems)
                if not text.strip() or text == before:
                    click.echo("Nothing was changed.")
                    return
            try:
                wanted = wanted or _load(text, original.document)
                change = partial(store.update, build_id, _edited(store, original.document, wanted))
                seen = Unchanged(original, protected=store.protected)
                confirm_change(store, change, options, seen, yes=False, dry_run=False)
                return
            except (InvalidJSON, InvalidBuild, BuildConflict) as error:
                problems, wanted = problems_of(error), None
                if isinstance(error, InvalidJSON):
                    problems.append("Lines are counted from below these.")
            except PreconditionFailed:
                mine = wanted or {}
                current = store.find(build_id)
                wanted = _carry_over(store, known, original.document, mine, current.document)
                original, known, problems = current, _newest_revision(store, build_id), []
                text = _render(wanted)
                draft.write(text)


class _Draft:
    """A file to edit, which nobody else can read, or replace by something of theirs.

    Some editors remove the file, or put another in its place. Where everybody may create files, as
    in ``/tmp``, somebody else could then put a link there.

    :param original: the text before it is edited.
    :raises Refusal: no file can be written.
    """

    def __init__(self, original: bytes) -> None:
        self._original = self._edit = original
        self.name, self._owner = _create(original)

    def write(self, text: bytes) -> None:
        """Replace the file by a new one, with this text and for nobody else.

        :raises Refusal: no file can be written; the one that is there stays.
        """
        name, _ = _create(text)
        self._remember(text)
        try:
            os.replace(name, self.name)  # this replaces a link, and does not follow it
        except OSError:  # what is there belongs to somebody else
            self.name = name

    def read(self) -> bytes:
        """Return the text of the file.

        :raises Refusal: the file was removed, or something else is in its place.
        """
        try:
            with open(self.name, "rb", opener=_open_safely) as file:
                status = os.fstat(file.fileno())
                if not S_ISREG(status.st_mode) or status.st_uid != self._owner:
                    raise PermissionError(EPERM, "it is no file of yours")
                text = file.read()
        except OSError as error:
            raise Refusal(f"The draft {self.name} cannot be read: {error.strerror}.") from error
        self._remember(text)
        return text

    def _remember(self, text: bytes) -> None:
        if _without_head(text):  # an editor that fails may leave nothing
            self._edit = text

    def keep(self) -> str:
        """Keep what was typed, as ``apply`` takes it, and return a sentence that says where."""
        found: bytes | None = None
        with suppress(Refusal):
            found = _without_head(self.read())
        edit = _without_head(self._edit)
        if edit == self._original:
            if found is not None:
                self.remove()
            return "No edit is kept."
        try:
            if found is None:  # whatever is there is left alone
                self.name, _ = _create(edit)
            else:
                self.write(edit)
        except Refusal as error:
            if found != edit:
                return f"No edit is kept. {error.message}"
        what = "The edit" if found is not None else "The last edit that could be read"
        return f"{what} is kept in {escape(self.name)}"

    def remove(self) -> None:
        """Remove the file, if it is there."""
        try:
            os.unlink(self.name)
        except FileNotFoundError:
            pass
        except OSError as error:  # no reason to fail: the edit is stored, or there is none
            click.echo(escape(f"The draft {self.name} is still there: {error.strerror}."), err=True)


def _create(text: bytes) -> tuple[str, int]:
    """Create a file that nobody else can read; return its name and its owner.

    :raises Refusal: it cannot be written.
    """
    name = None
    try:
        handle, name = mkstemp(prefix="build-", suffix=".json")
        with open(handle, "wb") as file:
            file.write(text)
            return name, os.fstat(handle).st_uid
    except OSError as error:
        if name is not None:
            with suppress(OSError):
                os.unlink(name)
        raise Refusal(f"No draft can be written: {error.strerror}.") from error


def _open_safely(path: str, flags: int) -> int:
    return os.open(path, flags | _SAFELY)


@contextmanager
def _kept_draft(original: bytes) -> Iterator[_Draft]:
    """Provide a draft that is kept unless the edit is stored, or nothing was edited."""
    draft = _Draft(original)
    # Now, because a terminal that is closed later prints nothing.
    click.echo(f"The draft is {escape(draft.name)}", err=True)
    try:
        yield draft
    except BaseException:  # also Ctrl-C
        click.echo(draft.keep(), err=True)
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


def _edited(store: BuildStore, original: Document, wanted: Document) -> Document:
    """Return the members that were edited.

    :raises InvalidBuild: a member was removed that a build must have.
    """
    fields = {key: member.field for key, member in members_of(store.schema()).items()}
    removed = [key for key in original if key not in wanted and key in fields]
    missing = [key for key in removed if fields[key].required or fields[key].dump_only]
    if missing:
        raise InvalidBuild({key: [MISSING] for key in missing})
    return {key: wanted[key] for key in changed_members(original, wanted)}


def _newest_revision(store: BuildStore, build_id: str) -> int:
    """Return the id of the newest revision of a build; 0 if there is none."""
    newest = store.revisions(build_id, limit=1) if store.has_history else []
    return newest[0].id or 0 if newest else 0


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
    found = changes_between(original, now)
    # A protected member may have another value each second, and nobody can edit it.
    theirs = {key: found[key] for key in found if key not in store.protected}
    for line in format_changes(theirs, time_members(store.schema())):
        click.echo(line)
    members = changed_members(original, mine)
    if both := [key for key in members if key in theirs]:
        raise Refusal(f"Both have changed {', '.join(both)}: edit the build again.", exit_code=3)
    ask(f"Carry the edit over to build {now['id']} as it is now?")
    return now | {key: mine[key] for key in members}
