"""What a clean makes of an unfinished build: its status, its error and its end."""

from collections.abc import Collection
from time import time
from typing import Any

from marshmallow import ValidationError

from ..exceptions import ConfigurationError, InvalidBuild
from ..representation import Document
from ..schema import BuildSchema
from .codec import BuildCodec
from .filters import accepts
from .limits import limited_field
from .mapping import member_of

#: The status of a build that was cleaned, and what its ``error`` says, by default.
CLEAN_STATUS, CLEAN_MESSAGE = "error", "build cleaned by platform admin"

#: The least age of the builds that a clean finishes by default, in seconds since ``created``, over
#: HTTP and in the terminal.
CLEAN_AGE = 95 * 60


def clean_problem(
    model: type[Any], schema: BuildSchema, status: str, unfinished: Collection[str]
) -> str | None:
    """Return why no build can be given the status of a clean; None: it can.

    :param unfinished: the statuses of unfinished builds.
    :raises ConfigurationError: likewise, if the host has chosen the status.
    """
    field = limited_field(model, member_of(schema, "status"))
    if not field.dump_only and accepts(field, status) and status not in unfinished:
        return None
    problem = (
        f"clean_status={status!r} is no status that finishes a build: pass one that"
        f" {type(schema).__name__}.status and its column take, and that is none of queue_statuses."
    )
    if status != CLEAN_STATUS:
        raise ConfigurationError(problem)
    return problem


def cleaned_members(
    codec: BuildCodec, status: str, message: str, finished: int | None = None
) -> Document:
    """Return the members that a clean changes, with their values.

    :param finished: UNIX epoch second; None: the current one.
    :raises InvalidBuild: the message cannot be stored.
    """
    values = {
        "status": status,
        "error": message,
        "finished": int(time()) if finished is None else finished,
    }
    members = {key: values[key] for key in values if key in codec.attributes}
    try:
        if "error" in members:
            codec.members["error"].field.deserialize(message)
    except ValidationError as error:
        raise InvalidBuild({"error": [str(one) for one in error.messages]}) from error
    if "finished" in members and not accepts(codec.members["finished"].field, members["finished"]):
        del members["finished"]
    return members
