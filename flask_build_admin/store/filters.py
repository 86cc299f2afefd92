"""Which builds: the filters of the queue, as conditions on the host's columns."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from decimal import Decimal
from functools import cached_property
from typing import Any

from marshmallow import ValidationError, fields
from sqlalchemy import JSON, ColumnElement, and_, false, literal, or_
from sqlalchemy.engine import Dialect

from ..exceptions import InvalidJSON, InvalidParameter
from ..representation import Document, decode, same
from ..schema import AnyField, BuildSchema, Choice, Member, UnixTime, WholeNumber, members_of
from .codec import BuildCodec
from .mapping import column_of, expression_of, python_type, same_text

#: The members that are signs of life of an unfinished build, in the order of the times.
SIGNS_OF_LIFE = ("created", "enqueued", "started")


@dataclass(frozen=True, slots=True)
class BuildFilter:
    """Which unfinished builds are meant. All times are UNIX epoch seconds."""

    #: Only builds created later.
    after: int | None = None
    #: Only builds created earlier.
    before: int | None = None
    #: Only builds without a sign of life since: the last of ``created``, ``enqueued`` and
    #: ``started``, as far as the host has them, is earlier.
    idle_before: int | None = None
    #: Only builds whose members have these JSON values.
    members: Document = dataclass_field(default_factory=dict)


class FilterConditions:
    """The conditions of a filter, on the columns of one model.

    A NULL is compared as the value that it is dumped as.
    """

    def __init__(self, model: type[Any], schema: BuildSchema) -> None:
        members = members_of(schema)
        self._model = model
        self._members = members
        self._moments = {
            key: expression
            for key in SIGNS_OF_LIFE
            if (member := members.get(key)) is not None and accepts(member.field, 1)
            if (expression := expression_of(model, member.attribute)) is not None
        }

    @cached_property
    def fields(self) -> Mapping[str, AnyField]:
        """The members that a filter may name, with their fields: those that are columns.

        PostgreSQL compares no JSON.
        """
        # Not before a request, because the model may refer to a class that is imported later.
        every = self._members.items()
        found = {key: column_of(self._model, member.attribute) for key, member in every}
        return {
            key: one.field
            for key, one in every
            if (column := found[key]) is not None and not isinstance(column.type, JSON)
        }

    def of(self, codec: BuildCodec, wanted: BuildFilter) -> list[ColumnElement[bool]]:
        """Return the conditions that a build is meant.

        :raises InvalidParameter: a member cannot have such a value, or the builds cannot be
            filtered so.
        """
        problems: dict[str, list[str]] = {}
        conditions = []
        for key, value in wanted.members.items():
            if key not in self.fields:
                problems[key] = ["no column of the builds"]
                continue
            try:
                conditions.append(self._equals(codec.members[key], value, codec.dialect))
            except ValidationError as error:
                problems[key] = [str(one) for one in error.messages]
        conditions += self._within(codec.members, wanted, problems)
        if problems:
            raise InvalidParameter(problems)
        return conditions

    def _equals(self, member: Member, value: Any, dialect: Dialect) -> ColumnElement[bool]:
        column, field = getattr(self._model, member.attribute), member.field
        loaded = field.deserialize(value)
        if value is None:
            return column.is_(None)  # type: ignore[no-any-return]
        of_null = _dump(member, None)
        held = python_type(column_of(self._model, member.attribute))
        if isinstance(loaded, int) and held in (bool, int):
            loaded = held(loaded)  # PostgreSQL compares no boolean with a number
        if isinstance(field, UnixTime):  # the column may have fractions of the second
            following = _moment(field, value + 1)
            start = column >= loaded if loaded is not None else column.is_not(None)
            found = and_(start, column < following) if following is not None else start
        elif isinstance(field, WholeNumber) and held in (float, Decimal):
            found = _truncated(column, loaded or 0)
        elif loaded is None and isinstance(field, WholeNumber):
            found = column == 0
        else:
            found = column == loaded  # NULL: IS NULL
            # Of an unknown type PostgreSQL may write the text in another way: 10.0.0.1/32.
            texts = (str,) if dialect.name == "postgresql" else (str, object)
            if isinstance(loaded, str) and held in texts:
                found = and_(found, same_text(column, literal(loaded, column.type), dialect))
        return or_(found, column.is_(None)) if same(of_null, _dump(member, loaded)) else found

    def _within(
        self, members: Mapping[str, Member], wanted: BuildFilter, problems: dict[str, list[str]]
    ) -> Iterator[ColumnElement[bool]]:
        created = self._moments.get("created")
        if created is None:
            cannot = [
                "a query cannot compare when these builds were created: use idle_before"
                " (--older-than)"
            ]
            given = {"after": wanted.after, "before": wanted.before}
            problems |= {name: cannot for name, second in given.items() if second is not None}
        else:
            field = members["created"].field
            # In whole seconds, as they are dumped. A second that the column cannot hold is later
            # than any that it does.
            if wanted.after is not None:
                later = _moment(field, wanted.after + 1)
                yield false() if later is None else created >= later
            if wanted.before is not None:
                yield from _earlier(created, field, wanted.before)
        if wanted.idle_before is not None:
            if not self._moments:
                problems["idle_before"] = ["these builds have no time that a query can compare"]
            for key, moment in self._moments.items():
                yield from _earlier(moment, members[key].field, wanted.idle_before)


def _dump(member: Member, loaded: Any) -> Any:
    return member.field.serialize(member.name, {member.attribute: loaded})


def accepts(field: AnyField, value: Any) -> bool:
    """Check whether a field takes a JSON value."""
    try:
        field.deserialize(value)
    except ValidationError:
        return False
    return True


def value_from_text(field: "AnyField | None", text: str) -> Any:
    """Return the JSON value that a text stands for, as in a query or on a command line.

    :param field: of the member; None: unknown.
    :returns: the text itself for a member of text, and for what is no JSON: the field reports it.
    """
    if field is None or isinstance(field, fields.String | Choice):
        return text
    if isinstance(field, fields.Enum) and accepts(field, text):
        return text  # a name or a value that looks like a number is none
    with suppress(InvalidJSON):
        document = decode(f'{{"value": {text}}}'.encode(errors="surrogatepass"))
        if len(document) == 1:
            return document["value"]
    return text


def _truncated(column: Any, number: int) -> ColumnElement[bool]:
    """Return the condition that a column is this number without its fraction."""
    above = column >= number if number > 0 else column > number - 1
    below = column <= number if number < 0 else column < number + 1
    return and_(above, below)


def _moment(field: AnyField, second: int) -> Any:
    """Return what the model has for a second; None: no column can hold it."""
    return field.deserialize(second) if accepts(field, second) else None


def _earlier(moment: Any, field: AnyField, second: int) -> Iterator[ColumnElement[bool]]:
    found = _moment(field, second)
    if found is not None:
        yield or_(moment < found, moment.is_(None))  # a NULL is dumped as 0
