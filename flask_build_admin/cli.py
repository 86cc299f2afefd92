"""``flask build-admin``: the same work from a shell on the server, by the same store."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from functools import partial
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Any

import click
from flask.cli import AppGroup
from werkzeug.exceptions import HTTPException

from .arguments import Command, changing, members_of, proposing, span, terms_of
from .body import Document, decode
from .editing import edit
from .errors import (
    BuildError,
    BuildNotFound,
    ChangedSince,
    ConfigurationError,
    DatabaseFailure,
    DatabaseUnavailable,
    PreconditionFailed,
    RevisionNotFound,
)
from .history import PAGE
from .proposal import Refusal, Unchanged, find, newest, propose, sentences
from .store import BuildStore
from .terminal import age, difference, headline, lines, table, told
from .waiting import LONGEST_QUEUE

if TYPE_CHECKING:
    from .blueprint import BuildAdmin

#: The name of the group.
COMMANDS = "build-admin"

#: What a command ends with; any other refusal is 1, and wrong usage is 2.
EXIT_CODES: dict[type[BuildError], int] = {
    PreconditionFailed: 3,
    ChangedSince: 3,
    BuildNotFound: 4,
    RevisionNotFound: 4,
    DatabaseUnavailable: 5,
    DatabaseFailure: 5,
}

_HELP = """Find the stuck build, repair it, and take that back.

\b
Exit codes: 0 done, 1 refused, 2 wrong usage, 3 changed meanwhile,
4 no such build or revision, 5 the database."""


class Commands(AppGroup):
    """The commands; what they refuse is one sentence on standard error, and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # whatever the locale can say
        try:
            return super().invoke(ctx)
        except BuildError as error:
            raise Refusal("\n".join(sentences(error)), EXIT_CODES.get(type(error), 1)) from error
        except HTTPException as error:  # of a receiver of build_updating
            raise Refusal(error.description or error.name) from error
        except ConfigurationError as error:
            raise Refusal(str(error)) from error


def make_commands(blueprint: BuildAdmin) -> Commands:
    """Make the commands of one blueprint."""
    store = blueprint.store
    group = Commands(COMMANDS, help=_HELP)
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

    @group.command("show")
    @click.argument("build_id", metavar="ID")
    @as_json
    def show(build_id: str, as_json: bool) -> None:
        """Show one build; its JSON is what apply takes."""
        build = store.find(build_id)
        _print([told(build.document)] if as_json else lines(build.document))

    @group.command("edit")
    @click.argument("build_id", metavar="ID")
    @changing
    def edit_(build_id: str, **who: str | None) -> None:
        """Edit one build in $VISUAL or $EDITOR."""
        edit(store, build_id, partial(store.overwrite, **terms_of(**who)))

    @group.command("apply")
    @click.argument("file", type=click.File("rb"))
    @proposing
    def apply(file: IO[bytes], yes: bool, dry_run: bool, **who: str | None) -> None:
        """Put a whole build from a file, or from standard input as -."""
        change = partial(store.overwrite, decode(file.read()), **terms_of(**who))
        propose(change, yes=yes, dry_run=dry_run, seen=Unchanged())

    @group.command("set")
    @click.argument("build_id", metavar="ID")
    @click.argument("members", metavar="MEMBER=VALUE...", nargs=-1, required=True)
    @proposing
    def set_(
        build_id: str, members: tuple[str, ...], yes: bool, dry_run: bool, **who: str | None
    ) -> None:
        """Change members of one build.

        The value "now" of a time is the current second.
        """
        changed = members_of(store, members)
        build = find(store, build_id)
        change = partial(store.overwrite, build.document | changed, **terms_of(**who))
        propose(change, yes=yes, dry_run=dry_run, seen=Unchanged(build))

    @group.command("openapi")
    def openapi_() -> None:
        """Print the OpenAPI document of the routes."""
        click.echo(json.dumps(_describe(blueprint), indent=2))

    if store.has_queue:
        _add_queue(group, store, as_json)
    if store.has_history:
        _add_history(group, store)
    return group


def _add_queue(group: Commands, store: BuildStore, as_json: Command) -> None:
    @group.command("queue")
    @click.option("--older-than", type=span, metavar="SPAN", help="Such as 90s, 10m, 2h or 3d.")
    @as_json
    def queue(older_than: int | None, as_json: bool) -> None:
        """List the builds that wait or run, the newest first."""
        now = int(time.time())
        before = None if older_than is None else max(now - older_than, 1)
        builds = store.queue(limit=LONGEST_QUEUE, before=before)
        if len(builds) == LONGEST_QUEUE:
            click.echo(
                f"These are {LONGEST_QUEUE}, and there may be more: ask by --older-than.", err=True
            )
        if as_json:
            click.echo(told(builds))
            return
        members = ("id", "repo_id", "number", "status", "created", "host", "title")
        rows = [[_cell(build, member, now) for member in members] for build in builds]
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        _print(table(("id", "repo", "number", "status", "age", "host", "title"), rows, columns))


def _add_history(group: Commands, store: BuildStore) -> None:
    @group.command("history")
    @click.argument("build_id", metavar="ID")
    @click.option("--limit", type=click.IntRange(1, LONGEST_QUEUE), default=PAGE, show_default=True)
    def history(build_id: str, limit: int) -> None:
        """List what was changed of one build, the newest first."""
        for revision in store.revisions(build_id, limit=limit):
            click.echo(headline(revision))
            for line in difference(revision.changes):
                click.echo(f"  {line}")

    @group.command("undo")
    @click.argument("build_id", metavar="ID")
    @click.argument("revision_id", metavar="[REVISION]", type=int, required=False)
    @proposing
    def undo(
        build_id: str, revision_id: int | None, yes: bool, dry_run: bool, **who: str | None
    ) -> None:
        """Take back one revision of a build, the newest if none is named."""
        if revision_id is None:
            revision_id = newest(store, build_id)
        if revision_id is None:
            raise RevisionNotFound
        change = partial(store.undo, build_id, revision_id, **terms_of(**who))
        propose(change, yes=yes, dry_run=dry_run, seen=Unchanged())


def _describe(blueprint: BuildAdmin) -> Document:
    try:
        from .openapi import openapi  # apispec is an extra
    except ModuleNotFoundError as error:
        raise Refusal(
            f"There is no {error.name}: install it by pip install 'Flask-Build-Admin[openapi]'."
        ) from error
    return openapi(blueprint)


def _print(lines: Any) -> None:
    for line in lines:
        click.echo(line)


def _cell(build: Document, member: str, now: int) -> str:
    value = build.get(member, "")
    if member == "created":
        return age(now - value) if value else ""
    return value if isinstance(value, str) else json.dumps(value)
