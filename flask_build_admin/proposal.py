"""What every command that changes a build does: show what would be changed, ask, and store it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import click

from .body import Document, Representation
from .errors import BuildError, PreconditionFailed, each_of
from .revision import Revision
from .store import BuildStore
from .terminal import difference, printable
from .update import Change


class Refusal(click.ClickException):
    """What is told on standard error when a command ends without its work done.

    :param message: one sentence or more, a line each.
    :param exit_code: of the process.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__("\n".join(map(printable, message.splitlines())))
        self.exit_code = exit_code  # type: ignore[misc]


class Unchanged:
    """A precondition: the build is the one that was seen first.

    :param build: that was seen already; None: the one that the first preview sees.
    """

    def __init__(self, build: Representation | None = None) -> None:
        self._tag = None if build is None else build.tag

    def __call__(self, document: Document) -> None:
        """See that the build is the same.

        :raises PreconditionFailed: it is not.
        """
        tag = Representation.of(document).tag
        if self._tag not in (None, tag):
            raise PreconditionFailed
        self._tag = tag


def propose(change: Callable[..., Change], *, yes: bool, dry_run: bool, seen: Unchanged) -> None:
    """Show what a change would change, ask, and make it, if the build is still the same.

    :param change: makes it; takes ``precondition`` and ``dry_run``.
    :param yes: whether the answer is known.
    :param dry_run: whether only to show.
    :param seen: the build that it is about.
    :raises Refusal: the answer is no, or nobody can be asked.
    """
    change = partial(change, precondition=seen)
    changes = change(dry_run=True).revision.changes
    if not changes:
        click.echo("Nothing would be changed.")
        return
    for line in difference(changes):
        click.echo(line)
    if not dry_run:
        ask("Store this?", yes=yes)
        click.echo(f"Build {printable(str(change().revision.build_id))} is stored.")


def find(store: BuildStore, build_id: str) -> Representation:
    """Fetch a build, and leave no transaction open while somebody thinks about it."""
    build = store.find(build_id)
    store.rollback()
    return build


def revisions(store: BuildStore, build_id: str, *, limit: int) -> list[Revision]:
    """List the newest revisions of a build, and leave no transaction open."""
    newest = store.revisions(build_id, limit=limit)
    store.rollback()
    return newest


def newest(store: BuildStore, build_id: str) -> int | None:
    """Answer the id of the newest revision of a build; None: there is none."""
    found = revisions(store, build_id, limit=1) if store.has_history else []
    return found[0].id if found else None


def sentences(error: BuildError) -> list[str]:
    """Say what is wrong, a member a line."""
    return [str(error)] if error.fields is None else each_of(error.fields)


def ask(question: str, *, yes: bool = False) -> None:
    """Ask on a terminal.

    :param yes: whether the answer is known.
    :raises Refusal: the answer is no, or nobody can be asked.
    """
    if yes:
        return
    if not at_terminal():
        raise Refusal("Nothing was changed: there is no terminal to ask at, so pass --yes.")
    if not click.confirm(question):
        raise Refusal("Nothing was changed.")


def at_terminal() -> bool:
    """Whether somebody can be asked, and can see the question."""
    return sys.stdin.isatty() and sys.stdout.isatty()
