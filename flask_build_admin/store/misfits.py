"""What in a schema does not fit the host's model, and a schema that would."""

import inspect
import json
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from textwrap import fill, indent
from types import FunctionType
from typing import Any, NamedTuple
from uuid import UUID

from marshmallow import Schema, fields
from sqlalchemy import Column
from sqlalchemy.ext.hybrid import hybrid_method, hybrid_property
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
from .mapping import column_of, has_dynamic_attributes, mapper_of, property_of, python_type

_NUMBERS = (int, float, Decimal)

#: What each field loads, but for an Enum and a Choice: they say it themselves.
_LOADED: dict[type[AnyField], tuple[type[Any], ...]] = {
    Choice: (),
    Flag: (bool, int),
    UnixTime: (datetime,),
    WholeNumber: _NUMBERS,
    fields.AwareDateTime: (datetime,),
    fields.Boolean: (bool, int),
    fields.Date: (date,),
    fields.DateTime: (datetime,),
    fields.Enum: (),
    fields.IP: (IPv4Address, IPv6Address),
    fields.IPInterface: (IPv4Interface, IPv6Interface),
    fields.List: (list,),
    fields.Mapping: (dict,),
    fields.NaiveDateTime: (datetime,),
    fields.Nested: (dict, list),
    fields.Number: _NUMBERS,
    fields.String: (str,),
    fields.Time: (time,),
    fields.TimeDelta: (timedelta,),
    fields.Tuple: (list, tuple),
    fields.UUID: (UUID,),
}

#: The fields that dump nothing else than what they load, either. Any other dumps more.
_DUMPED = (Choice, UnixTime, fields.Enum, fields.Number)

#: What has to be called for a value.
_METHODS = (FunctionType, classmethod, hybrid_method, staticmethod)

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
    #: Whether it has to be called for a value.
    method: bool


class _Source(NamedTuple):
    """A field as it is written in a schema."""

    kind: type[AnyField]
    options: tuple[str, ...]
    #: The attribute of the model that it has.
    attribute: str = ""
    #: The class that it names.
    named: type[Any] | None = None

    def __str__(self) -> str:
        if self.kind.__module__ != fields.__name__:
            return f"{self.kind.__name__}({', '.join(self.options)})"
        return f"fields.{self.kind.__name__}({', '.join([*self.options, 'required=True'])})"


def check_declared(model: type[Any], schema: type[BuildSchema]) -> None:
    """Check that a schema declares the members that its ``Meta.fields`` lists.

    :raises ConfigurationError: names those that it does not, with fields that would fit.
    """
    declared: Any = schema._declared_fields
    unknown = [name for name in getattr(schema.Meta, "fields", ()) or () if name not in declared]
    if unknown:
        found = {name: _find(model, name) for name in unknown}
        sources = {name: (one and _source(one)) or _Source(Text, ()) for name, one in found.items()}
        lines = "".join(f"    {name} = {source}\n" for name, source in sources.items())
        raise ConfigurationError(
            f"{schema.__name__}.Meta.fields lists {', '.join(map(repr, unknown))}, which is none of"
            f" the contract's members: declare it in the schema, or leave it out.\n\n{lines}"
        )


def check_members(model: type[Any], schema: BuildSchema) -> None:
    """Check that the model has what every member of the schema needs.

    :raises ConfigurationError: names all that do not fit, each with the way out, and ends with a
        schema that would fit, as far as it can be guessed.
    """
    name = type(schema).__name__
    members = members_of(schema)
    problems = {
        key: problem
        for key, member in members.items()
        if (problem := _problem(model, member)) is not None
    }
    if "id" not in members:
        problems["id"] = " is no member, but says which build is meant: add it."
    if problems:
        alike: dict[str, list[str]] = {}
        for key, problem in problems.items():
            alike.setdefault(problem, []).append(members[key].name if key in members else key)
        lines = [f"* {name}.{', .'.join(names)}{problem}\n" for problem, names in alike.items()]
        raise ConfigurationError(
            f"{name} does not fit the model {model.__name__}:\n{''.join(lines)}\n"
            f"{_write_schema(model, schema, {*problems})}"
        )


def check_paths(model: type[Any], schema: BuildSchema) -> None:
    """Check the members that are read through relationships: ``repo.name``.

    The classes that the model refers to must be imported by now.

    :raises ConfigurationError: one of these classes does not have the attribute.
    """
    for member in members_of(schema).values():
        owner = mapper_of(model)
        for name in member.attribute.split(".") if member.reads_attribute else ():
            # What is read may be of a subclass, and have what only that one has.
            kinds = [one.class_ for one in owner.self_and_descendants]
            having = [one for one in kinds if inspect.getattr_static(one, name, None) is not None]
            if not having and not any(map(has_dynamic_attributes, kinds)):
                raise ConfigurationError(
                    f"{type(schema).__name__}.{member.name} reads {member.attribute!r}, but"
                    f" {owner.class_.__name__} has no {name!r}: name the right one with attribute=."
                )
            mapped = [property_of(one, name) for one in having]
            related = [one.mapper for one in mapped if isinstance(one, RelationshipProperty)]
            if len(related) < len(mapped) or len({*related}) != 1:
                break  # a property, or JSON, may return anything
            owner = related[0]


def _problem(model: type[Any], member: Member) -> str | None:
    """Return what is wrong with a member, as it follows its name."""
    if member.field.load_only:
        return (
            " is load_only, but what is fetched must be what can be put back: leave load_only out."
        )
    if member.protected and not member.reads_attribute:
        return None
    # A protected member may be read through a relationship: "repo.name".
    name, dot, _ = member.attribute.partition(".")
    attribute = _find(model, name)
    if attribute is None:
        which = "this name" if name == member.name else f"the name {name!r}"
        return (
            f": no attribute of {which} is on the model {model.__name__}. Name the right one with"
            " attribute=, make the member a fields.Constant(…, dump_only=True), or leave it out of"
            " Meta.fields."
        )
    of = f"{model.__name__}.{name}"
    if dot and not member.protected:
        return f" cannot be stored through {of}: make the member dump_only=True."
    if attribute.method and not (member.protected and _is_of_host(member.field)):
        return f" has no value, {of} is a method: make it a property, or name another attribute."
    if member.key == "id" and isinstance(inspect.getattr_static(model, name), property):
        return (
            f" finds no build, {of} is a property: give it the attribute of a column, a synonym or"
            " a hybrid."
        )
    if attribute.fixed and member.key != "id" and not member.protected:
        return f" cannot be stored, {of} {attribute.fixed}"
    if not dot and not _fits(member, attribute):
        held = attribute.held.__name__ if attribute.codes is None else "choices"
        kept = ["dump_only=True"] if member.protected else []
        source = _source(attribute, *kept) or "field of your own, or leave it out"
        numbered = issubclass(attribute.held, int) and not issubclass(attribute.held, Enum)
        if member.key == "status" and numbered and not kept:
            source = 'Choice({"pending": 0, "running": 1, …}), with the numbers of your column'
        return f" does not fit, {of} holds {held}: make the member a {source}."
    null = None if member.protected else _stores_null(member.field)
    if null is not None and attribute.column is not None and not attribute.column.nullable:
        return f" stores {null[0]} as NULL, but {of} is NOT NULL: {null[1]}."
    return None


def _stores_null(field: AnyField) -> tuple[str, str] | None:
    """Return for which JSON value a field stores NULL, although the host need not, and the way out.

    A ``UnixTime`` has no other value for 0 by default, so it is the database that refuses that one.
    """
    if isinstance(field, WholeNumber) and field.zero_is_null:
        return "0", "leave zero_is_null out"
    if isinstance(field, Choice) and None in field.choices.values():
        word = next(word for word, value in field.choices.items() if value is None)
        return json.dumps(word), "give it a value of the column, or leave it out"
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
    elif not hasattr(type(found), "__set__"):
        fixed = "is not mapped: name a mapped one, or make the member dump_only=True."
    held, codes = python_type(column), None
    choices = None if column is None else getattr(column.type, "choices", None)
    if isinstance(mapped, RelationshipProperty):
        held = Relationship
    elif isinstance(choices, type) and issubclass(choices, Enum):
        held = choices
    elif isinstance(choices, tuple) and all(isinstance(one, tuple) for one in choices):
        codes = {str(code): code for code, *_ in choices}
    return _Attribute(name, column, held, codes, fixed, isinstance(found, _METHODS))


def _is_of_host(field: AnyField) -> bool:
    """Check whether a field is of a class of the host's own, which may call what it reads."""
    return type(field).__module__ not in (fields.__name__, Choice.__module__)


def _fits(member: Member, attribute: _Attribute) -> bool:
    """Check whether an attribute can hold what a member loads, or is what a protected one dumps."""
    field: Any = member.field
    held, kind = attribute.held, _known_kind(member)
    if kind is Choice:
        values = [value for value in field.choices.values() if value is not None]
        kinds = _NUMBERS if issubclass(held, _NUMBERS) else held
        return all(isinstance(one, kinds) for one in values)
    if kind is None or held is object or getattr(field, "post_load", None):
        return True
    if kind is fields.Enum:
        # The row returns what the column holds, and a plain text is no member of a StrEnum.
        return held is field.enum
    if kind is fields.List and held is Relationship:
        return _fits(member._replace(field=field.inner), attribute)
    if kind is fields.Nested and not _loads_plainly(field):
        return True
    loaded = _LOADED[kind]
    if issubclass(held, datetime) and datetime not in loaded:
        return False  # it is a date to Python
    return issubclass(held, loaded) and not issubclass(held, Enum) and attribute.codes is None


def _known_kind(member: Member) -> Any:
    """Return the class that says what a member loads, or dumps if it is protected.

    :returns: None: nobody knows. A class of the host's that overrides it may do anything.
    """
    kind = type(member.field)
    known = next((one for one in kind.__mro__ if one in _LOADED), None)
    name = "serialize" if member.protected else "deserialize"
    if known is None or (member.protected and not issubclass(known, _DUMPED)):
        return None
    same = all(getattr(kind, one) is getattr(known, one) for one in (name, f"_{name}"))
    return known if same else None


def _loads_plainly(field: Any) -> bool:
    """Check whether a nested schema loads a dict, and not an object of the host's."""
    nested = field.nested
    kind = nested if isinstance(nested, type) else type(nested)
    # marshmallow has no public name for the hooks.
    return kind is dict or (issubclass(kind, Schema) and not kind._hooks.get("post_load"))


def _source(attribute: _Attribute, *options: str) -> _Source | None:
    """Return a field that fits an attribute; None: that cannot be guessed."""
    held = attribute.held
    if attribute.codes is not None:
        return _Source(Choice, (repr(attribute.codes), *options), attribute.name)
    if issubclass(held, Enum):
        by_value = ["by_value=True"] if all(isinstance(one.value, str) for one in held) else []
        return _Source(fields.Enum, (_name(held), *by_value, *options), attribute.name, held)
    kinds = (kind for known, kind in _FIELDS.items() if issubclass(held, known))
    return next((_Source(kind, options, attribute.name) for kind in kinds), None)


def _guess(model: type[Any], key: str, member: Member | None) -> _Source | None:
    """Return a field for a member that does not fit."""
    mapper, name = mapper_of(model), key if member is None else member.name
    protected = member is not None and member.protected
    candidates = [one for one in (form.format(name) for form in _SIMILAR) if one in mapper.columns]
    if member is not None:
        candidates.insert(0, member.attribute)
    if key == "id":
        candidates = [mapper.get_property_by_column(mapper.primary_key[0]).key]
    found = (_find(model, one) for one in candidates)
    attribute = next((one for one in found if one is not None and not one.method), None)
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
        return _Source(type(member.field), tuple(options), attribute.name)
    return _source(attribute, *options)


def _write_schema(model: type[Any], schema: BuildSchema, misfits: set[str]) -> str:
    """Write a schema that keeps the members that fit, and guesses the others."""
    base, members = type(schema), members_of(schema)
    names, lines = [], []
    used: list[type[Any]] = [base]
    unused = {*mapper_of(model).columns.keys()}
    for key in [*members] if "id" in members else ["id", *members]:
        name = members[key].name if key in members else key
        if key in misfits:
            source = _guess(model, key, members.get(key))
            if source is None:
                continue
            lines.append(f"    {name} = {source}")
            used += [source.kind, *([source.named] if source.named else [])]
            unused.discard(source.attribute)
        else:
            unused.discard(members[key].attribute)
        names.append(json.dumps(name))
    listed = fill(f"fields = ({', '.join(names)},)", 80, subsequent_indent=" " * 10)
    exclude = ["        exclude = ()"] if base.opts.exclude else []
    head = [f"class Own{base.__name__}({_name(base)}):", f"    class Meta({_name(base)}.Meta):"]
    body = [*head, indent(listed, " " * 8), *exclude, "", *lines]
    columns = f"Columns that no member has: {', '.join(sorted(unused))}. " if unused else ""
    return (
        f"{columns}This schema would fit, as far as it can be guessed. Pass it by"
        f" schema=Own{base.__name__}:\n\n" + "\n".join([*_imports(used), "", "", *body])
    )


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
