"""What in a schema does not fit the host's model, and a schema that would."""

import inspect
import json
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from textwrap import fill, indent
from typing import Any, NamedTuple
from uuid import UUID

from marshmallow import fields
from sqlalchemy import Column
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import ColumnProperty, Relationship, RelationshipProperty

from ..exceptions import ConfigurationError
from ..schema import (
    AnyField,
    BuildSchema,
    Choice,
    Flag,
    Member,
    Text,
    UnixTime,
    WholeNumber,
    members_of,
)
from .mapping import column_of, mapper_of, property_of, python_type

_NUMBERS = (int, float, Decimal)

#: What a field loads, by the method that loads it: a subclass that overrides it may load anything.
_LOADED: dict[Any, tuple[type[Any], ...]] = {
    fields.Number._deserialize: _NUMBERS,
    fields.String._deserialize: (str,),
    Flag._deserialize: (bool, int),
    UnixTime._deserialize: (datetime,),
    WholeNumber._deserialize: _NUMBERS,
}

#: The field for each type of value. A subclass stands before its base class.
_FIELDS: dict[type[Any], type[AnyField]] = {
    bool: Flag,
    int: WholeNumber,
    str: Text,
    datetime: UnixTime,
    date: fields.Date,
    time: fields.Time,
    timedelta: fields.TimeDelta,
    UUID: fields.UUID,
    float: fields.Float,
    Decimal: fields.Float,
}

#: Names of columns that may be meant by a member.
_SIMILAR = ("{}_at", "{}_on", "{}_time", "time_{}", "build_{}")


class _Attribute(NamedTuple):
    """An attribute of the model, as far as it decides which field fits it."""

    name: str
    column: Column[Any] | None
    #: The type of its values; object if it is unknown.
    held: type[Any]
    #: The values of a column of SQLAlchemy-Utils' ChoiceType, which returns objects of its own.
    codes: dict[str, Any] | None
    #: Why it cannot be assigned, and the way out.
    fixed: str | None


class _Source(NamedTuple):
    """A field as it is written in a schema."""

    kind: type[AnyField]
    options: tuple[str, ...]
    #: The class that it names.
    named: type[Any] | None = None

    def __str__(self) -> str:
        if self.kind.__module__ != fields.__name__:
            return f"{self.kind.__name__}({', '.join(self.options)})"
        return f"fields.{self.kind.__name__}({', '.join([*self.options, 'required=True'])})"


def check_members(model: type[Any], schema: BuildSchema) -> None:
    """Check that the model has what every member of the schema needs.

    :raises ConfigurationError: names all that do not fit, each with the way out, and ends with a
        schema that would fit, as far as it can be guessed.
    """
    name = type(schema).__name__
    members = members_of(schema)
    problems = {
        key: f"{name}.{member.name} {problem}"
        for key, member in members.items()
        if (problem := _problem(model, member))
    }
    if "id" not in members:
        problems["id"] = f"{name} has no member 'id', which says which build is meant: add one."
    if problems:
        lines = "".join(f"* {problem}\n" for problem in problems.values())
        raise ConfigurationError(
            f"{name} does not fit the model {model.__name__}:\n{lines}\nThis schema would fit, as"
            f" far as it can be guessed:\n\n{_write_schema(model, schema, {*problems})}"
        )


def _problem(model: type[Any], member: Member) -> str | None:
    if member.field.load_only:
        return (
            "is load_only, but what is fetched must be what can be put back: leave load_only out."
        )
    if member.protected and not member.reads_attribute:
        return None
    # A protected member may be read through a relationship: "repo.name".
    name = member.attribute.partition(".")[0] if member.protected else member.attribute
    attribute = _find(model, name)
    if attribute is None:
        return (
            f"has no attribute {name!r} on the model {model.__name__}: name the right one with"
            " attribute=, make the member a fields.Constant(…, dump_only=True), or leave it out of"
            " Meta.fields."
        )
    of = f"{model.__name__}.{name}"
    if member.key == "id" and isinstance(inspect.getattr_static(model, name), property):
        return (
            f"finds no build, {of} is a property: give it the attribute of a column, a synonym or a"
            " hybrid."
        )
    if attribute.fixed and member.key != "id" and not member.protected:
        return f"cannot be stored, {of} {attribute.fixed}"
    only_dumped = member.protected and isinstance(member.field, fields.String)
    if not only_dumped and name == member.attribute and not _fits(member.field, attribute):
        held = attribute.held.__name__ if attribute.codes is None else "choices"
        kept = ["dump_only=True"] if member.protected else []
        source = _source(attribute, *kept) or "field of your own, or leave it out"
        return f"does not fit, {of} holds {held}: make the member a {source}."
    stores_null = isinstance(member.field, WholeNumber) and member.field.zero_is_null
    if stores_null and attribute.column is not None and not attribute.column.nullable:
        return f"stores 0 as NULL, but {of} is NOT NULL: leave zero_is_null out."
    return None


def _find(model: type[Any], name: str) -> _Attribute | None:
    found = inspect.getattr_static(model, name, None)
    if found is None:
        return None
    mapped, fixed = property_of(model, name), None
    # A hybrid may convert, and may refer to a class that is not yet imported.
    column = None if isinstance(found, hybrid_property) else column_of(model, name)
    expression = isinstance(mapped, ColumnProperty) and not isinstance(mapped.columns[0], Column)
    if isinstance(found, property | hybrid_property) and not found.fset:
        fixed = "has no setter: add one, or make the member dump_only=True."
    elif expression or (column is not None and column.computed is not None):
        fixed = "is generated by the database: make the member dump_only=True."
    held, codes = python_type(column), None
    choices = None if column is None else getattr(column.type, "choices", None)
    if isinstance(mapped, RelationshipProperty):
        held = Relationship
    elif isinstance(choices, type) and issubclass(choices, Enum):
        held = choices
    elif isinstance(choices, tuple) and all(isinstance(one, tuple) for one in choices):
        codes = {str(code): code for code, *_ in choices}
    return _Attribute(name, column, held, codes, fixed)


def _fits(field: AnyField, attribute: _Attribute) -> bool:
    """Check whether an attribute can hold what a field loads."""
    held = attribute.held
    if isinstance(field, Choice):
        kinds = _NUMBERS if issubclass(held, _NUMBERS) else held
        return all(isinstance(one, kinds) for one in field.choices.values() if one is not None)
    loaded = _LOADED.get(type(field)._deserialize)
    if loaded is None or held is object or getattr(field, "post_load", None):
        return True
    return issubclass(held, loaded) and not issubclass(held, Enum) and attribute.codes is None


def _source(attribute: _Attribute, *options: str) -> _Source | None:
    """Return a field that fits an attribute; None: that cannot be guessed."""
    held = attribute.held
    if attribute.codes is not None:
        return _Source(Choice, (repr(attribute.codes), *options))
    if issubclass(held, Enum):
        by_value = ["by_value=True"] if all(isinstance(one.value, str) for one in held) else []
        return _Source(fields.Enum, (_name(held), *by_value, *options), held)
    kinds = (kind for known, kind in _FIELDS.items() if issubclass(held, known))
    return next((_Source(kind, options) for kind in kinds), None)


def _guess(model: type[Any], key: str, member: Member | None) -> _Source | None:
    """Return a field for a member that does not fit."""
    mapper, name = mapper_of(model), key if member is None else member.name
    protected = member is not None and member.protected
    candidates = [one for one in (form.format(name) for form in _SIMILAR) if one in mapper.columns]
    if member is not None:
        candidates.insert(0, member.attribute)
    if key == "id":
        candidates = [mapper.get_property_by_column(mapper.primary_key[0]).key]
    attribute = next(filter(None, (_find(model, one) for one in candidates)), None)
    if attribute is None:
        return None
    given = {
        "minimum=1": key == "id" and attribute.held is int,
        f"attribute={json.dumps(attribute.name)}": attribute.name != name,
        f"data_key={json.dumps(key)}": key != name,
        "dump_only=True": protected or (key != "id" and attribute.fixed is not None),
    }
    options = [option for option, needed in given.items() if needed]
    if member is not None and attribute.held is object and type(member.field) in _FIELDS.values():
        return _Source(type(member.field), tuple(options))
    return _source(attribute, *options)


def _write_schema(model: type[Any], schema: BuildSchema, misfits: set[str]) -> str:
    """Write a schema that keeps the members that fit, and guesses the others."""
    base, members = type(schema), members_of(schema)
    names, lines = [], []
    used: list[type[Any]] = [base]
    for key in [*members] if "id" in members else ["id", *members]:
        name = members[key].name if key in members else key
        if key in misfits:
            source = _guess(model, key, members.get(key))
            if source is None:
                continue
            lines.append(f"    {name} = {source}")
            used += [source.kind, *([source.named] if source.named else [])]
        names.append(json.dumps(name))
    listed = fill(f"fields = ({', '.join(names)},)", 80, subsequent_indent=" " * 10)
    exclude = ["        exclude = ()"] if base.opts.exclude else []
    head = [f"class Own{base.__name__}({_name(base)}):", f"    class Meta({_name(base)}.Meta):"]
    body = [*head, indent(listed, " " * 8), *exclude, "", *lines]
    return "\n".join([*_imports(used), "", "", *body])


def _imports(used: list[type[Any]]) -> Iterator[str]:
    by_module: dict[str, set[str]] = {}
    for one in used:
        if one.__module__ == fields.__name__:
            by_module.setdefault("marshmallow", set()).add("fields")
        elif getattr(sys.modules.get(one.__module__), one.__name__, None) is one:
            by_module.setdefault(one.__module__, set()).add(one.__name__)
    for module, names in sorted(by_module.items()):
        yield f"from {module} import {', '.join(sorted(names))}"


def _name(one: type[Any]) -> str:
    return one.__qualname__.rpartition("<locals>.")[2]
