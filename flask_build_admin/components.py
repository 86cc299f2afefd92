"""The JSON of the routes as JSON Schema, for the OpenAPI document: builds, changes, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marshmallow import RAISE

from .compiled import compiles
from .converter import BuildConverter, JsonSchema
from .history import LAST
from .model import member_of
from .schema import BuildSchema

#: The contract's sample build.
_SAMPLE: dict[str, Any] = json.loads(Path(__file__).with_name("octocat.json").read_text())


def build_of(converter: BuildConverter, schema: BuildSchema) -> JsonSchema:
    """Describe a whole build; with the contract's sample, where the schema is as plain."""
    described: JsonSchema = converter.schema2jsonschema(schema)  # type: ignore[no-untyped-call]
    members = {member_of(name, field): field for name, field in schema.fields.items()}
    # In the documented order, and what cannot be changed is sent back as well.
    described["required"] = [
        member for member, field in members.items() if field.required or field.dump_only
    ]
    described["additionalProperties"] = schema.unknown != RAISE
    sample = {member: _SAMPLE[member] for member in members if member in _SAMPLE}
    if compiles(schema) and not schema.validate(sample):
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
