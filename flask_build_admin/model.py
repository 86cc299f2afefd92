"""The host's mapped class: which attribute is behind a member, and which column behind that."""

from __future__ import annotations

import inspect
from typing import Any

from marshmallow import fields
from sqlalchemy import Column
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper, RelationshipDirection

from .errors import ConfigurationError
from .schema import BuildSchema


def attribute_of(name: str, field: fields.Field[Any]) -> str:
    """Name the attribute of the model that a field of the schema stands for."""
    return field.attribute or name


def member_of(name: str, field: fields.Field[Any]) -> str:
    """Name the member of a document that a field of the schema stands for."""
    return field.data_key or name


def column_of(model: type[Any], attribute: str) -> Column[Any] | None:
    """Find the column behind an attribute of the model: a column's own, a synonym's, a hybrid's.

    :returns: None for a property, and for an expression that is more than a column.
    """
    try:
        expression = getattr(getattr(model, attribute), "expression", None)
    except (AttributeError, TypeError, NotImplementedError, ArgumentError, InvalidRequestError):
        return None  # a hybrid that cannot be said in SQL
    found = inspect.getattr_static(model, attribute, None)
    if isinstance(found, hybrid_property) and found.expr is not None:
        return None  # an expression of its own: it need not be what is assigned
    return expression if isinstance(expression, Column) else None


def led_by(model: type[Any], column: Column[Any]) -> list[str]:
    """Name the relationships of the model that lead elsewhere when a column changes."""
    return [
        relationship.key
        for relationship in mapper_of(model).relationships
        if relationship.direction is RelationshipDirection.MANYTOONE
        and column in relationship.local_columns
    ]


def mapper_of(
    model: type[Any], option: str = "model", hint: str = "the model of the builds, model=Build"
) -> Mapper[Any]:
    """Get the mapper of a class of the host's.

    :param option: the one that the class was passed as.
    :param hint: what to pass.
    :raises ConfigurationError: it is no mapped class.
    """
    mapper = sa_inspect(model, raiseerr=False)
    if not isinstance(model, type) or not isinstance(mapper, Mapper):
        raise ConfigurationError(
            f"{option}={model!r} is no class mapped by SQLAlchemy: pass {hint}."
        )
    return mapper


def field_of(schema: BuildSchema, member: str) -> tuple[str, fields.Field[Any]]:
    """Get the attribute and the field of a member.

    :raises ConfigurationError: the schema has none.
    """
    for name, field in schema.fields.items():
        if member_of(name, field) == member:
            return attribute_of(name, field), field
    raise ConfigurationError(f"{type(schema).__name__} has no member {member!r}.")


def check_members(model: type[Any], schema: BuildSchema) -> str:
    """See that every member of the schema finds what it needs on the model.

    :returns: the attribute that holds the id.
    :raises ConfigurationError: names the member, the model and the way out.
    """
    for name, field in schema.fields.items():
        _check_member(model, f"{type(schema).__name__}.{name}", attribute_of(name, field), field)
    attribute, _ = field_of(schema, "id")
    if isinstance(inspect.getattr_static(model, attribute), property):
        raise ConfigurationError(
            f"{model.__name__}.{attribute} is a property, and no query can find a build by it:"
            " give the member 'id' the attribute of a column, a synonym or a hybrid."
        )
    return attribute


def _check_member(model: type[Any], member: str, attribute: str, field: fields.Field[Any]) -> None:
    if field.load_only:
        raise ConfigurationError(
            f"{member} is load_only, but what is fetched must be what can be put back:"
            " leave load_only out."
        )
    if field.dump_only and not field._CHECK_ATTRIBUTE:
        return  # a constant, a method: it needs no attribute
    # A protected member may be read through a relationship: "repo.name".
    first = attribute.partition(".")[0] if field.dump_only else attribute
    found = inspect.getattr_static(model, first, None)
    if found is None:
        raise ConfigurationError(
            f"{member} has no attribute {first!r} on the model {model.__name__}: subclass"
            " BuildSchema and name the right one with attribute=, make the member a"
            " fields.Constant(…, dump_only=True), or leave it out with Meta.exclude."
        )
    if not field.dump_only and isinstance(found, property | hybrid_property) and not found.fset:
        raise ConfigurationError(
            f"{member} cannot be stored, {model.__name__}.{attribute} has no setter: add one, or"
            " make the member dump_only=True."
        )
    column = mapper_of(model).columns.get(attribute)
    if isinstance(field, fields.String) and getattr(
        getattr(column, "type", None), "enum_class", None
    ):
        raise ConfigurationError(
            f"{member} is text, but {model.__name__}.{attribute} holds an enum: make the member a"
            " fields.Enum(…, required=True)."
        )
