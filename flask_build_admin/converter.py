"""The fields of a build as JSON Schema: what they take, not what they are declared with."""

from __future__ import annotations

import re
from typing import Any

from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import fields, validate

from .body import SCALARS
from .columns import Utf8Length, storable
from .fields import Text, UnixTime, WholeNumber, at_least, at_most

JsonSchema = dict[str, Any]

#: What every database holds: text without U+0000.
_STORABLE = r"^[^\u0000]*$"

#: What regular expressions of Python have, and those of JSON Schema (ECMA-262) have not.
_PYTHONS = re.compile(r"\(\?[PaiLmsux#]|\\[AZ]")

#: The kinds of member that show a NULL as something else.
_WITH_ZERO = (WholeNumber, Text, UnixTime, fields.Constant)

#: What the host's metadata may say of a member that is for this package to say.
_OURS = frozenset({"readOnly", "writeOnly", "nullable", "required"})


class BuildConverter(OpenAPIConverter):
    """Translate fields without a call of the host's own code, which may need what is not there."""

    def field2property(self, field: fields.Field[Any]) -> JsonSchema:
        """Translate one field."""
        described = super().field2property(field)
        told = [described.get("description"), _advice(field)]
        if any(told):
            described["description"] = " ".join(one for one in told if one)
        if isinstance(field, fields.Constant):
            described["const"] = field.constant
        return {name: value for name, value in described.items() if value is not None}

    def field2type_and_format(self, field: fields.Field[Any], **kwargs: Any) -> JsonSchema:
        """Translate the kind of a field."""
        if isinstance(field, UnixTime):
            return {"type": "integer"}
        if getattr(field, "as_string", False):
            return {"type": "string"}
        return super().field2type_and_format(field, **kwargs)

    def field2default(self, field: fields.Field[Any], **kwargs: Any) -> JsonSchema:
        """Tell no default: a member that may be left out stays as it is."""
        return {}

    def field2read_only(self, field: fields.Field[Any], **kwargs: Any) -> JsonSchema:
        """Call no member readOnly: it would be left out, and has to be sent back."""
        return {}

    def field2choices(self, field: fields.Field[Any], **kwargs: Any) -> JsonSchema:
        """Translate a choice of values that are the same in JSON."""
        for one in field.validators:
            if type(one) is validate.OneOf and {type(choice) for choice in one.choices} <= SCALARS:
                return {"enum": [*one.choices]}
        return {}

    def field2range(self, field: fields.Field[Any], ret: JsonSchema) -> JsonSchema:
        """Translate the bounds of a number."""
        if not _types(ret) & {"integer", "number"}:
            return {}
        ranges = [one for one in field.validators if isinstance(one, validate.Range)]
        if isinstance(field, UnixTime):
            ranges += [at_least(0), at_most(field.latest)]
        described: JsonSchema = {}
        for one in ranges:
            if one.min is not None:
                name = "minimum" if one.min_inclusive else "exclusiveMinimum"
                described[name] = max(described.get(name, one.min), one.min)
            if one.max is not None:
                name = "maximum" if one.max_inclusive else "exclusiveMaximum"
                described[name] = min(described.get(name, one.max), one.max)
        return described

    def field2length(self, field: fields.Field[Any], **kwargs: Any) -> JsonSchema:
        """Translate the bounds of a length; JSON Schema counts characters, not bytes."""
        described = super().field2length(field, **kwargs)
        for one in field.validators:
            if isinstance(one, Utf8Length):
                described["maxLength"] = min(one.limit, described.get("maxLength", one.limit))
        if isinstance(field, fields.Mapping):
            return {name.replace("Length", "Properties"): size for name, size in described.items()}
        return described

    def field2pattern(self, field: fields.Field[Any], **kwargs: Any) -> JsonSchema:
        """Translate all regular expressions that JSON Schema knows, too."""
        text = isinstance(field, fields.String) and storable in field.validators
        patterns = [_STORABLE] if text else []
        for one in field.validators:
            found = getattr(one, "regex", None)
            if not isinstance(found, re.Pattern) or found.flags != re.UNICODE:
                continue
            if not _PYTHONS.search(found.pattern):
                patterns.append(f"^(?:{found.pattern})")  # marshmallow looks at the beginning
        told = [{"pattern": pattern} for pattern in patterns]
        return {"allOf": told} if len(told) > 1 else dict(*told)

    def metadata2properties(self, field: fields.Field[Any], **kwargs: Any) -> JsonSchema:
        """Take what the host says of a member, as far as it is the host's to say."""
        told = super().metadata2properties(field, **kwargs)
        return {name: value for name, value in told.items() if name not in _OURS}

    def field2nullable(self, field: fields.Field[Any], ret: JsonSchema) -> JsonSchema:
        """Allow null, as what a protected member may show, too."""
        shown = field.dump_only and not isinstance(field, _WITH_ZERO)
        described = super().field2nullable(field, ret)
        if shown and "type" in ret and "type" not in described:
            described["type"] = [*sorted(_types(ret)), "null"]
        if "enum" in ret and (shown or field.allow_none) and None not in ret["enum"]:
            described["enum"] = [*ret["enum"], None]
        return described


def _types(described: JsonSchema) -> set[str]:
    kinds = described.get("type", [])
    return {kinds} if isinstance(kinds, str) else {*kinds}


def _advice(field: fields.Field[Any]) -> str:
    bounds = [one.limit for one in field.validators if isinstance(one, Utf8Length)]
    told = [f"At most {min(bounds)} bytes in UTF-8."] if bounds else []
    return " ".join(told + (["Cannot be changed: send it back."] if field.dump_only else []))
