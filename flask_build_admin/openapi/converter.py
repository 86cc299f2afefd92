"""Fields of marshmallow as JSON Schema: what they load and what they dump."""

import re
from copy import copy
from typing import Any

from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import fields, missing, validate

from ..representation import SCALARS
from ..schema import AnyField, Choice, Flag, Text, UnixTime, WholeNumber, at_least, at_most
from ..store.limits import Utf8Length, storable
from .document import JsonSchema

#: Syntax of Python's regular expressions that those of JSON Schema (ECMA-262) do not have.
_PYTHON_ONLY = re.compile(r"\(\?[PaiLmsux#]|\\[AZ]")

#: Keywords that no member gets: readOnly ones are left out by clients, but have to be sent back;
#: and a default would not be taken, because a member that is left out stays as it is.
_OMITTED = frozenset({"default", "nullable", "readOnly", "required", "writeOnly"})


class BuildConverter(OpenAPIConverter):
    """Convert fields without running code of the host's, which may need a request."""

    field_mapping: dict[type, tuple[str | None, str | None]] = OpenAPIConverter.field_mapping | {
        Choice: ("string", None),
        UnixTime: ("integer", None),
    }

    def field2property(self, field: AnyField) -> JsonSchema:
        """Convert a field."""
        sizes = [one.limit for one in field.validators if isinstance(one, Utf8Length)]
        plain = copy(field)
        plain.load_default = missing
        never_null = isinstance(
            field, Choice | Flag | Text | WholeNumber | UnixTime | fields.Constant
        )
        plain.allow_none = field.allow_none or (field.dump_only and not never_null)
        plain.validators = [one for one in field.validators if _same_in_json(one)]
        plain.validators += [validate.Length(max=size) for size in sizes]  # of one byte or more
        if isinstance(field, UnixTime):
            plain.validators += [at_least(0), at_most(field.latest)]
        schema = super().field2property(plain)
        sentences = [
            schema.get("description"),
            f"At most {min(sizes)} bytes in UTF-8." if sizes else None,
            "Cannot be changed: send it back." if field.dump_only else None,
        ]
        schema["description"] = " ".join(filter(None, sentences)) or None
        if isinstance(field, fields.Constant):
            schema["const"] = field.constant
        if isinstance(field, Choice):
            schema["enum"] = [*field.choices, *([None] if field.allow_none else [])]
        return {k: v for k, v in schema.items() if v is not None and k not in _OMITTED}

    def field2type_and_format(self, field: AnyField, **kwargs: Any) -> JsonSchema:
        """Convert the kind of a field; a number may be dumped as a string."""
        as_string = getattr(field, "as_string", False)
        return {"type": "string"} if as_string else super().field2type_and_format(field, **kwargs)

    def field2range(self, field: AnyField, ret: JsonSchema) -> JsonSchema:
        """Convert the bounds of a number."""
        bounds: JsonSchema = {}
        for one in field.validators:
            if not isinstance(one, validate.Range) or ret.get("type") not in ("integer", "number"):
                continue
            if one.min is not None:
                name = "minimum" if one.min_inclusive else "exclusiveMinimum"
                bounds[name] = max(bounds.get(name, one.min), one.min)
            if one.max is not None:
                name = "maximum" if one.max_inclusive else "exclusiveMaximum"
                bounds[name] = min(bounds.get(name, one.max), one.max)
        return bounds

    def field2length(self, field: AnyField, **kwargs: Any) -> JsonSchema:
        """Convert the bounds of a length; that of an object is the number of its properties."""
        bounds = super().field2length(field, **kwargs)
        unit = "Properties" if isinstance(field, fields.Mapping) else "Length"
        return {name.replace("Length", unit): size for name, size in bounds.items()}

    def field2pattern(self, field: AnyField, **kwargs: Any) -> JsonSchema:
        """Convert all regular expressions that JSON Schema can express."""
        text = isinstance(field, fields.String) and storable in field.validators
        patterns = [r"^[^\u0000]*$"] if text else []
        regexes: list[Any] = [v.regex for v in field.validators if isinstance(v, validate.Regexp)]
        for regex in regexes:
            if regex.flags == re.UNICODE and not _PYTHON_ONLY.search(regex.pattern):
                patterns.append(f"^(?:{regex.pattern})")  # marshmallow matches at the beginning
        schemas = [{"pattern": pattern} for pattern in patterns]
        return {"allOf": schemas} if len(schemas) > 1 else dict(*schemas)


def _same_in_json(validator: Any) -> bool:
    """Check that the values which a validator names, if any, are the same in JSON."""
    if type(validator) is validate.OneOf:
        return {type(choice) for choice in validator.choices} <= SCALARS
    return not hasattr(validator, "choices") and not hasattr(validator, "comparable")
