"""Snapshots: what a revision holds of a build, and what an undo restores of it."""

from datetime import datetime, timedelta
from decimal import Decimal
from math import floor, isfinite, nextafter
from typing import Any

from marshmallow import missing

from ..exceptions import UndoConflict
from ..representation import Document, changed_members
from ..schema import UnixTime, WholeNumber, to_unix_time
from .codec import BuildCodec, LoadedBuild


def snapshot(codec: BuildCodec, build: Any, document: Document) -> Document:
    """Return the document of a build with its NULLs, and its fractions of a second."""
    exact: Document = {}
    for key, attribute in codec.sources.items():
        value = getattr(build, attribute, missing)  # a property may lack what it reads
        if value is None:
            exact[key] = None
        elif isinstance(value, datetime) and value.microsecond and _is_whole(codec, key):
            second = to_unix_time(value)
            # Far ahead, the nearest number would be the next second.
            exact[key] = min(second + value.microsecond / 1e6, nextafter(second + 1, second))
        elif isinstance(value, float | Decimal) and isfinite(value) and _is_whole(codec, key):
            exact[key] = float(value)
    return {key: exact.get(key, value) for key, value in document.items()} if exact else document


def dump_snapshot(codec: BuildCodec, recorded: Document) -> Document:
    """Return a snapshot, or a part of one, as the build was dumped, in the order of the schema."""
    document = {}
    for key, member in codec.members.items():
        if key in recorded:
            value = recorded[key]
            if value is None and key in codec.sources:
                value = member.field.serialize(member.name, {member.attribute: None})
            elif type(value) is float and _is_whole(codec, key):
                moment = isinstance(member.field, UnixTime)
                value = floor(value) if moment else int(value)
            document[key] = value
    return document | {key: recorded[key] for key in recorded if key not in document}


def members_to_restore(
    codec: BuildCodec, document: Document, current: Document, before: Document, after: Document
) -> list[str]:
    """List the members that the undo of a revision restores.

    :param document: the build as it is, dumped; ``current`` is its snapshot.
    :param before: the snapshot before the change of the revision; ``after`` the one after it.
    :raises UndoConflict: one of them has another value now than the change gave it.
    """
    fixed = {"id", *codec.protected}
    members = [key for key in changed_members(before, after) if key in before and key not in fixed]
    # A NULL equals the zero that it is dumped as.
    moved = {*changed_members(document, dump_snapshot(codec, after))}
    moved &= {*changed_members(current, after)}
    if conflicts := [key for key in members if key in document and key in moved]:
        raise UndoConflict(conflicts)
    return members


def load_restored(
    codec: BuildCodec, build: Any, document: Document, before: Document, members: list[str]
) -> LoadedBuild:
    """Validate the document of a build with some members as they were in a snapshot."""
    dumped = dump_snapshot(codec, {key: before[key] for key in members})
    loaded = codec.load_values(codec.load(document | dumped), build, document)
    values = {**loaded.values}
    for key in codec.attributes.keys() & {*members}:
        attribute = codec.attributes[key]
        if before[key] is None and (dumped[key] is not None or key in loaded.problems):
            values[attribute] = None
        elif type(before[key]) is float and _is_whole(codec, key):
            second: Any = values.get(attribute)
            part = timedelta(microseconds=round(before[key] % 1 * 1e6))
            values[attribute] = second + part if isinstance(second, datetime) else before[key]
    # A column that may be NULL had it, whatever the member takes.
    problems = {key: loaded.problems[key] for key in loaded.problems if before.get(key) is not None}
    return loaded._replace(values=values, problems=problems)


def _is_whole(codec: BuildCodec, key: str) -> bool:
    """Check whether the field of a member dumps whole numbers of what may have a fraction."""
    return isinstance(codec.members[key].field, UnixTime | WholeNumber)
