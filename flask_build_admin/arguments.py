"""The words of a command line: what they say of a build, and of who changes it and how."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click
from flask import current_app
from marshmallow import ValidationError, fields

from .body import Document, decode
from .errors import MalformedBody
from .fields import UnixTime
from .model import member_of
from .store import BuildStore
from .terminal import UNITS

#: The members that are points in time.
TIMES = frozenset({"enqueued", "created", "started", "finished"})

#: A function that is to become a command.
Command = Callable[..., Any]


def span(text: str) -> int:
    """Read a time span, ``90s``, ``10m``, ``2h`` or ``3d``, as its seconds."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no time span such as 90s, 10m, 2h or 3d.")
    return int(found[1]) * UNITS[found[2]]


def changing(command: Command) -> Command:
    """Give a command the options of one that changes a build."""
    for option in (
        click.option("--reason", help="Why, for the history and the log."),
        click.option("--actor", help="Who is acting.  [default: the user of the system]"),
    ):
        command = option(command)
    return command


def proposing(command: Command) -> Command:
    """Give a command the options of one that shows a change, asks, and makes it."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Only show what would be changed."),
    ):
        command = option(command)
    return changing(command)


def terms_of(actor: str | None, reason: str | None) -> dict[str, Any]:
    """Answer the terms of a change, as the store takes them.

    :param actor: None: the user of the operating system.
    """
    return {
        "actor": actor or _user(),
        "reason": reason,
        "sender": current_app._get_current_object(),  # type: ignore[attr-defined]
    }


def _user() -> str:
    # Not getpass.getuser(): the environment may say anything.
    try:
        import pwd
    except ModuleNotFoundError:  # on Windows
        return os.getlogin()
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container whose user has no name
        return f"user {number}"


def members_of(store: BuildStore, members: tuple[str, ...]) -> Document:
    """Read the members of a command line as the schema would have them.

    :raises click.UsageError: one is not of the form, or given twice.
    """
    known = {member_of(name, field): field for name, field in store.schema().fields.items()}
    document: Document = {}
    for text in members:
        member, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{text!r} is not of the form MEMBER=VALUE.")
        if member == "id":
            raise click.UsageError("The id cannot be set: it says which build is meant.")
        if member in document:
            raise click.UsageError(f"{member!r} is given more than once.")
        document[member] = _read_value(member, known.get(member), value)
    return document


def _read_value(member: str, field: fields.Field[Any] | None, text: str) -> Any:
    if field is None or isinstance(field, fields.String):
        return text
    if text == "now" and (isinstance(field, UnixTime) or member in TIMES):
        return int(time.time())
    if isinstance(field, fields.Enum):
        with suppress(ValidationError):  # a name or a value that looks like a number is none
            field.deserialize(text)
            return text
    try:
        document = decode(f'{{"value": {text}}}'.encode(errors="surrogatepass"))
    except MalformedBody:
        return text  # the schema is to judge
    return document["value"] if len(document) == 1 else text
