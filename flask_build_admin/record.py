"""A build as its history keeps it: the whole document, and null where the build has a NULL."""

from __future__ import annotations

from typing import Any

from .body import Document
from .codec import BuildCodec
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
