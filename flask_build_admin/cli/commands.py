"""The commands, and what each of them takes."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from io import TextIOWrapper
from typing import IO, Any

import click
from flask.cli import AppGroup
from werkzeug.exceptions import HTTPException

from .. import exceptions
from ..representation import Document, decode
from ..schema import time_members
from ..store import BuildStore
from ..store.clean import CLEAN_AGE, CLEAN_MESSAGE
from ..store.queue import MAX_BUILDS
from .arguments import (
    as_json,
    change_options,
    confirmed_change_options,
    filter_options,
    load_assignments,
    load_members,
    make_filter,
    make_options,
    parse_span,
)
from .confirmation import Unchanged, confirm_change
from .editing import edit
from .formatting import format_build, format_json, format_revision
from .listing import add_changes, add_queue, print_lines
from .many import clean, prune, set_each, undo_batch
from .refusals import Refusal, refusal_of

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
            raise refusal_of(error) from error
        except HTTPException as error:  # of a receiver of build_updating
            raise Refusal(" ".join((error.description or error.name).split())) from error
        except exceptions.ConfigurationError as error:
            raise Refusal(*str(error).split("\n")) from error


def make_commands(store: BuildStore, openapi: Callable[[], Document]) -> Commands:
    """Make the commands of one blueprint; ``openapi`` returns the document of its routes."""
    group = Commands("build-admin", help=_HELP)

    @group.command("show")
    @click.argument("build_id", metavar="ID")
    @as_json
    def show(build_id: str, as_json: bool) -> None:
        """Show one build; its JSON is what apply takes."""
        build = store.find(build_id).document
        times = time_members(store.schema())
        print_lines([format_json(build)] if as_json else format_build(build, times))

    @group.command("openapi")
    def openapi_() -> None:
        """Print the OpenAPI document of the routes."""
        click.echo(json.dumps(openapi(), indent=2))

    add_queue(group, store)
    _add_changes_of_one(group, store)
    _add_set(group, store)
    _add_clean(group, store)
    if store.has_history:
        add_changes(group, store)
        _add_undo(group, store)
        _add_prune(group, store)
    return group


def _add_changes_of_one(group: Commands, store: BuildStore) -> None:
    @group.command("edit")
    @click.argument("build_id", metavar="ID")
    @change_options
    def edit_(build_id: str, **who: Any) -> None:
        """Edit one build in $VISUAL or $EDITOR."""
        edit(store, build_id, make_options(**who))

    @group.command("apply")
    @click.argument("file", type=click.File("rb"))
    @confirmed_change_options
    def apply(file: IO[bytes], yes: bool, dry_run: bool, **who: Any) -> None:
        """Put a whole build from a file, or from standard input as -."""
        change = partial(store.overwrite, decode(file.read()))
        options, unchanged = make_options(**who), Unchanged()
        confirm_change(store, change, options, unchanged, yes=yes, dry_run=dry_run)


def _add_set(group: Commands, store: BuildStore) -> None:
    @group.command("set")
    @click.argument("arguments", metavar="ID... MEMBER=VALUE...", nargs=-1, required=True)
    @click.option(
        "--if",
        "conditions",
        multiple=True,
        metavar="MEMBER=VALUE",
        help="Refuse a build that has another value by now; may be given several times.",
    )
    @confirmed_change_options
    def set_(
        arguments: tuple[str, ...],
        conditions: tuple[str, ...],
        yes: bool,
        dry_run: bool,
        **who: Any,
    ) -> None:
        """Change members of one build, or of several.

        Pass - instead of the ids to read them from standard input, one per line. The value "now" of
        a time is the current second.
        """
        ids, assignments = _split(arguments)
        assigned, required = load_assignments(store, assignments), load_members(store, conditions)
        options = make_options(**who)
        if ids == ["-"]:
            if not yes and not dry_run:
                raise click.UsageError("Pass --yes, because standard input has the ids.")
            ids = _read_ids()
        if not ids:
            click.echo("Nothing was changed: there were no ids.")
        elif len(ids) > 1:
            set_each(store, ids, assigned, options, required, yes=yes, dry_run=dry_run)
        else:
            change = partial(store.update, ids[0], assigned)
            unchanged = Unchanged(required=required, protected=store.protected)
            confirm_change(store, change, options, unchanged, yes=yes, dry_run=dry_run)


def _split(arguments: Sequence[str]) -> tuple[list[str], Sequence[str]]:
    """Return the ids, each once, and the assignments, which begin with the first ``=``."""
    count = next((at for at, one in enumerate(arguments) if "=" in one), len(arguments))
    if not arguments[:count]:
        raise click.UsageError("Missing argument: the ID of a build, or several, or -.")
    if not arguments[count:]:
        raise click.UsageError("Missing argument: at least one MEMBER=VALUE.")
    return [*dict.fromkeys(arguments[:count])], arguments[count:]


def _read_ids() -> list[str]:
    # Decoded as arguments are.
    lines = [os.fsdecode(line).strip() for line in sys.stdin.buffer]
    return [*dict.fromkeys(filter(None, lines))]


def _add_clean(group: Commands, store: BuildStore) -> None:
    @group.command(
        "clean",
        help=f"""Finish builds that no worker will finish.

        Without --older-than, these are the builds that wait or run and were created
        {CLEAN_AGE // 60} minutes ago or earlier, at most {MAX_BUILDS} at once. Each gets the status
        {store.clean_status!r}, the message as its error, and the current second as its end.""",
    )
    @filter_options
    @click.option(
        "--message", default=CLEAN_MESSAGE, show_default=True, help="The error of the builds."
    )
    @confirmed_change_options
    def clean_(
        older_than: int | None,
        where: tuple[str, ...],
        message: str,
        yes: bool,
        dry_run: bool,
        **who: Any,
    ) -> None:
        wanted = make_filter(store, older_than, where, CLEAN_AGE)
        clean(store, wanted, make_options(**who), message, yes=yes, dry_run=dry_run)


def _add_undo(group: Commands, store: BuildStore) -> None:
    @group.command("undo")
    @click.argument("build_id", metavar="[ID]", required=False)
    @click.argument("revision_id", metavar="[REVISION]", type=int, required=False)
    @click.option("--batch", help="Undo all changes that were made at once, by this name.")
    @confirmed_change_options
    def undo(
        build_id: str | None,
        revision_id: int | None,
        batch: str | None,
        yes: bool,
        dry_run: bool,
        **who: Any,
    ) -> None:
        """Undo one revision of a build, by default the newest; or all of a batch."""
        options = make_options(**who)
        if batch is not None and build_id is None:
            undo_batch(store, batch, options, yes=yes, dry_run=dry_run)
        elif build_id is not None and batch is None:
            if revision_id is None:
                if yes and not dry_run:
                    raise click.UsageError(
                        "With --yes, pass REVISION, too: a second run would undo the undo, and"
                        " nobody would see whose change is the newest."
                    )
                revision_id = _show_newest(store, build_id)
            change = partial(store.undo, build_id, revision_id)
            confirm_change(
                store,
                change,
                options,
                Unchanged(protected=store.protected),
                yes=yes,
                dry_run=dry_run,
            )
        else:
            raise click.UsageError("Pass the ID of a build, or --batch.")


def _add_prune(group: Commands, store: BuildStore) -> None:
    @group.command("prune")
    @click.option(
        "--older-than",
        "age",
        type=parse_span,
        required=True,
        metavar="SPAN",
        help="Only changes of so long ago at least, such as 12h or 90d.",
    )
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @click.option("--dry-run", is_flag=True, help="Only count them.")
    def prune_(age: int, yes: bool, dry_run: bool) -> None:
        """Remove old changes from the history, but for the newest of each build.

        They are in no list any more, and cannot be undone.
        """
        prune(store, int(time.time()) - age, yes=yes, dry_run=dry_run)


def _show_newest(store: BuildStore, build_id: str) -> int:
    """Print whose the newest revision of a build is, and return its id."""
    newest = store.revisions(build_id, limit=1)
    if not newest:
        raise exceptions.RevisionNotFound(f"Build {build_id} has no revision that can be undone.")
    click.echo(format_revision(newest[0]))
    return newest[0].id or 0
