"""The contract's 25 members of a build, and the kinds of field that they are made of."""

import re
from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from marshmallow import Schema, fields, validate

from .exceptions import ConfigurationError

MISSING = "missing"
NULL = "null"

#: A host may put any other field in the place of the contract's own.
AnyField: TypeAlias = "fields.Field[Any]"

if TYPE_CHECKING:
    _DateTimeField = fields.Field[datetime]
    _ChoiceField = fields.Field[Any]
else:  # marshmallow 3 cannot subscript it at run time
    _DateTimeField = _ChoiceField = fields.Field

#: The members of the contract that are points in time.
_TIMES = frozenset({"enqueued", "created", "started", "finished"})

#: An integer as ``str()`` writes it, with no more digits than any database has.
DIGITS = re.compile("0|-?[1-9][0-9]{0,99}")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def to_unix_time(moment: datetime) -> int:
    """Convert a moment to UNIX epoch seconds, rounded down; a naive datetime is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _SECOND


def at_least(minimum: int) -> validate.Range:
    """Allow whole numbers from ``minimum`` on."""
    return validate.Range(min=minimum, error="less than {min}")


def at_most(maximum: int) -> validate.Range:
    """Allow whole numbers up to ``maximum``."""
    return validate.Range(max=maximum, error="greater than {max}")


class WholeNumber(fields.Integer):
    """A JSON integer; ``1.0``, ``"1"`` and ``true`` are refused. NULL is dumped as 0.

    With ``as_string=True`` it is dumped as a string of digits, for clients that round large
    numbers, and such a string is accepted as well: ``"1"``, but not ``"01"`` or ``" 1"``.

    :param minimum: the least value allowed.
    :param zero_is_null: whether a change to 0 stores NULL, for a model in which NULL, and not 0,
        means "not yet". A 0 that the column has stays until the member is changed.
    :param options: as of any marshmallow field; ``required`` is True by default.
    """

    default_error_messages: dict[str, Any] = {"invalid": "not an integer"}

    def __init__(self, *, minimum: int = 0, zero_is_null: bool = False, **options: Any) -> None:
        options.setdefault("required", True)
        options.setdefault("validate", at_least(minimum))
        super().__init__(strict=True, **options)
        self.zero_is_null = zero_is_null

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Validate a value, and return what the model has for it."""
        number = super().deserialize(value, *args, **kwargs)
        return None if number == 0 and self.zero_is_null else number

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if value is None and self.allow_none:
            return None
        try:
            return super()._serialize(value or 0, *args, **kwargs)
        except (TypeError, ValueError, OverflowError):
            # SQLite keeps any text in a column of numbers.
            return super()._serialize(0, *args, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if self.as_string and isinstance(value, str) and DIGITS.fullmatch(value):
            return int(value)
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class Text(fields.String):
    """A JSON string, stored exactly as sent. NULL is dumped as ``""``.

    :param empty: whether ``""`` is allowed.
    :param options: as of any marshmallow field; ``required`` is True by default.
    """

    default_error_messages: dict[str, Any] = {"invalid": "not a string"}

    def __init__(self, *, empty: bool = True, **options: Any) -> None:
        options.setdefault("required", True)
        options.setdefault("validate", [] if empty else [validate.Length(min=1, error="empty")])
        super().__init__(**options)

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None if self.allow_none else ""
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return super()._serialize(value, *args, **kwargs)


class UnixTime(_DateTimeField):
    """A JSON integer of UNIX epoch seconds for a datetime column. NULL is dumped as 0.

    A fraction of a second is not dumped. A PUT that leaves the member unchanged keeps it.

    :param aware: whether the model holds aware datetimes (True) or naive ones in UTC (False);
        None: as ``DateTime(timezone=…)`` of the column says, naive if there is no column.
    :param zero_is_null: whether a change to 0 stores NULL; False: 1970-01-01T00:00:00, for a column
        that is NOT NULL.
    :param options: as of any marshmallow field; ``required`` is True by default.
    """

    default_error_messages: dict[str, Any] = {
        "invalid": "not an integer",
        "early": "less than 0",
        "late": "greater than {latest}",
    }

    #: 9999-12-31T23:59:59Z, the last second that a datetime holds.
    latest = 253_402_300_799

    def __init__(
        self, *, aware: bool | None = None, zero_is_null: bool = True, **options: Any
    ) -> None:
        options.setdefault("required", True)
        super().__init__(**options)
        self.aware = aware
        self.zero_is_null = zero_is_null

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> int | None:
        if value is None:
            return None if self.allow_none else 0
        return to_unix_time(value) if isinstance(value, datetime) else self._nearest(str(value))

    def _nearest(self, text: str) -> int:
        """Return the second nearest to what the database has, but Python cannot represent."""
        year = re.match(r"\+?(\d+)-", text)
        if text == "-infinity" or text.endswith("BC"):
            return to_unix_time(datetime.min)
        if text == "infinity" or (year and int(year[1]) > MAXYEAR):
            return self.latest
        return 0  # the zero date of MySQL and MariaDB, or no date at all

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if type(value) is not int:
            raise self.make_error("invalid")
        if value < 0:
            raise self.make_error("early")
        if value > self.latest:
            raise self.make_error("late", latest=self.latest)
        if value == 0 and self.zero_is_null:
            return None
        return (_EPOCH + value * _SECOND).replace(tzinfo=UTC if self.aware else None)


class Flag(fields.Boolean):
    """JSON ``true`` or ``false``; marshmallow's own takes ``"yes"`` and 1, too.

    NULL is dumped as false; with ``allow_none=True``, as null.

    :param options: as of any marshmallow field; ``required`` is True by default.
    """

    default_error_messages: dict[str, Any] = {"invalid": "not true or false"}

    def __init__(self, **options: Any) -> None:
        options.setdefault("required", True)
        super().__init__(**options)

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> bool | None:
        return None if value is None and self.allow_none else bool(value)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if type(value) is not bool:
            raise self.make_error("invalid")
        return value


class Choice(_ChoiceField):
    """A JSON string, one of several, each of which stands for a value of the column.

    A value of the column that none of them stands for is dumped as text, and NULL as ``""``; with
    ``allow_none=True``, as null. It can be changed to one of the choices.

    :param choices: from each string to its value; None: NULL.
    :param options: as of any marshmallow field; ``required`` is True by default.
    :raises ConfigurationError: there is no choice, one is no string, or two have the same value.
    """

    default_error_messages: dict[str, Any] = {"invalid": "not one of {choices}"}

    def __init__(self, choices: Mapping[str, Any], **options: Any) -> None:
        options.setdefault("required", True)
        super().__init__(**options)
        self.choices: dict[str, Any] = dict(choices) if isinstance(choices, Mapping) else {}
        values = [*self.choices.values()]
        one_to_one = all(values.index(value) == at for at, value in enumerate(values))
        if not values or not one_to_one or not all(isinstance(word, str) for word in self.choices):
            raise ConfigurationError(
                f"Choice({choices!r}) does not have one value for each JSON string: pass a mapping"
                ' such as {"pending": 0, "running": None}, in which no value is repeated.'
            )

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> str | None:
        for word, known in self.choices.items():
            if known == value:
                return word
        if value is None:
            return None if self.allow_none else ""
        return str(value)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if type(value) is not str or value not in self.choices:
            raise self.make_error("invalid", choices=", ".join(self.choices))
        return self.choices[value]


class BuildSchema(Schema):
    """A whole build. All members are required, in the order of the contract.

    Subclass it to describe how the host's model differs, in marshmallow's own terms: another
    ``attribute``, another field, ``dump_only`` for what cannot be changed, ``Meta.exclude`` for
    a member that the host does not have, an additional field.

    Source: docs/contract.md, "A build".
    """

    id: AnyField = WholeNumber(minimum=1)
    repo_id: AnyField = WholeNumber(minimum=1)
    number: AnyField = WholeNumber(minimum=1)
    parent: AnyField = WholeNumber()
    event: AnyField = Text(empty=False)
    status: AnyField = Text(empty=False)
    error: AnyField = Text()
    enqueued: AnyField = WholeNumber()
    created: AnyField = WholeNumber()
    started: AnyField = WholeNumber()
    finished: AnyField = WholeNumber()
    deploy: AnyField = Text()
    clone: AnyField = Text()
    source: AnyField = Text()
    title: AnyField = Text()
    message: AnyField = Text()
    commit: AnyField = Text()
    sender: AnyField = Text()
    author: AnyField = Text()
    branch: AnyField = Text()
    ref: AnyField = Text()
    base_ref: AnyField = Text()
    host: AnyField = Text()
    runtime: AnyField = Text()
    distribution: AnyField = Text()

    error_messages: dict[str, Any] = {"unknown": "unknown", "type": "not an object"}

    def on_bind_field(self, field_name: str, field_obj: AnyField) -> None:
        """Give all fields, the host's own included, the same words for the same problem."""
        super().on_bind_field(field_name, field_obj)
        standard = fields.Field.default_error_messages
        words = {"required": MISSING, "null": NULL}
        field_obj.error_messages = field_obj.error_messages | {
            key: word
            for key, word in words.items()
            if field_obj.error_messages[key] == standard[key]
        }


class Member(NamedTuple):
    """A member of a document, and where it comes from."""

    #: The key in the document.
    key: str
    #: The attribute of the host's model; of a protected member it may be dotted: ``repo.name``.
    attribute: str
    field: AnyField
    #: The name of the field in the schema.
    name: str

    @property
    def protected(self) -> bool:
        """Whether the member cannot be changed: it must be sent back as it is."""
        return self.field.dump_only

    @property
    def reads_attribute(self) -> bool:
        """Whether the field reads an attribute, which a ``Constant`` or a ``Method`` does not."""
        # marshmallow has no public name for it; it is what fields of the host's own override.
        return self.field._CHECK_ATTRIBUTE


def members_of(schema: Schema) -> dict[str, Member]:
    """Return the members of a schema by their keys, in the order of the schema."""
    members = (
        Member(field.data_key or name, field.attribute or name, field, name)
        for name, field in schema.fields.items()
    )
    return {member.key: member for member in members}


def time_members(schema: BuildSchema) -> frozenset[str]:
    """Return the members that are points in time, in UNIX epoch seconds."""
    return frozenset(
        key
        for key, member in members_of(schema).items()
        if isinstance(member.field, UnixTime)
        or (key in _TIMES and not isinstance(member.field, fields.String | Choice))
    )
