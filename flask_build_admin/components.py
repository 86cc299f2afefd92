"""The JSON of the routes as JSON Schema, for the OpenAPI document: builds, changes, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import RAISE, fields

from .columns import Utf8Length, storable
from .fields import UnixTime
from .history import LAST
from .model import member_of
from .schema import BuildSchema

JsonSchema = dict[str, Any]

#: What no database holds: U+0000.
_STORABLE = {"pattern": r"^[^\u0000]*$"}

#: The contract's sample build.
_SAMPLE: dict[str, Any] = json.loads(Path(__file__).with_name("octocat.json").read_text())


class BuildConverter(OpenAPIConverter):
    """Translate the fields of a build, with what only this package knows of them."""

    def init_attribute_functions(self) -> None:
        """Translate what every field has, and then what a member of a build has."""
        super().init_attribute_functions()  # type: ignore[no-untyped-call]
        self.attribute_functions += [_points_in_time, _constants, _texts]

    def field2read_only(self, field: fields.Field[Any], **kwargs: Any) -> JsonSchema:
        """Say of a protected member that it is sent back: readOnly would have it left out."""
        return {"description": "Cannot be changed: send it back."} if field.dump_only else {}


def _points_in_time(field: fields.Field[Any], ret: JsonSchema) -> JsonSchema:
    if not isinstance(field, UnixTime):
        return {}
    return {"type": "integer", "minimum": 0, "maximum": field.latest}


def _constants(field: fields.Field[Any], ret: JsonSchema) -> JsonSchema:
    return {"const": field.constant} if isinstance(field, fields.Constant) else {}


def _texts(field: fields.Field[Any], ret: JsonSchema) -> JsonSchema:
    if "string" not in ret.get("type", ()) or storable not in field.validators:
        return {}
    told: JsonSchema = {"allOf": [_STORABLE]} if "pattern" in ret else {**_STORABLE}
    bounds = [one.limit for one in field.validators if isinstance(one, Utf8Length)]
    if bounds:
        # JSON Schema counts characters, of which each takes a byte at least.
        told["maxLength"] = min(*bounds, ret.get("maxLength", bounds[0]))
        told["description"] = f"At most {min(bounds)} bytes in UTF-8."
    return told


def build_of(converter: BuildConverter, schema: BuildSchema) -> JsonSchema:
    """Describe a whole build, with the contract's sample where the host takes it."""
    described: JsonSchema = converter.schema2jsonschema(schema)  # type: ignore[no-untyped-call]
    members = {member_of(name, field): field for name, field in schema.fields.items()}
    # In the documented order, and what cannot be changed is sent back as well.
    described["required"] = [
        member for member, field in members.items() if field.required or field.dump_only
    ]
    described["additionalProperties"] = schema.unknown != RAISE
    sample = {member: _SAMPLE[member] for member in members if member in _SAMPLE}
    if not schema.validate(sample):
        described["examples"] = [sample]
    return described


def changes_of(build: JsonSchema) -> dict[str, JsonSchema]:
    """Describe what is answered of changes: a preview, and a revision.

    :param build: as ``build_of`` describes it.
    """
    members = build["properties"]
    told: JsonSchema = {
        "build_id": members["id"],
        "actor": {"type": ["string", "null"], "description": "Who has made it."},
        "reason": {"type": ["string", "null"], "description": "Why."},
        "changes": {
            "type": "object",
            "description": "The members that differ.",
            "propertyNames": {"enum": [*members]},
            "additionalProperties": closed({"before": {}, "after": {}}),
        },
    }
    recorded: JsonSchema = {
        "id": {"type": "integer", "minimum": 1, "maximum": LAST},
        "build_id": told["build_id"],
        "at": {"type": "integer", "minimum": 0, "description": "UNIX epoch, in seconds."},
    }
    return {"Preview": closed(told), "Revision": closed(recorded | told)}


def closed(properties: JsonSchema) -> JsonSchema:
    """Describe an object that has all of these members, and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


_SENTENCE: JsonSchema = {"type": "string", "minLength": 1, "pattern": "^[^%]*$"}
_PROBLEMS: JsonSchema = {
    "type": "object",
    "description": "Every problem of every member.",
    "minProperties": 1,
    "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
}

#: What is the same for every host: the two forms of a refusal, and a body that says nothing.
OTHERS: dict[str, JsonSchema] = {
    "Refusal": closed({"error": _SENTENCE}),
    "InvalidBuild": closed({"error": _SENTENCE, "fields": _PROBLEMS}),
    "Nothing": closed({}),
}
