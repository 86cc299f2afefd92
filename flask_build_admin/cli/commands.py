"""The commands, and what they exit with."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from io import TextIOWrapper
from typing import IO, Any

import click
from flask.cli import AppGroup
from werkzeug.exceptions import HTTPException

from .. import exceptions
from ..representation import Document, decode
from ..store import BuildFilter, BuildStore
from ..store.history import DEFAULT_REVISIONS
from ..store.queue import MAX_BUILDS
from .arguments import (
    Command,
    change_options,
    confirmed_change_options,
    load_assignments,
    make_options,
    parse_span,
)
from .confirmation import Refusal, UnchangedSince, confirm_change, newest_revision, problems_of
from .editing import edit
from .formatting import (
    escape,
    format_age,
    format_build,
    format_changes,
    format_json,
    format_revision,
    format_table,
)

#: The exit code of a refusal; any other is 1, and wrong usage is 2.
EXIT_CODES: dict[type[exceptions.BuildAdminError], int] = {
    exceptions.PreconditionFailed: 3,
    exceptions.UndoConflict: 3,
    exceptions.BuildNotFound: 4,
    exceptions.RevisionNotFound: 4,
    exceptions.DatabaseUnavailable: 5,
    exceptions.DatabaseError: 5,
}

_HELP = """Find the stuck build, repair it, and undo that.

\b
Exit codes: 0 done, 1 refused, 2 wrong usage, 3 changed meanwhile,
4 no such build or revision, 5 the database."""


class Commands(AppGroup):
    """The commands; a refusal is printed on standard error, and has an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # the locale may lack a character
        try:
            return super().invoke(ctx)
        except exceptions.BuildAdminError as error:
            code = EXIT_CODES.get(type(error), 1)
            raise Refusal(*problems_of(error), exit_code=code) from error
        except HTTPException as error:  # of a receiver of build_updating
            raise Refusal(" ".join((error.description or error.name).split())) from error
        except exceptions.ConfigurationError as error:
            raise Refusal(*str(error).split("\n")) from error


def make_commands(store: BuildStore, openapi: Callable[[], Document]) -> Commands:
    """Make the commands of one blueprint; ``openapi`` returns the document of its routes."""
    group = Commands("build-admin", help=_HELP)
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

    @group.command("show")
    @click.argument("build_id", metavar="ID")
    @as_json
    def show(build_id: str, as_json: bool) -> None:
        """Show one build; its JSON is what apply takes."""
        build = store.find(build_id)
        _print([format_json(build.document)] if as_json else format_build(build.document))

    @group.command("edit")
    @click.argument("build_id", metavar="ID")
    @change_options
    def edit_(build_id: str, **who: str | None) -> None:
        """Edit one build in $VISUAL or $EDITOR."""
        edit(store, build_id, make_options(**who))

    @group.command("apply")
    @click.argument("file", type=click.File("rb"))
    @confirmed_change_options
    def apply(file: IO[bytes], yes: bool, dry_run: bool, **who: str | None) -> None:
        """Put a whole build from a file, or from standard input as -."""
        change = partial(store.overwrite, decode(file.read()))
        confirm_change(change, make_options(**who), UnchangedSince(), yes=yes, dry_run=dry_run)

    @group.command("set")
    @click.argument("build_id", metavar="ID")
    @click.argument("members", metavar="MEMBER=VALUE...", nargs=-1, required=True)
    @confirmed_change_options
    def set_(
        build_id: str, members: tuple[str, ...], yes: bool, dry_run: bool, **who: str | None
    ) -> None:
        """Change members of one build.

        The value "now" of a time is the current second.
        """
        assigned = load_assignments(store, members)
        build = store.find(build_id)
        change = partial(store.overwrite, build.document | assigned)
        seen = UnchangedSince(build)
        confirm_change(change, make_options(**who), seen, yes=yes, dry_run=dry_run)

    @group.command("openapi")
    def openapi_() -> None:
        """Print the OpenAPI document of the routes."""
        click.echo(json.dumps(openapi(), indent=2))

    _add_queue(group, store, as_json)
    if store.has_history:
        _add_history(group, store)
    return group


def _add_queue(group: Commands, store: BuildStore, as_json: Command) -> None:
    @group.command("queue")
    @click.option(
        "--older-than", type=parse_span, metavar="SPAN", help="Such as 90s, 10m, 2h or 3d."
    )
    @as_json
    def queue(older_than: int | None, as_json: bool) -> None:
        """List the builds that are pending or running, the newest first."""
        now = int(time.time())
        before = None if older_than is None else max(now - older_than, 1)
        unreadable: dict[Any, str] = {}
        wanted = BuildFilter(idle_before=before)
        builds = store.queue(wanted, on_unreadable=unreadable.__setitem__)
        if len(builds) == MAX_BUILDS:
            click.echo(
                f"These are {MAX_BUILDS}, and there may be more: ask by --older-than.", err=True
            )
        if as_json:
            click.echo(format_json(builds))
            for build_id, problem in unreadable.items():
                click.echo(escape(f"Build {build_id} cannot be read: {problem}"), err=True)
            return
        members = ("id", "repo_id", "number", "status", "created", "host", "title")
        rows = [[_cell(build, member, now) for member in members] for build in builds]
        rows += [
            [str(build_id), "", "", f"cannot be read: {problem}", "", "", ""]
            for build_id, problem in unreadable.items()
        ]
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        head = ("id", "repo", "number", "status", "age", "host", "title")
        _print(format_table(head, rows, columns))


def _add_history(group: Commands, store: BuildStore) -> None:
    @group.command("history")
    @click.argument("build_id", metavar="ID")
    @click.option(
        "--limit", type=click.IntRange(1, MAX_BUILDS), default=DEFAULT_REVISIONS, show_default=True
    )
    def history(build_id: str, limit: int) -> None:
        """List the changes of one build, the newest first."""
        for revision in store.revisions(build_id, limit=limit):
            click.echo(format_revision(revision))
            _print(f"  {line}" for line in format_changes(revision.changes))

    @group.command("undo")
    @click.argument("build_id", metavar="ID")
    @click.argument("revision_id", metavar="[REVISION]", type=int, required=False)
    @confirmed_change_options
    def undo(
        build_id: str, revision_id: int | None, yes: bool, dry_run: bool, **who: str | None
    ) -> None:
        """Undo one revision of a build, by default the newest."""
        if revision_id is None:
            revision_id = newest_revision(store, build_id)
        if revision_id is None:
            raise exceptions.RevisionNotFound
        change = partial(store.undo, build_id, revision_id)
        confirm_change(change, make_options(**who), UnchangedSince(), yes=yes, dry_run=dry_run)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _cell(build: Document, member: str, now: int) -> str:
    value = build.get(member, "")
    if member == "created":
        return format_age(now - value) if value and isinstance(value, int) else str(value or "")
    return value if isinstance(value, str) else json.dumps(value)
