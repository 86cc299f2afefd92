"""What the undo of a change puts back: what it has changed, if that is still as it made it."""

from __future__ import annotations

from .body import Document
from .change import changed
from .codec import BuildCodec, Incoming
from .errors import ChangedSince
from .record import shown


def reverted(
    codec: BuildCodec,
    current: Document,
    recorded: Document,
    former: Document,
    latter: Document,
) -> list[str]:
    """Name the members that the undo of a change has to put back.

    :param current: the build as it is shown.
    :param recorded: … and as it would be recorded.
    :param former: the recorded document before the change.
    :param latter: … and after it.
    :raises ChangedSince: one of them has another value now than the change gave it.
    """
    fixed = {"id", *codec.protected}
    members = [one for one in changed(former, latter) if one in former and one not in fixed]
    # A NULL is as good as the zero it is shown as.
    moved = {*changed(current, shown(codec, latter))}
    moved &= {*changed(recorded, latter)}
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
