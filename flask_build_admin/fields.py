"""The kinds of member: whole numbers, text, and points in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from marshmallow import fields, validate

if TYPE_CHECKING:
    _Time = fields.Field[datetime]
else:  # marshmallow 3 cannot subscript it at run time
    _Time = fields.Field

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def epoch(moment: datetime) -> int:
    """Answer the UNIX epoch second that a moment is in; a naive one is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _SECOND


def at_least(minimum: int) -> validate.Range:
    """Allow whole numbers from ``minimum`` on."""
    return validate.Range(min=minimum, error="less than {min}")


def at_most(maximum: int) -> validate.Range:
    """Allow whole numbers up to ``maximum``."""
    return validate.Range(max=maximum, error="greater than {max}")


class WholeNumber(fields.Integer):
    """A JSON integer; ``1.0``, ``"1"`` and ``true`` are none. NULL is shown as 0.

    :param minimum: the least value allowed.
    :param options: as of any marshmallow field; ``required`` unless told otherwise.
    """

    default_error_messages = {"invalid": "not an integer"}

    def __init__(self, *, minimum: int = 0, **options: Any) -> None:
        options.setdefault("required", True)
        options.setdefault("validate", at_least(minimum))
        super().__init__(strict=True, **options)

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return 0 if value is None else super()._serialize(value, *args, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class Text(fields.String):
    """A JSON string, kept to the letter. NULL is shown as ``""``.

    :param empty: whether ``""`` is allowed.
    :param options: as of any marshmallow field; ``required`` unless told otherwise.
    """

    default_error_messages = {"invalid": "not a string"}

    def __init__(self, *, empty: bool = True, **options: Any) -> None:
        options.setdefault("required", True)
        options.setdefault("validate", [] if empty else [validate.Length(min=1, error="empty")])
        super().__init__(**options)

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> str | None:
        return "" if value is None else super()._serialize(value, *args, **kwargs)


class UnixTime(_Time):
    """A JSON integer of UNIX epoch seconds, kept in a datetime column; 0 stands for NULL.

    A fraction of a second is not shown. It survives a put that leaves the member as it is.

    :param aware: whether the model holds aware datetimes (True) or naive ones in UTC (False);
        None: as ``DateTime(timezone=…)`` of the column says, naive where there is no column.
    :param options: as of any marshmallow field; ``required`` unless told otherwise.
    """

    default_error_messages = {
        "invalid": "not an integer",
        "early": "less than 0",
        "late": "greater than {latest}",
    }

    #: 9999-12-31T23:59:59Z, the last second a datetime holds.
    latest = 253_402_300_799

    def __init__(self, *, aware: bool | None = None, **options: Any) -> None:
        options.setdefault("required", True)
        super().__init__(**options)
        self.aware = aware

    def _serialize(self, value: datetime | None, *args: Any, **kwargs: Any) -> int:
        return 0 if value is None else epoch(value)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if type(value) is not int:
            raise self.make_error("invalid")
        if value < 0:
            raise self.make_error("early")
        if value > self.latest:
            raise self.make_error("late", latest=self.latest)
        if value == 0:
            return None
        return (_EPOCH + value * _SECOND).replace(tzinfo=UTC if self.aware else None)
