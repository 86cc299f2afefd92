"""What every command that changes a build does: preview the change, ask, and make it."""

import sys
from collections.abc import Callable
from dataclasses import replace

import click

from ..exceptions import BuildAdminError, PreconditionFailed, list_problems
from ..representation import Document, Representation
from ..store import BuildStore, ChangeOptions, ChangeResult
from .formatting import escape, format_changes


class Refusal(click.ClickException):
    """A command ends without its work done: sentences on standard error, one per line."""

    def __init__(self, *lines: str, exit_code: int = 1) -> None:
        super().__init__("\n".join(map(escape, lines)))
        self.exit_code = exit_code  # type: ignore[misc]


class UnchangedSince:
    """A precondition: the build is still as it was; None: as the first preview finds it."""

    def __init__(self, build: Representation | None = None) -> None:
        self._tag = None if build is None else build.tag

    def __call__(self, document: Document) -> None:
        """Raise ``PreconditionFailed`` if the build has changed."""
        tag = Representation.of(document).tag
        if self._tag not in (None, tag):
            raise PreconditionFailed
        self._tag = tag


def confirm_change(
    change: Callable[[ChangeOptions], ChangeResult],
    options: ChangeOptions,
    unchanged: UnchangedSince,
    *,
    yes: bool,
    dry_run: bool,
) -> None:
    """Print what a change would change, ask, and make it if the build is still the same.

    :param options: without ``precondition`` and ``dry_run``.
    :param yes: whether to skip the question.
    :param dry_run: whether to stop after the preview.
    :raises Refusal: the answer is no, or nobody can be asked.
    """
    options = replace(options, precondition=unchanged)
    changes = change(replace(options, dry_run=True)).revision.changes
    if not changes:
        click.echo("Nothing would be changed.")
        return
    for line in format_changes(changes):
        click.echo(line)
    if not dry_run:
        ask("Store this?", yes=yes)
        click.echo(f"Build {escape(str(change(options).revision.build_id))} is stored.")


def newest_revision(store: BuildStore, build_id: str) -> int | None:
    """Return the id of the newest revision of a build; None if there is none."""
    newest = store.revisions(build_id, limit=1) if store.has_history else []
    return newest[0].id if newest else None


def problems_of(error: BuildAdminError) -> list[str]:
    """Return what is wrong, one line per member."""
    lines = [str(error)] if error.fields is None else list_problems(error.fields)
    return [*map(escape, lines)]


def ask(question: str, *, yes: bool = False) -> None:
    """Ask on a terminal, and raise ``Refusal`` unless the answer is yes. ``yes``: do not ask."""
    if yes:
        return
    if not at_terminal():
        raise Refusal("Nothing was changed: there is no terminal to ask at, so pass --yes.")
    if not click.confirm(question):
        raise Refusal("Nothing was changed.")


def at_terminal() -> bool:
    """Check whether somebody can be asked, and can read the question."""
    return sys.stdin.isatty() and sys.stdout.isatty()
