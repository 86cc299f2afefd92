"""The options and arguments of a command line."""

import os
import re
import time
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

import click
from flask import current_app

from ..representation import Document
from ..schema import members_of, time_members
from ..store import BuildFilter, BuildStore, ChangeOptions
from ..store.filters import accepts, value_from_text
from ..wording import UNITS, escape

#: A function that becomes a command.
Command = Callable[..., Any]

#: Adds the option of a command that prints JSON instead of text.
as_json: Callable[[Command], Command] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON."
)


def parse_span(text: str) -> int:
    """Parse a time span, ``90s``, ``10m``, ``2h`` or ``3d``, into seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no time span such as 90s, 10m, 2h or 3d.")
    return int(found[1]) * UNITS[found[2]]


def change_options(command: Command) -> Command:
    """Add the options of a command that changes a build."""
    reason = click.option("--reason", help="Why, for the history and the log.")
    actor = click.option("--actor", help="Who is acting.  [default: the user of the system]")
    force = click.option(
        "--force", is_flag=True, help="Store what has warnings, where the server refuses that."
    )
    return actor(reason(force(command)))


def confirmed_change_options(command: Command) -> Command:
    """Add the options of a command that previews a change, asks, and makes it."""
    yes = click.option("--yes", is_flag=True, help="Do not ask.")
    dry_run = click.option("--dry-run", is_flag=True, help="Only show what would be changed.")
    return change_options(dry_run(yes(command)))


def filter_options(command: Command) -> Command:
    """Add the options that say which unfinished builds are meant."""
    older_than = click.option(
        "--older-than",
        type=parse_span,
        metavar="SPAN",
        help="Only builds without a sign of life for so long (idle_before): created, enqueued and"
        " started are all earlier. Such as 90s, 10m, 2h or 3d.",
    )
    where = click.option(
        "--where",
        multiple=True,
        metavar="MEMBER=VALUE",
        help="Only builds with this value; may be given several times.",
    )
    return older_than(where(command))


def make_filter(
    store: BuildStore, older_than: int | None, where: Collection[str], created: int | None = None
) -> BuildFilter:
    """Return the filter that these options make.

    :param created: without ``older_than``, how many seconds ago the builds were created at least.
    """
    # A host without a queue has no filters, and the queue says why.
    members = load_members(store, where, store.filters)
    now = int(time.time())
    if older_than is not None:
        return BuildFilter(idle_before=max(now - older_than, 1), members=members)
    return BuildFilter(before=None if created is None else now - created, members=members)


def make_options(actor: str | None, reason: str | None, force: bool) -> ChangeOptions:
    """Return the options of a change, by default on behalf of the user of the system."""
    sender = current_app._get_current_object()  # type: ignore[attr-defined]
    return ChangeOptions(sender=sender, actor=actor or _user(), reason=reason, force=force)


def _user() -> str:
    # Not getpass.getuser(): it trusts the environment.
    try:
        import pwd
    except ModuleNotFoundError:  # on Windows
        return os.getlogin()
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container whose user has no name
        name = f"user {number}"
    # Anyone can set SUDO_USER, but only root can pretend by it, who could anyway.
    before_sudo = os.environ.get("SUDO_USER") if number == 0 else None
    return f"{name} (sudo: {escape(before_sudo)})" if before_sudo else name


def load_assignments(store: BuildStore, assignments: Collection[str]) -> Document:
    """Load ``MEMBER=VALUE`` arguments, the values as the schema expects them."""
    document = load_members(store, assignments)
    if "id" in document:
        raise click.UsageError("The id cannot be set: it says which build is meant.")
    return document


def load_members(
    store: BuildStore, assignments: Collection[str], known: Collection[str] = ()
) -> Document:
    """Load ``MEMBER=VALUE`` texts, the values as the schema expects them.

    :param known: the members that may be named; by default all of the schema.
    :raises UsageError: a text has another form, a member is unknown, or named twice, or a time is
        none.
    """
    schema = store.schema()
    members = members_of(schema)
    times = time_members(schema)
    document: Document = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{text!r} is not of the form MEMBER=VALUE.")
        if key in document:
            raise click.UsageError(f"{key!r} is given more than once.")
        _check_known(key, known or members)
        field = members[key].field
        if key in times and value == "now":
            document[key] = int(time.time())
            continue
        document[key] = value_from_text(field, value)
        if key in times and isinstance(document[key], str) and not accepts(field, value):
            hint = "pass seconds since 1970 (UNIX epoch), or now."
            raise click.UsageError(f"{escape(key)}: {value!r} is no time: {hint}")
    return document


def _check_known(key: str, known: Collection[str]) -> None:
    if key in known:
        return
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."
    raise click.UsageError(f"{key!r} is unknown: {escape(hint)}")
