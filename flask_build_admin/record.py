"""A build as its history keeps it: the whole document, and null where the build has a NULL."""

from __future__ import annotations

from typing import Any

from .body import Document
from .change import changed
from .codec import BuildCodec, Incoming
from .errors import ChangedSince
from .model import attribute_of, member_of


def record(codec: BuildCodec, build: Any, document: Document) -> Document:
    """Answer the document of a build with null for what is shown as a zero, but is None.

    :param document: the build as it is shown.
    """
    nulls = [
        member
        for member, attribute in codec.sources.items()
        if member in document and getattr(build, attribute) is None
    ]
    return document | dict.fromkeys(nulls) if nulls else document


def shown(codec: BuildCodec, recorded: Document) -> Document:
    """Answer a recorded document, or a part of one, as it is shown, and in the documented order."""
    document = {}
    for name, field in codec.schema.fields.items():
        member = member_of(name, field)
        if member in recorded:
            value = recorded[member]
            if value is None and member in codec.sources:
                value = field.serialize(name, {attribute_of(name, field): None})
            document[member] = value
    return document | {member: recorded[member] for member in recorded if member not in document}


def reverted(
    codec: BuildCodec, build: Any, current: Document, former: Document, latter: Document
) -> list[str]:
    """Name the members that the undo of a change has to put back.

    :param current: the build as it is shown.
    :param former: the recorded document before the change.
    :param latter: … and after it.
    :raises ChangedSince: one of them has another value now than the change gave it.
    """
    fixed = {"id", *codec.protected}
    members = [one for one in changed(former, latter) if one in former and one not in fixed]
    # A NULL is as good as the zero it is shown as.
    moved = {*changed(current, shown(codec, latter))}
    moved &= {*changed(record(codec, build, current), latter)}
    if since := [one for one in members if one in current and one in moved]:
        raise ChangedSince(since)
    return members


def restore(
    codec: BuildCodec, current: Document, recorded: Document, members: list[str]
) -> Incoming:
    """Check the build as it would be with some members as they were.

    :param current: the build as it is shown.
    :param recorded: the document that has the former values of these members.
    :raises InvalidBuild: it is no build that the host can store.
    """
    former = {member: recorded[member] for member in members}
    zeros = shown(codec, former)
    incoming = codec.read(current | zeros)
    # A null that is shown as one is what the schema makes of it.
    nulls = {
        codec.attributes[member]: None
        for member in members
        if member in codec.attributes
        and former[member] is None
        and (zeros[member] is not None or incoming.values[codec.attributes[member]] is None)
    }
    return incoming._replace(values={**incoming.values, **nulls}, nulls=frozenset(nulls))
