"""What every command that changes a build does: preview the change, ask, and make it."""

import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import click

from ..exceptions import PreconditionFailed
from ..representation import Document, Representation, same
from ..schema import time_members
from ..store import BuildStore, ChangeOptions, ChangeResult
from ..store.change import UnchangedSince, tag_without
from ..wording import escape
from .formatting import format_changes, format_json, format_warnings
from .refusals import Refusal


class Unchanged(UnchangedSince):
    """A precondition: the build is still as it was; None: as the first preview finds it.

    :param required: members and the values that the build must have, too.
    :param protected: members that do not count.
    """

    def __init__(
        self,
        build: Representation | None = None,
        required: Document | None = None,
        protected: Collection[str] = (),
    ) -> None:
        tag = None if build is None else tag_without(build.document, protected)
        super().__init__(tag, protected)
        self._required = required or {}

    def __call__(self, document: Document) -> None:
        """Raise ``PreconditionFailed`` if the build has changed."""
        require_values(document, self._required)
        super().__call__(document)


def require_values(document: Document, required: Document) -> None:
    """Raise ``PreconditionFailed`` if a build does not have the values of some members."""
    for key, value in required.items():
        if not same(document.get(key), value):
            now, then = format_json(document.get(key)), format_json(value)
            raise PreconditionFailed(f"Refused by --if: {key} is {now} now, not {then}.")


def confirm_change(
    store: BuildStore,
    change: Callable[[ChangeOptions], ChangeResult],
    options: ChangeOptions,
    unchanged: Callable[[Document], None],
    *,
    yes: bool,
    dry_run: bool,
) -> None:
    """Print what a change would change, ask, and make it if the build is still the same.

    :param options: without ``precondition`` and ``dry_run``.
    :param unchanged: the precondition.
    :param yes: whether to skip the question.
    :param dry_run: whether to stop after the preview.
    :raises Refusal: the answer is no, or nobody can be asked.
    """
    options = replace(options, precondition=unchanged)
    preview = change(replace(options, dry_run=True)).revision
    if not preview.changes:
        click.echo("Nothing would be changed.")
        return
    for line in format_changes(preview.changes, time_members(store.schema())):
        click.echo(line)
    for line in format_warnings(preview.warnings):
        click.echo(line)
    if not dry_run:
        ask(f"Store this change of build {preview.build_id}?", yes=yes)
        stored = change(options).revision
        number = "" if stored.id is None else f" as revision {stored.id}"
        click.echo(f"{named(stored.build_id)} is stored{number}.")


def named(build_id: Any) -> str:
    """Name a build at the beginning of a sentence."""
    return escape(f"Build {build_id}")


def ask(question: str, *, yes: bool = False) -> None:
    """Ask on a terminal, and raise ``Refusal`` unless the answer is yes. ``yes``: do not ask."""
    if yes:
        return
    if not at_terminal():
        raise Refusal("Nothing was changed: there is no terminal to ask at, so pass --yes.")
    if not click.confirm(escape(question)):
        raise Refusal("Nothing was changed.")


def at_terminal() -> bool:
    """Check whether somebody can be asked, and can read the question."""
    return sys.stdin.isatty() and sys.stdout.isatty()
