"""What a put changes: which members differ, and how they are assigned to the build."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import null as sql_null
from sqlalchemy.orm import Session, object_mapper
from sqlalchemy.orm.attributes import flag_modified, instance_dict

from .body import SCALARS, Document
from .codec import BuildCodec, Incoming
from .errors import BuildConflict, BuildNotFound, InvalidBuild

#: How a model's @validates refuses; one that knows no None may stumble over it.
_REFUSALS = (ValueError,)
_REFUSALS_OF_NONE = (ValueError, TypeError, AttributeError)


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are equal; to Python alone, 1, 1.0 and true are."""
    kind = type(one)
    if kind is type(other) and kind in SCALARS:
        return bool(one == other)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def require_same_id(document: Document, member: Any) -> None:
    """See that the database has found the very build: it may find "abc" for "ABC".

    :param member: the id that was asked for, as the member ``id`` has it.
    :raises BuildNotFound: it has not.
    """
    if not same(document["id"], member):
        raise BuildNotFound


def changed(before: Document, after: Document) -> list[str]:
    """Name the members in which two documents of one build differ."""
    return [
        name
        for name, value in after.items()
        if name not in before or not (before[name] is value or same(before[name], value))
    ]


def changes(before: Document, after: Document) -> Document:
    """Tell of every member in which two documents of one build differ how it was and is."""
    return {
        name: {"before": before.get(name), "after": after[name]} for name in changed(before, after)
    }


def assign(codec: BuildCodec, build: Any, members: list[str], incoming: Incoming) -> list[str]:
    """Assign some members to the build, and nothing else.

    :param members: those in which the build is to be another.
    :param incoming: what it is to be.
    :returns: the attributes assigned.
    :raises InvalidBuild: a member is protected, or the model refuses its value.
    """
    problems = {}
    assigned = []
    for member in members:
        attribute = codec.attributes.get(member)
        if attribute is None:
            problems[member] = ["cannot be changed"]
            continue
        null = attribute in incoming.nulls
        refusals = _REFUSALS_OF_NONE if null else _REFUSALS
        try:
            setattr(build, attribute, incoming.values[attribute])
        except refusals:
            problems[member] = ["refused by the model"]
            continue
        assigned.append(attribute)
        # SQLAlchemy takes [1] and [True] for equal, and would leave the one for the other.
        nested = isinstance(incoming.values[attribute], dict | list)
        if nested and attribute in object_mapper(build).column_attrs:
            flag_modified(build, attribute)
        if null and attribute in codec.evaluating:
            # After the model's own events, which know None.
            key = codec.evaluating[attribute]
            instance_dict(build)[key] = sql_null()
            flag_modified(build, key)
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
    _follow(session, codec, build, assigned)
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
    _follow(session, codec, build, codec.leading)
    if codec.doubtful:
        session.refresh(build, codec.doubtful.values())
    return codec.show(build)


def _follow(session: Session, codec: BuildCodec, build: Any, changed: Iterable[str]) -> None:
    """Forget what relationships led to, where a column that they start from may have changed."""
    stale = [one for attribute in changed for one in codec.leading.get(attribute, ())]
    if stale:
        session.expire(build, stale)
