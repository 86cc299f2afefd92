"""The options and arguments of a command line."""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
from flask import current_app
from marshmallow import ValidationError, fields

from ..exceptions import InvalidJSON
from ..representation import Document, decode
from ..schema import Choice, UnixTime, members_of
from ..store import BuildStore, ChangeOptions
from .formatting import UNITS

#: The members that are points in time.
TIMES = frozenset({"enqueued", "created", "started", "finished"})

#: A function that becomes a command.
Command = Callable[..., Any]


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
    return actor(reason(command))


def confirmed_change_options(command: Command) -> Command:
    """Add the options of a command that previews a change, asks, and makes it."""
    yes = click.option("--yes", is_flag=True, help="Do not ask.")
    dry_run = click.option("--dry-run", is_flag=True, help="Only show what would be changed.")
    return change_options(dry_run(yes(command)))


def make_options(actor: str | None, reason: str | None) -> ChangeOptions:
    """Return the options of a change, by default on behalf of the user of the system."""
    sender = current_app._get_current_object()  # type: ignore[attr-defined]
    return ChangeOptions(sender=sender, actor=actor or _user(), reason=reason)


def _user() -> str:
    # Not getpass.getuser(): it trusts the environment.
    try:
        import pwd
    except ModuleNotFoundError:  # on Windows
        return os.getlogin()
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container whose user has no name
        return f"user {number}"


def load_assignments(store: BuildStore, assignments: tuple[str, ...]) -> Document:
    """Load ``MEMBER=VALUE`` arguments, the values as the schema expects them."""
    members = members_of(store.schema())
    document: Document = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{text!r} is not of the form MEMBER=VALUE.")
        if key == "id":
            raise click.UsageError("The id cannot be set: it says which build is meant.")
        if key in document:
            raise click.UsageError(f"{key!r} is given more than once.")
        document[key] = _load_value(key, members[key].field if key in members else None, value)
    return document


def _load_value(key: str, field: "fields.Field[Any] | None", text: str) -> Any:
    if field is None or isinstance(field, fields.String | Choice):
        return text
    if text == "now" and (isinstance(field, UnixTime) or key in TIMES):
        return int(time.time())
    if isinstance(field, fields.Enum):
        with suppress(ValidationError):  # a name or a value that looks like a number is none
            field.deserialize(text)
            return text
    try:
        document = decode(f'{{"value": {text}}}'.encode(errors="surrogatepass"))
    except InvalidJSON:
        return text  # the schema reports it
    return document["value"] if len(document) == 1 else text
