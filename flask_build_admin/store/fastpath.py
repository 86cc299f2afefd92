"""The fast path: a plain valid document and a plain row, without marshmallow.

It accepts only what the schema accepts, and returns what the schema returns. Whatever it does not
know (another field, a hook, a validator, an invalid value) it leaves to the schema.
"""

from collections.abc import Callable
from inspect import getattr_static
from math import inf
from operator import attrgetter, itemgetter
from typing import Any

from marshmallow import RAISE, validate
from sqlalchemy.orm.attributes import InstrumentedAttribute, instance_dict

from ..representation import Document
from ..schema import AnyField, BuildSchema, Text, WholeNumber, members_of
from .limits import LONE_SURROGATE, Utf8Length, storable
from .mapping import looks_up_by_itself, mapper_of

Check = Callable[[Document], list[str]]
Dump = Callable[[Any], Document]

_METHODS = ("load", "dump", "get_attribute", "handle_error", "dict_class")
_ZEROS = {WholeNumber: 0, Text: ""}


def compiles(schema: BuildSchema) -> bool:
    """Check whether the schema has nothing but members that the fast path knows."""
    cls = type(schema)
    return (
        all(getattr(cls, name) is getattr(BuildSchema, name) for name in _METHODS)
        and not has_hooks(schema)
        and schema.unknown == RAISE
        and len(schema.fields) > 1  # attrgetter returns no tuple for one attribute
        and all(_known(field) for field in schema.fields.values())
    )


def has_hooks(schema: BuildSchema) -> bool:
    """Check whether a schema has hooks: processors and validators beside those of its fields."""
    # marshmallow has no public list of them.
    return any(schema._hooks.values())


def _known(field: AnyField) -> bool:
    return (
        type(field) in _ZEROS
        and field.required
        and not (field.allow_none or field.dump_only or field.load_only)
        and not (getattr(field, "pre_load", None) or getattr(field, "post_load", None))
        and not (getattr(field, "as_string", False) or getattr(field, "zero_is_null", False))
        and all(_bounds(one, type(field)) is not None for one in field.validators)
    )


def _bounds(validator: Callable[[Any], Any], of: type[Any]) -> tuple[float, float] | None:
    """Return the least and the greatest number, or length, that always pass; None: unknown."""
    if validator is storable:
        return -inf, inf
    if of is Text and isinstance(validator, Utf8Length):
        return -inf, validator.limit // 4  # no character takes more bytes
    # The types are compared, because a subclass may do anything.
    if of is WholeNumber and type(validator) is validate.Range:
        simple = validator.min_inclusive and validator.max_inclusive
    elif of is Text and type(validator) is validate.Length:
        simple = validator.equal is None
    else:
        return None
    low, high = validator.min, validator.max
    return (-inf if low is None else low, inf if high is None else high) if simple else None


def compile_check(schema: BuildSchema) -> Check:
    """Make a function that returns the members of a document that are certainly valid."""
    numbers: list[tuple[str, float, float]] = []
    texts: list[tuple[str, float, float]] = []
    for key, member in members_of(schema).items():
        field = member.field
        bounds = [_bounds(one, type(field)) or (-inf, inf) for one in field.validators]
        low = max(low for low, _ in bounds)
        high = min(high for _, high in bounds)
        (numbers if isinstance(field, WholeNumber) else texts).append((key, low, high))

    def check(document: Document) -> list[str]:
        get = document.get
        valid = []
        for key, low, high in numbers:
            number = get(key)
            if type(number) is int and low <= number <= high:
                valid.append(key)
        fitting = []
        joined = []
        for key, low, high in texts:
            text = get(key)
            if type(text) is str and low <= len(text) <= high:
                fitting.append(key)
                joined.append(text)
        whole = "".join(joined)
        if "\0" in whole or not (whole.isascii() or not LONE_SURROGATE.search(whole)):
            return valid
        return valid + fitting

    return check


def compile_dump(schema: BuildSchema, model: type[Any]) -> Dump:
    """Make a function that returns the document of a build.

    :param model: the mapped class of the builds.
    """
    members = members_of(schema)
    keys = [*members]
    zeros = [_ZEROS[type(member.field)] for member in members.values()]
    kinds = [type(zero) for zero in zeros]
    attributes = [member.attribute for member in members.values()]
    get_attributes = attrgetter(*attributes)
    get_loaded = itemgetter(*attributes)
    # attrgetter returns loaded columns, too, but calls a descriptor in Python for each.
    columns = mapper_of(model).column_attrs
    plain = not looks_up_by_itself(model) and all(
        attribute in columns
        and isinstance(getattr_static(model, attribute, None), InstrumentedAttribute)
        for attribute in attributes
    )

    def dump(build: Any) -> Document:
        try:
            values = get_loaded(instance_dict(build)) if plain else get_attributes(build)
        except KeyError:  # expired, or deferred
            values = get_attributes(build)
        if list(map(type, values)) == kinds:
            return dict(zip(keys, values, strict=True))
        filled = [
            zero if value is None else value for value, zero in zip(values, zeros, strict=True)
        ]
        if list(map(type, filled)) == kinds:
            return dict(zip(keys, filled, strict=True))
        return dict(schema.dump(build))

    return dump
