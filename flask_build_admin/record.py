"""A build as its history keeps it: the whole document, and null where the build has a NULL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import null
from sqlalchemy.orm import object_mapper

from .body import Document
from .change import changed, same
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
    """Answer a recorded document, or a part of one, as it is shown."""
    zeros = {}
    for name, field in codec.schema.fields.items():
        member = member_of(name, field)
        if member in codec.sources and member in recorded and recorded[member] is None:
            zeros[member] = field.serialize(name, {attribute_of(name, field): None})
    return recorded | zeros


def reverted(codec: BuildCodec, current: Document, former: Document, latter: Document) -> list[str]:
    """Name the members that the undo of a change has to put back.

    :param current: the build as it is shown.
    :param former: the recorded document before the change.
    :param latter: … and after it.
    :raises ChangedSince: one of them has another value now than the change gave it.
    """
    different = changed(former, latter)
    members = [one for one in different if one in former and one not in codec.protected]
    given = shown(codec, latter)
    moved = [one for one in members if one in current and not same(current[one], given[one])]
    if moved:
        raise ChangedSince(moved)
    return members


def restore(
    codec: BuildCodec, build: Any, current: Document, recorded: Document, members: list[str]
) -> Incoming:
    """Check the build as it would be with some members as they were.

    :param current: the build as it is shown.
    :param recorded: the document that has the former values of these members.
    :raises InvalidBuild: it is no build that the host can store.
    """
    former = {member: recorded[member] for member in members}
    incoming = codec.read(current | shown(codec, former))
    nulls = {
        attribute: _null(build, attribute)
        for member, attribute in codec.attributes.items()
        if member in former and former[member] is None
    }
    return incoming._replace(values={**incoming.values, **nulls})


def _null(build: Any, attribute: str) -> Any:
    mapped = object_mapper(build).column_attrs.get(attribute)
    # A column of JSON would write a None as the JSON value null.
    return null() if mapped is not None and mapped.columns[0].type.should_evaluate_none else None
