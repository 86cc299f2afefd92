"""Many builds at once: list them, ask, change them, and say how to undo that."""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol
from uuid import uuid4

import click

from ..exceptions import RevisionNotFound
from ..representation import Document
from ..schema import time_members
from ..store import BatchResult, BuildFilter, BuildStore, ChangeOptions, Revision
from ..store.change import EachUnchanged, tag_without
from ..wording import escape, format_count
from .confirmation import ask, named, require_values
from .formatting import format_changes, format_revision, format_value, format_warnings
from .listing import print_lines, print_queue, print_table, read_queue
from .refusals import exit_code_of

#: With more builds than this, there is a progress bar.
_MAX_WITHOUT_BAR = 20

#: With more builds than this, what would be changed is printed as a table.
_MAX_IN_FULL = 5


class _BatchMethod(Protocol):
    """A method of the store that changes many builds, with all but its options given."""

    def __call__(
        self, options: ChangeOptions, *, on_progress: Callable[[], None]
    ) -> BatchResult: ...


def clean(
    store: BuildStore,
    wanted: BuildFilter,
    options: ChangeOptions,
    message: str,
    *,
    yes: bool,
    dry_run: bool,
) -> None:
    """List the unfinished builds that fit, ask, and finish just these."""
    # With no builds: what is wrong with the message or the reason is said before the question.
    store.clean(wanted, options, message=message, build_ids=())
    found = read_queue(store, wanted, oldest=True)
    print_queue(found, wanted)
    ids = found.ids
    if not ids:
        return
    change = partial(store.clean, wanted, message=message, build_ids=ids)
    protected = store.protected
    tags = {str(build["id"]): tag_without(build, protected) for build in found.builds}
    options = replace(options, dry_run=True, precondition=EachUnchanged(protected, tags))
    result = _run(store, change, options, len(ids))
    _print_warnings(result.changed)
    if not dry_run:
        these = f"build {ids[0]}" if len(ids) == 1 else f"these {len(ids)} builds"
        ask(f"Set {these} to {store.clean_status}?", yes=yes)
        options = replace(options, dry_run=False)
        result = _run(store, change, options, len(ids))
    _report(store, result, options, "build", "cleaned")
    left = len(ids) - len(result.changed) - len(result.failed)
    if left and not result.more:
        click.echo(f"{format_count(left)} left alone: changed meanwhile.")
    _exit(exit_code_of(result.failed))


def set_each(
    store: BuildStore,
    ids: Collection[str],
    members: Document,
    options: ChangeOptions,
    required: Document,
    *,
    yes: bool,
    dry_run: bool,
) -> None:
    """Print what would be changed of each of some builds, ask, and change them.

    :param required: members and the values that a build must have.
    """
    unchanged = EachUnchanged(store.protected)

    def check(document: Document) -> None:
        require_values(document, required)
        unchanged(document)

    options = replace(options, precondition=check)
    preview = store.set(ids, members, replace(options, dry_run=True))
    _print_previews(store, preview.changed)
    _print_failures(preview, "changed")
    failed = preview.failed
    if not preview.changed and not failed:
        click.echo("Nothing would be changed.")
    if preview.changed and not dry_run:
        changing = [str(revision.build_id) for revision in preview.changed]
        question = f"Change these {len(changing)} builds?"
        if len(changing) == 1:
            question = f"Store this change of build {changing[0]}?"
        ask(question, yes=yes)
        result = _run(store, partial(store.set, changing, members), options, len(changing))
        _report(store, result, options, "build", "changed")
        failed = failed + result.failed
    _exit(exit_code_of(failed))


def undo_batch(
    store: BuildStore, batch: str, options: ChangeOptions, *, yes: bool, dry_run: bool
) -> None:
    """List the changes of a batch, ask, and undo those that still stand."""
    lines: list[str] = []
    build_id = None

    def note(revision: Revision) -> bool:
        nonlocal build_id
        build_id = revision.build_id
        lines.append(format_revision(revision, of_build=True))
        return True

    store.revisions(batch=batch, limit=sys.maxsize, take=note)
    if not lines:
        raise RevisionNotFound("There is no such batch.")
    print_lines(lines)
    if not dry_run:
        these = f"these {len(lines)} changes"
        if len(lines) == 1:
            these = f"this change of build {build_id}"
        ask(f"Undo {these}?", yes=yes)
    options = replace(options, dry_run=dry_run)
    result = _run(store, partial(store.undo_batch, batch), options, len(lines))
    _report(store, result, options, "change", "undone")
    _exit(exit_code_of(result.failed))


def prune(store: BuildStore, before: int, *, yes: bool, dry_run: bool) -> None:
    """Count the changes that were made earlier, ask, and remove them from the history.

    :param before: UNIX epoch second.
    """
    count = store.prune(before, dry_run=True)
    if not count:
        click.echo("No change is that old, except the newest of each build.")
        return
    if dry_run:
        click.echo(f"{format_count(count, 'change')} would be removed.")
        return
    these = f"these {count} changes" if count > 1 else "this change"
    ask(f"Remove {these} from the history, for ever?", yes=yes)
    with _progress(count) as advance:
        removed = store.prune(before, on_progress=advance)
    click.echo(f"{format_count(removed, 'change')} removed.")


def _run(
    store: BuildStore, change: _BatchMethod, options: ChangeOptions, count: int
) -> BatchResult:
    """Change builds, with a progress bar if there are many of them."""
    # Named here, so that an interrupted batch can be undone as well.
    batch = str(uuid4())
    tried = 0

    def on_progress() -> None:
        nonlocal tried
        tried += 1
        advance(1)

    with _progress(count) as advance:
        try:
            return change(replace(options, batch=batch), on_progress=on_progress)
        except BaseException:  # also Ctrl-C
            if tried and not options.dry_run:
                click.echo("\nNot all builds were tried.", err=True)
                _print_undo(store, batch, err=True)
            raise


@contextmanager
def _progress(count: int) -> Iterator[Callable[[int], None]]:
    if count <= _MAX_WITHOUT_BAR or not sys.stdout.isatty():
        yield lambda number: None
        return
    with click.progressbar(length=count, show_eta=False, show_pos=True) as bar:
        yield bar.update


def _report(
    store: BuildStore, result: BatchResult, options: ChangeOptions, noun: str, done: str
) -> None:
    """Print what became of builds: how many were changed, which were not, how to undo it."""
    would = "would be " if options.dry_run else ""
    click.echo(f"{format_count(len(result.changed), noun)} {would}{done}.")
    _print_failures(result, done)
    if result.changed and not options.dry_run:
        _print_undo(store, result.batch)


def _print_failures(result: BatchResult, done: str) -> None:
    for failure in result.failed:
        revision = "" if failure.revision_id is None else f" (revision {failure.revision_id})"
        line = f"{named(failure.build_id)}{revision} is not {done}: {failure.problem}"
        click.echo(f"{escape(line).rstrip('.')}.", err=True)
    if result.more:
        click.echo("The others were not tried: the database cannot answer now.", err=True)


def _print_undo(store: BuildStore, batch: str, *, err: bool = False) -> None:
    """Print the command that undoes a batch, if there is one."""
    group = click.get_current_context().parent
    if store.has_history and group is not None:
        click.echo(f"To undo this: {group.command_path} undo --batch {batch}", err=err)


def _print_previews(store: BuildStore, revisions: Sequence[Revision]) -> None:
    """Print what would be changed: in full, or one line per build if there are many."""
    times = time_members(store.schema())
    if len(revisions) <= _MAX_IN_FULL:
        for revision in revisions:
            click.echo(f"{named(revision.build_id)}:")
            print_lines(f"  {line}" for line in format_changes(revision.changes, times))
            print_lines(f"  {line}" for line in format_warnings(revision.warnings))
        return
    members = [*dict.fromkeys(key for revision in revisions for key in revision.changes)]
    rows = []
    for revision in revisions:
        row = [str(revision.build_id)]
        for key in members:
            change = revision.changes.get(key)
            sides = [format_value(key, change[side], times) for side in change] if change else []
            row.append(" → ".join(sides))
        rows.append(row)
    print_table(("id", *members), rows)
    _print_warnings(revisions)


def _print_warnings(revisions: Sequence[Revision]) -> None:
    for revision in revisions:
        if revision.warnings:
            click.echo(f"{named(revision.build_id)}:")
            print_lines(f"  {line}" for line in format_warnings(revision.warnings))


def _exit(code: int) -> None:
    click.get_current_context().exit(code)
