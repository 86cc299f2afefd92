"""Why builds are changed: whether it has to be said, and what can be kept of it."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate
from sqlalchemy.engine import Dialect

from .columns import limit
from .errors import InvalidParameter
from .model import column_of

# Python and JSON Schema (ECMA-262) do not take the same characters for white space: the class has
# all that only one of them does.
_not_blank = validate.Regexp(r"[\s\S]*[^\s\x1c-\x1f\x85\ufeff]", error="blank")


class Reasons:
    """Judge the reasons of changes.

    :param model: of the revisions, that keep the reasons; None: nothing keeps them.
    :param required: whether a change without a reason is refused.
    """

    def __init__(self, model: type[Any] | None, required: bool) -> None:
        self._column = None if model is None else column_of(model, "reason")
        self._required = required
        self._fields: dict[str, fields.String] = {}

    def check(self, reason: str | None, dialect: Dialect) -> None:
        """See that a reason can be kept in a database.

        :raises InvalidParameter: it is missing, blank, longer than its column, or holds what no
            database does.
        """
        if reason is None:
            if self._required:
                raise InvalidParameter({"reason": ["missing: a change needs one"]})
            return
        try:
            self.field(dialect).deserialize(reason)
        except ValidationError as error:
            raise InvalidParameter({"reason": [str(told) for told in error.messages]}) from error

    def field(self, dialect: Dialect) -> fields.String:
        """Answer the field that reads a reason, with the limits of its column on a database."""
        if dialect.name not in self._fields:
            field = fields.String(required=self._required, validate=_not_blank)
            limit(field, self._column, dialect)
            self._fields[dialect.name] = field
        return self._fields[dialect.name]
