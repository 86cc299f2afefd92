"""What the host's columns hold on one database, as validators of the members."""

import re
from collections.abc import Callable, Iterator
from copy import copy
from math import inf
from typing import Any

from marshmallow import ValidationError, validate
from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    Integer,
    SmallInteger,
    String,
    Uuid,
)
from sqlalchemy import Text as TextType
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from ..schema import AnyField, Choice, Member, UnixTime, at_least, at_most
from .mapping import MYSQL, column_of

Limit = Callable[[Any], Any]

#: Bits of the integer types. A subclass stands before its base class.
_BITS: tuple[tuple[type[TypeEngine[Any]], int], ...] = (
    (mysql.TINYINT, 8),
    (mysql.MEDIUMINT, 24),
    (SmallInteger, 16),
    (BigInteger, 64),
    (Integer, 32),
)

#: Bytes that MySQL's and MariaDB's TEXT types hold.
_TEXT_BYTES: tuple[tuple[type[TypeEngine[Any]], int], ...] = (
    (mysql.TINYTEXT, 2**8 - 1),
    (mysql.MEDIUMTEXT, 2**24 - 1),
    (mysql.LONGTEXT, 2**32 - 1),
    (TextType, 2**16 - 1),
)

#: Types whose columns return a value as it was written, or refuse it.
_EXACT = (String, Integer, Enum, Boolean, Uuid)

LONE_SURROGATE = re.compile("[\ud800-\udfff]")

#: Characters that nobody sees: white space, control and format characters, Unicode's
#: Default_Ignorable_Code_Point, and blank glyphs. Those above U+FFFF stand for themselves, because
#: Python and JSON Schema (ECMA-262 with the flag u) have no common escape for them.
_UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)

#: Refuse text without a character that anybody sees.
not_blank: validate.Regexp = validate.Regexp(rf"[\s\S]*[^{_UNSEEN}]", error="blank")


def storable(value: Any) -> None:
    """Refuse text that no database holds, at any depth of a value.

    :raises marshmallow.ValidationError: U+0000, or a lone surrogate (RFC 8259, section 8.2).
    """
    if isinstance(value, str):
        if "\0" in value:
            raise ValidationError("holds U+0000")
        if LONE_SURROGATE.search(value):
            raise ValidationError("holds a lone surrogate")
    elif isinstance(value, dict):
        storable([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            storable(item)


class Utf8Length(validate.Validator):
    """Allow text of at most ``limit`` bytes in UTF-8."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, value: str) -> str:
        """Refuse longer text."""
        if len(value.encode(errors="surrogatepass")) > self.limit:
            raise ValidationError(f"longer than {self.limit} bytes in UTF-8")
        return value


def add_limits(field: AnyField, column: Column[Any] | None, dialect: Dialect) -> None:
    """Add to one field what every database, and its column on this database, require.

    The field is changed in place: it must belong to a schema instance of the caller's own.
    """
    own = field.validators
    field.validators = [*own, storable]
    if column is None or isinstance(field, Choice):
        return  # the values of a Choice are the host's own
    if isinstance(field, UnixTime) and field.aware is None:
        field.aware = getattr(column.type, "timezone", False)
    bounds = [one.min for one in own if isinstance(one, validate.Range) and one.min is not None]
    field.validators += _limits(column, dialect, max(bounds, default=-inf))


def limited_field(model: type[Any], member: Member) -> AnyField:
    """Return a copy of a member's field, with the limits that its column has on any database."""
    field = copy(member.field)
    add_limits(field, column_of(model, member.attribute), DefaultDialect())
    return field


def returns_as_written(field: AnyField, column: Column[Any], dialect: Dialect) -> bool:
    """Check whether a column on this database returns exactly what the field gives it.

    ``CHAR`` pads or strips, ``FLOAT``, ``NUMERIC`` and MariaDB's ``DATETIME`` round, ``JSONB``
    normalizes numbers, and a type of the host's own may do anything. Such values are read back.
    """
    column_type = column.type.dialect_impl(dialect)
    if isinstance(column_type, DateTime):
        # Exact for whole seconds in the time zone of the column.
        return isinstance(field, UnixTime) and dialect.name not in MYSQL
    return isinstance(column_type, _EXACT) and not isinstance(column.type, CHAR)


def _limits(column: Column[Any], dialect: Dialect, minimum: float) -> Iterator[Limit]:
    """Yield the limits of a column, without a lower bound that ``minimum`` implies."""
    column_type = column.type.dialect_impl(dialect)
    if isinstance(column_type, TypeDecorator):
        return  # it may accept and convert anything
    if isinstance(column_type, Enum):
        if column_type.enum_class is None:
            yield validate.OneOf(column_type.enums, error="not one of {choices}")
    elif isinstance(column_type, String):
        size = next((size for kind, size in _TEXT_BYTES if isinstance(column_type, kind)), None)
        if size is not None and dialect.name in MYSQL:
            # TEXT(n) becomes the smallest of the types that holds n characters of four bytes.
            needed = 4 * (column_type.length or 0)
            sizes = sorted(size for _, size in _TEXT_BYTES)
            yield Utf8Length(next(one for one in sizes if one >= needed) if needed else size)
        elif column_type.length is not None and not isinstance(column.type, TextType):
            yield validate.Length(max=column_type.length, error="longer than {max} characters")
    elif isinstance(column_type, Boolean):
        yield from _range(0, 1, minimum)
    elif isinstance(column_type, Integer):
        # SQLite's integers hold 64 bits whatever they are called.
        bits = next(bits for kind, bits in _BITS if isinstance(column_type, kind))
        bits = 64 if dialect.name == "sqlite" else bits
        unsigned = getattr(column_type, "unsigned", False) and dialect.name != "sqlite"
        lowest = 0 if unsigned else -(2 ** (bits - 1))
        yield from _range(lowest, lowest + 2**bits - 1, minimum)


def _range(lowest: int, highest: int, minimum: float) -> Iterator[Limit]:
    if lowest > minimum:
        yield at_least(lowest)
    yield at_most(highest)
