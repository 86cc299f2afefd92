"""The host's mapped class: its mapper, and what an attribute is in the database."""

import inspect
from typing import Any

from sqlalchemy import (
    CHAR,
    JSON,
    Column,
    ColumnElement,
    LargeBinary,
    Text,
    cast,
    func,
    literal,
    literal_column,
)
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapper, RelationshipProperty

from ..exceptions import ConfigurationError
from ..schema import BuildSchema, Member, members_of

#: The dialects of MySQL and MariaDB.
MYSQL = frozenset({"mysql", "mariadb"})

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
    if isinstance(property_of(model, attribute), RelationshipProperty):
        return None
    try:
        found = getattr(model, attribute)
        return None if getattr(found, "expression", None) is None else found
    except _NO_EXPRESSION:
        return None


def property_of(model: type[Any], attribute: str) -> Any:
    """Return the mapped property of an attribute, such as a ``ColumnProperty``; None: it has none.

    No mapper is configured, because a class that it refers to may not yet be imported.
    """
    return getattr(inspect.getattr_static(model, attribute, None), "prop", None)


def has_dynamic_attributes(model: type[Any]) -> bool:
    """Check whether a class finds attributes by code of its own."""
    fallback = inspect.getattr_static(model, "__getattr__", None)
    return looks_up_by_itself(model) or fallback is not None


def looks_up_by_itself(model: type[Any]) -> bool:
    """Check whether a class has code of its own in front of every attribute."""
    own = inspect.getattr_static(model, "__getattribute__")
    return own is not object.__dict__["__getattribute__"]


def member_of(schema: BuildSchema, key: str) -> Member:
    """Return one member of a schema.

    :raises ConfigurationError: the schema does not have it.
    """
    if member := members_of(schema).get(key):
        return member
    raise ConfigurationError(
        f"{type(schema).__name__} has no member {key!r}: declare it, and list it in Meta.fields."
    )


def same_text(column: Any, other: Any, dialect: Dialect) -> ColumnElement[bool]:
    """Return the condition that two texts are the same: a collation may find "abc" for "ABC"."""
    if dialect.name == "postgresql":
        if isinstance(column.type, CHAR):
            return literal(True)  # a cast would remove the blanks at its end
        kind: Any = Text(collation="C")
    else:
        kind = LargeBinary()
    if dialect.name in MYSQL:  # the column may have another character set than the connection
        to_unicode: Any = literal_column("utf8mb4")
        column, other = (func.convert(one.op("USING")(to_unicode)) for one in (column, other))
    return cast(column, kind) == cast(other, kind)


def python_type(column: Column[Any] | None) -> type[Any]:
    """Return the type of what a column holds; object if it is unknown."""
    if column is None or isinstance(column.type, JSON):
        return object
    try:
        return column.type.python_type
    except NotImplementedError:
        return object
