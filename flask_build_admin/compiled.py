"""The fast path: a plain valid document and a plain row, without marshmallow.

It only ever takes what the schema would take, and answers what the schema would answer; whatever
it does not know (another field, a hook, a validator, a refusal) it leaves to the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import getattr_static
from math import inf
from operator import attrgetter, itemgetter
from typing import Any

from marshmallow import RAISE, fields, validate
from sqlalchemy.orm.attributes import InstrumentedAttribute, instance_dict

from .body import Document
from .columns import LONE_SURROGATE, Utf8Length, storable
from .fields import Text, WholeNumber
from .model import attribute_of, mapper_of, member_of
from .schema import BuildSchema

Check = Callable[[Document], list[str]]
Show = Callable[[Any], Document]

_METHODS = ("load", "dump", "get_attribute", "handle_error", "dict_class")
_ZEROS = {WholeNumber: 0, Text: ""}


def compiles(schema: BuildSchema) -> bool:
    """Whether the schema is made of nothing but members that the fast path knows."""
    cls = type(schema)
    return (
        all(getattr(cls, name) is getattr(BuildSchema, name) for name in _METHODS)
        and not any(schema._hooks.values())
        and schema.unknown == RAISE
        and len(schema.fields) > 1  # of one attribute, attrgetter answers no tuple
        and all(_known(field) for field in schema.fields.values())
    )


def _known(field: fields.Field[Any]) -> bool:
    return (
        type(field) in _ZEROS
        and field.required
        and not (field.allow_none or field.dump_only or field.load_only)
        and not (getattr(field, "pre_load", None) or getattr(field, "post_load", None))
        and not getattr(field, "as_string", False)
        and all(_bounds(one, type(field)) is not None for one in field.validators)
    )


def _bounds(validator: Callable[[Any], Any], of: type[Any]) -> tuple[float, float] | None:
    """Tell the least and the greatest number, or length, that surely pass; None: not known."""
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
    return (_either(validator.min, -inf), _either(validator.max, inf)) if simple else None


def _either(bound: float | None, otherwise: float) -> float:
    return otherwise if bound is None else bound


def compile_check(schema: BuildSchema) -> Check:
    """Make a function that finds what of a document the schema need not judge.

    :returns: a function that names the members that the schema would surely take as they are.
    """
    numbers: list[tuple[str, float, float]] = []
    texts: list[tuple[str, float, float]] = []
    for name, field in schema.fields.items():
        bounds = [_bounds(one, type(field)) or (-inf, inf) for one in field.validators]
        low = max(low for low, _ in bounds)
        high = min(high for _, high in bounds)
        kind = numbers if isinstance(field, WholeNumber) else texts
        kind.append((member_of(name, field), low, high))

    def check(document: Document) -> list[str]:
        get = document.get
        sure = []
        for member, low, high in numbers:
            number = get(member)
            if type(number) is int and low <= number <= high:
                sure.append(member)
        fitting = []
        joined = []
        for member, low, high in texts:
            text = get(member)
            if type(text) is str and low <= len(text) <= high:
                fitting.append(member)
                joined.append(text)
        whole = "".join(joined)
        if "\0" in whole or not (whole.isascii() or not LONE_SURROGATE.search(whole)):
            return sure
        return sure + fitting

    return check


def compile_show(schema: BuildSchema, model: type[Any]) -> Show:
    """Make a function that answers the document of a build.

    :param model: the mapped class of the builds.
    """
    members = [member_of(name, field) for name, field in schema.fields.items()]
    zeros = [_ZEROS[type(field)] for field in schema.fields.values()]
    kinds = [type(zero) for zero in zeros]
    attributes = [attribute_of(name, field) for name, field in schema.fields.items()]
    snapshot = attrgetter(*attributes)
    loaded = itemgetter(*attributes)
    # attrgetter finds loaded columns there, too, but calls a descriptor in Python for each.
    columns = mapper_of(model).column_attrs
    own = getattr_static(model, "__getattribute__") is not object.__dict__["__getattribute__"]
    plain = not own and all(
        attribute in columns
        and isinstance(getattr_static(model, attribute, None), InstrumentedAttribute)
        for attribute in attributes
    )

    def show(build: Any) -> Document:
        try:
            values = loaded(instance_dict(build)) if plain else snapshot(build)
        except KeyError:  # expired, or deferred
            values = snapshot(build)
        if list(map(type, values)) == kinds:
            return dict(zip(members, values, strict=True))
        shown = [
            zero if value is None else value for value, zero in zip(values, zeros, strict=True)
        ]
        if list(map(type, shown)) == kinds:
            return dict(zip(members, shown, strict=True))
        return dict(schema.dump(build))

    return show
