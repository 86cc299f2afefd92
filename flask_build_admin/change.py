"""What a put changes: which members differ, and how they are assigned to the build."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.orm import Session, object_mapper
from sqlalchemy.orm.attributes import flag_modified

from .body import Document
from .codec import BuildCodec, Incoming
from .errors import BuildConflict, InvalidBuild

_SCALARS = frozenset({str, int, bool, type(None)})


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are equal; to Python alone, 1, 1.0 and true are."""
    kind = type(one)
    if kind is type(other) and kind in _SCALARS:
        return bool(one == other)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def changed(before: Document, after: Document) -> list[str]:
    """Name the members in which two documents of one build differ."""
    return [
        name
        for name, value in after.items()
        if name not in before or not (before[name] is value or same(before[name], value))
    ]


def assign(codec: BuildCodec, build: Any, before: Document, incoming: Incoming) -> list[str]:
    """Assign to the build what differs from it, and nothing else.

    :param before: the document of the build as it is.
    :param incoming: what it is to be.
    :returns: the attributes assigned.
    :raises InvalidBuild: a protected member differs, or the model refuses a value.
    """
    wanted = incoming.document
    problems = {
        member: ["cannot be changed"]
        for member in codec.protected
        if not same(wanted[member], before.get(member))
    }
    assigned = []
    for member, attribute in codec.attributes.items():
        if member not in wanted or (member in before and same(wanted[member], before[member])):
            continue
        try:
            setattr(build, attribute, incoming.values[attribute])
        except ValueError:  # how a model's @validates refuses
            problems[member] = ["refused by the model"]
            continue
        assigned.append(attribute)
        # SQLAlchemy takes [1] and [True] for equal, and would leave the one for the other.
        nested = isinstance(incoming.values[attribute], dict | list)
        if nested and attribute in object_mapper(build).column_attrs:
            flag_modified(build, attribute)
    if problems:
        raise InvalidBuild(problems)
    return assigned


def settle(session: Session, codec: BuildCodec, build: Any, assigned: list[str]) -> Document:
    """Write the assignments, and answer the build as the database has it.

    :raises InvalidBuild: a column has made something else of what it was given.
    :raises BuildConflict: a value is beyond what the database holds.
    """
    try:
        session.flush()
    except OverflowError as error:  # what SQLite's driver says of more than 64 bits
        raise BuildConflict from error
    written = codec.show(build)
    if codec.doubtful.keys().isdisjoint(assigned):
        return written
    stored = reread(session, codec, build)
    problems = {name: ["not kept as sent by its column"] for name in changed(written, stored)}
    if problems:
        raise InvalidBuild(problems)
    return stored


def reread(session: Session, codec: BuildCodec, build: Any) -> Document:
    """Write what others have changed, and answer the build as the database has it."""
    session.flush()
    if codec.doubtful:
        session.refresh(build, codec.doubtful.values())
    return codec.show(build)
