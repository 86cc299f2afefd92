"""The host's mapped class: its mapper, the column of an attribute, and what does not fit."""

import inspect
from typing import Any

from marshmallow import fields
from sqlalchemy import Column
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.operators import ColumnOperators

from ..exceptions import ConfigurationError
from ..schema import BuildSchema, Member, members_of

#: What a hybrid that is written for a build, and not for a query, may raise on the class.
_NO_EXPRESSION = (
    ArgumentError,
    AttributeError,
    InvalidRequestError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)


def mapper_of(
    model: type[Any], option: str = "model", hint: str = "the model of the builds, model=Build"
) -> Mapper[Any]:
    """Return the mapper of a class of the host's.

    :param option: the option that the class was passed as.
    :param hint: what to pass instead.
    :raises ConfigurationError: it is not a mapped class.
    """
    mapper = sa_inspect(model, raiseerr=False)
    if not isinstance(model, type) or not isinstance(mapper, Mapper):
        raise ConfigurationError(
            f"{option}={model!r} is no class mapped by SQLAlchemy: pass {hint}."
        )
    return mapper


def column_of(model: type[Any], attribute: str) -> Column[Any] | None:
    """Return the column behind an attribute: a column's own, a synonym's or a hybrid's.

    :returns: None for a property, and for an expression that is more than a column.
    """
    expression = getattr(expression_of(model, attribute), "expression", None)
    found = inspect.getattr_static(model, attribute, None)
    if isinstance(found, hybrid_property) and found.expr is not None:
        return None  # its own expression need not be what its setter assigns
    return expression if isinstance(expression, Column) else None


def expression_of(model: type[Any], attribute: str) -> Any:
    """Return what an attribute is in a query: a column's, a synonym's, or that of a hybrid.

    :returns: None for whatever has no SQL expression, such as a property.
    """
    try:
        found = getattr(model, attribute)
    except _NO_EXPRESSION:
        return None
    is_relationship = attribute in mapper_of(model).relationships
    return found if isinstance(found, ColumnOperators) and not is_relationship else None


def member_of(schema: BuildSchema, key: str) -> Member:
    """Return one member of a schema.

    :raises ConfigurationError: the schema does not have it.
    """
    if member := members_of(schema).get(key):
        return member
    raise ConfigurationError(f"{type(schema).__name__} has no member {key!r}.")


def check_members(model: type[Any], schema: BuildSchema) -> None:
    """Check that the model has what every member of the schema needs.

    :raises ConfigurationError: names the member, the model and the way out.
    """
    for member in members_of(schema).values():
        if problem := _problem(model, member):
            raise ConfigurationError(f"{type(schema).__name__}.{member.name} {problem}")
    attribute = member_of(schema, "id").attribute
    if isinstance(inspect.getattr_static(model, attribute), property):
        raise ConfigurationError(
            f"{model.__name__}.{attribute} is a property, and no query can find a build by it:"
            " give the member 'id' the attribute of a column, a synonym or a hybrid."
        )


def _problem(model: type[Any], member: Member) -> str | None:
    if member.field.load_only:
        return (
            "is load_only, but what is fetched must be what can be put back: leave load_only out."
        )
    if member.protected and not member.reads_attribute:
        return None
    # A protected member may be read through a relationship: "repo.name".
    attribute = member.attribute.partition(".")[0] if member.protected else member.attribute
    found = inspect.getattr_static(model, attribute, None)
    if found is None:
        return (
            f"has no attribute {attribute!r} on the model {model.__name__}: subclass BuildSchema"
            " and name the right one with attribute=, make the member a"
            " fields.Constant(…, dump_only=True), or leave it out with Meta.exclude."
        )
    settable = not isinstance(found, property | hybrid_property) or found.fset
    if not member.protected and not settable:
        return (
            f"cannot be stored, {model.__name__}.{attribute} has no setter: add one, or make the"
            " member dump_only=True."
        )
    column = mapper_of(model).columns.get(member.attribute)
    if isinstance(member.field, fields.String) and getattr(
        getattr(column, "type", None), "enum_class", None
    ):
        return (
            f"is text, but {model.__name__}.{attribute} holds an enum: make the member a"
            " fields.Enum(…, required=True)."
        )
    return None
