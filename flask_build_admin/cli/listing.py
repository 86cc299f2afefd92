"""The lists: the unfinished builds, and the changes of one build or of all."""

import json
import shutil
import sys
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import click

from ..representation import Document
from ..schema import time_members
from ..store import BuildFilter, BuildStore, Revision
from ..store.filters import SIGNS_OF_LIFE
from ..store.outside import OVERWRITTEN_AGE
from ..store.queue import MAX_BUILDS
from ..store.revisions import DEFAULT_REVISIONS
from ..wording import escape, format_age, format_count
from .arguments import Command, as_json, filter_options, make_filter, parse_span
from .formatting import format_changes, format_json, format_outside, format_revision, format_table


class Unfinished(NamedTuple):
    """Unfinished builds."""

    builds: list[Document]
    #: Those that cannot be read: id to what is wrong.
    unreadable: dict[Any, str]

    @property
    def ids(self) -> list[str]:
        """Their ids, as text."""
        return [*(str(build["id"]) for build in self.builds), *map(str, self.unreadable)]


def read_queue(store: BuildStore, wanted: BuildFilter, *, oldest: bool) -> Unfinished:
    """Read the unfinished builds that fit, and say if there may be more of them."""
    unreadable: dict[Any, str] = {}
    builds = store.queue(wanted, oldest=oldest, on_unreadable=unreadable.__setitem__)
    if len(builds) + len(unreadable) == MAX_BUILDS:
        hint = f"These are {MAX_BUILDS}, and there may be more: ask by --older-than or --where."
        click.echo(hint, err=True)
    return Unfinished(builds, unreadable)


def print_queue(found: Unfinished, wanted: BuildFilter) -> None:
    """Print unfinished builds as a table, and count them."""
    if not found.ids:
        such = "" if wanted == BuildFilter() else "such "
        click.echo(f"No {such}builds wait or run.")
        return
    now = int(time.time())
    before, after = ("id", "repo_id", "number", "status"), ("host", "title")
    rows = [
        [*_cells(build, before), _age(build, now), *_cells(build, after)] for build in found.builds
    ]
    rows += [
        [str(build_id), "", "", f"cannot be read: {problem}", "", "", ""]
        for build_id, problem in found.unreadable.items()
    ]
    print_table(("id", "repo", "number", "status", "age", "host", "title"), rows)
    click.echo(format_count(len(rows)))


def print_table(head: tuple[str, ...], rows: list[list[str]]) -> None:
    """Print rows below a head, within the width of the terminal."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_lines(format_table(head, rows, columns))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        click.echo(line)


def add_queue(group: click.Group, store: BuildStore) -> None:
    """Add the command that lists the unfinished builds."""

    @group.command("queue")
    @filter_options
    @click.option("--oldest-first", is_flag=True, help="Begin with the one that was created first.")
    @click.option("--ids", is_flag=True, help="Print the ids, one per line, as set takes them.")
    @as_json
    def queue(
        older_than: int | None,
        where: tuple[str, ...],
        oldest_first: bool,
        ids: bool,
        as_json: bool,
    ) -> None:
        """List the builds that are pending or running, the newest first."""
        if ids and as_json:
            raise click.UsageError("Pass --ids or --json, not both.")
        wanted = make_filter(store, older_than, where)
        found = read_queue(store, wanted, oldest=oldest_first)
        if not ids and not as_json:
            print_queue(found, wanted)
            return
        print_lines(map(escape, found.ids) if ids else [format_json(found.builds)])
        for build_id, problem in found.unreadable.items():
            click.echo(escape(f"Build {build_id} cannot be read: {problem}"), err=True)


def add_changes(group: click.Group, store: BuildStore) -> None:
    """Add the commands that list changes."""

    @group.command("history")
    @click.argument("build_id", metavar="ID")
    @_limit
    @as_json
    def history(build_id: str, limit: int, as_json: bool) -> None:
        """List the changes of one build, the newest first."""
        _print_changes(store, store.revisions(build_id, limit=limit + 1), limit, as_json)

    @group.command("log")
    @click.option("--since", type=parse_span, metavar="SPAN", help="Such as 90s, 10m, 2h or 3d.")
    @click.option("--actor", metavar="NAME", help="Only changes by this person.")
    @click.option("--batch", help="Only changes that were made at once, by this name.")
    @_limit
    @as_json
    def log(
        since: int | None, actor: str | None, batch: str | None, limit: int, as_json: bool
    ) -> None:
        """List the changes of all builds, the newest first."""
        after = None if since is None else _after(since)
        revisions = store.revisions(batch=batch, actor=actor, after=after, limit=limit + 1)
        _print_changes(store, revisions, limit, as_json, of_build=True)

    @group.command("overwritten")
    @click.option(
        "--since",
        type=parse_span,
        default=f"{OVERWRITTEN_AGE // 3600}h",
        show_default=True,
        metavar="SPAN",
        help="Only repairs of so long ago at most.",
    )
    @as_json
    def overwritten(since: int, as_json: bool) -> None:
        """List the repairs that somebody else has overwritten; the exit code is 3 if there are any.

        A repair is listed if a member that it was the last to change has another value now. The
        builds that are deleted are left out.
        """
        found = store.revisions(after=_after(since), overwritten=True, limit=sys.maxsize)
        if as_json:
            click.echo(format_json([revision.document for revision in found]))
        else:
            times = time_members(store.schema())
            for revision in found:
                click.echo(format_revision(revision, of_build=True))
                click.echo(f"  {format_outside('overwritten', revision.overwritten or {}, times)}")
            what = format_count(len(found), "repair") if found else "No repair"
            click.echo(f"{what} of the last {format_age(since)} overwritten.")
        click.get_current_context().exit(3 if found else 0)


def _after(since: int) -> int:
    return int(time.time()) - since - 1


def _limit(command: Command) -> Command:
    limit = click.option(
        "--limit",
        type=click.IntRange(1, MAX_BUILDS),
        default=DEFAULT_REVISIONS,
        show_default=True,
        help="The most changes.",
    )
    return limit(command)


def _print_changes(
    store: BuildStore,
    revisions: list[Revision],
    limit: int,
    as_json: bool,
    *,
    of_build: bool = False,
) -> None:
    """Print changes, and say if there are more than the limit."""
    if as_json:
        click.echo(format_json([revision.document for revision in revisions[:limit]]))
    else:
        times = time_members(store.schema())
        for revision in revisions[:limit]:
            click.echo(format_revision(revision, of_build=of_build))
            print_lines(f"  {line}" for line in format_changes(revision.changes, times))
            if outside := revision.changed_outside:
                click.echo(f"  {format_outside('then, outside this tool', outside, times)}")
    if len(revisions) > limit:
        click.echo("There are older changes: pass a greater --limit.", err=True)


def _cells(build: Document, members: Iterable[str]) -> list[str]:
    values = [build.get(member, "") for member in members]
    return [value if isinstance(value, str) else json.dumps(value) for value in values]


def _age(build: Document, now: int) -> str:
    """Return how long ago the first sign of life was."""
    first = next(filter(None, map(build.get, SIGNS_OF_LIFE)), "")
    return format_age(now - first) if isinstance(first, int) else str(first)
