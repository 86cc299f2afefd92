"""The routes as OpenAPI 3.1 describes them, as far as they are the same on every host.

Source: docs/contract.md.
"""

from typing import Any

JsonSchema = dict[str, Any]

_TEXT: JsonSchema = {"type": "string"}


def ref(*schemas: str) -> JsonSchema:
    """Refer to a schema of the components, or to exactly one of several."""
    refs = [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]
    return {"oneOf": refs} if len(refs) > 1 else {**refs[0]}


def parameter(place: str, name: str, **known: Any) -> JsonSchema:
    """Describe a parameter; it is any text unless its ``schema`` is known."""
    return {"in": place, "name": name, "required": place == "path", "schema": _TEXT} | known


def _object(**members: JsonSchema) -> JsonSchema:
    """Describe an object; a member with "?" may be missing."""
    properties = {name.rstrip("?"): schema for name, schema in members.items()}
    closed = {
        "required": [name for name in members if name in properties],
        "additionalProperties": False,
    }
    return {"type": "object", "properties": properties, **closed}


_ERROR = {"type": "string", "minLength": 1, "pattern": "^[^%]*$"}
_PROBLEMS = {"type": "array", "items": _TEXT, "minItems": 1}
_FIELDS = {"type": "object", "minProperties": 1, "additionalProperties": _PROBLEMS}
_CHANGES = {"type": "object", "additionalProperties": _object(before={}, after={})}
_PREVIEW: JsonSchema = {
    "build_id": ref("BuildId"),
    "actor": {"type": ["string", "null"], "description": "Who made the change."},
    "reason": {"type": ["string", "null"], "description": "Why."},
    "changes": _CHANGES | {"description": "The members that differ."},
}
_WARNINGS = {
    "type": "array",
    "items": _object(members={"type": "array", "items": _TEXT, "minItems": 1}, warning=_TEXT),
    "description": "Contradictions in the build after the change.",
}
_OUTSIDE = {"description": "What was changed outside before the next revision, or until now."}
_OVERWRITTEN = {"description": "With overwritten=true: the members that somebody else overwrote."}
_SECONDS = {"type": "integer", "minimum": 0, "description": "UNIX epoch, in seconds."}

_BATCH = {"type": ["string", "null"], "description": "What the changes of a batch have in common."}
_MESSAGE = {
    "type": ["string", "null"],
    "pattern": r"^[^\u0000]*$",
    "description": "The error that the builds get.",
}

#: Schemas of the components. ``Build`` and ``BuildId`` depend on the host.
SCHEMAS: dict[str, JsonSchema] = {
    "Build": {},
    "BuildId": {},
    "Preview": _object(**_PREVIEW, warnings=_WARNINGS),
    "Revision": _object(
        **{"id": ref("RevisionId"), "at": _SECONDS, "batch": _BATCH, **_PREVIEW},
        **{"changed_outside": _CHANGES | _OUTSIDE, "overwritten?": _CHANGES | _OVERWRITTEN},
    ),
    "Message": {
        "type": "object",
        "properties": {"error": _MESSAGE, "message": _MESSAGE},
        # Not both; null is as good as none.
        "not": {"properties": {"error": _TEXT, "message": _TEXT}, "required": ["error", "message"]},
        "additionalProperties": False,
    },
    "UndoneBatch": _object(
        undone={"type": "integer", "minimum": 0},
        left={
            "type": "array",
            "items": _object(build_id={}, revision=ref("RevisionId"), error=_ERROR),
        },
    ),
    "RevisionId": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
    "InvalidBuild": _object(error=_ERROR, fields=_FIELDS),
    "Refusal": _object(error=_ERROR),
    "Nothing": _object(),
}

_REFUSAL = ref("Refusal")
_OF_STORED = ("Content-Location?", "ETag?")
_NO_STORE: JsonSchema = {"required": True, "schema": {"type": "string", "const": "no-store"}}

#: By their statuses, and by a word where a status has several. A header with "?" may be missing.
_RESPONSES: dict[str, JsonSchema] = {
    name: {
        "description": description,
        "headers": {
            "Cache-Control": _NO_STORE,
            **{one.rstrip("?"): {"required": one[-1] != "?", "schema": _TEXT} for one in headers},
        },
        "content": {"application/json": {"schema": schema}} if schema else {},
    }
    for name, description, schema, *headers in (
        ("200 build", "The build.", ref("Build"), "ETag"),
        ("200 change", "The build, or a preview.", ref("Build", "Preview"), *_OF_STORED),
        ("200 queue", "The builds.", {"type": "array", "items": ref("Build")}, "Link?"),
        ("200 revisions", "The revisions.", {"type": "array", "items": ref("Revision")}, "Link?"),
        ("200 clean", "What was done, in words.", _TEXT, "Content-Location?"),
        ("200 batch", "What was undone.", ref("UndoneBatch"), "Content-Location?"),
        ("304", "The build is one of If-None-Match.", None, "ETag"),
        ("400", "A parameter or a precondition is not of its form.", _REFUSAL),
        ("400 change", "The request or the build is invalid.", ref("InvalidBuild", "Refusal")),
        ("401", "The host's authentication refuses the request.", _REFUSAL, "WWW-Authenticate"),
        ("404", "There is no such build, or it has no such revision.", _REFUSAL),
        ("404 batch", "There is no such batch.", _REFUSAL),
        (
            "409",
            "The database refuses the build, or the build changed since the revision.",
            _REFUSAL,
        ),
        ("412", "The build is none of If-Match, or one of If-None-Match.", _REFUSAL),
        ("413", "The body is too long.", _REFUSAL),
        ("415", "The body is not application/json in UTF-8.", _REFUSAL),
        ("428", "If-Match is required.", _REFUSAL),
        ("429", "The server had too many requests.", _REFUSAL),
        ("500", "The server failed to handle the request.", _REFUSAL),
        ("503", "The database is locked or gone: try again.", _REFUSAL, "Retry-After"),
    )
}
_CHANGE = ("200 change", "400 change", "404", "409", "412", "413", "415", "428")
_MANY = ("400 change", "413", "415")
_CONDITIONS = [
    parameter("header", "If-Match", description="Entity tags (RFC 9110, section 13.1.1)."),
    parameter("header", "If-None-Match", description="Entity tags (RFC 9110, section 13.1.2)."),
]


def _operation(summary: str, *responses: str, body: str | None = None) -> JsonSchema:
    names = ("400", "401", "429", "500", "503", *responses)
    operation: JsonSchema = {
        "summary": summary,
        "parameters": _CONDITIONS if "412" in names else [],
        "responses": {name[:3]: _RESPONSES[name] for name in names},
    }
    if body is not None:
        content = {"application/json": {"schema": ref(body)}}
        operation["requestBody"] = {"content": content, "required": body == "Build"}
    return operation


#: What each route does, on a host that demands ``If-Match``.
OPERATIONS: dict[str, JsonSchema] = {
    "overwrite": _operation("Overwrite a whole build.", *_CHANGE, body="Build"),
    "fetch": _operation("Fetch a build, as it can be put back.", "200 build", "304", "404", "412"),
    "queue": _operation("List the unfinished builds, the newest first.", "200 queue", "404"),
    "clean": _operation("Finish unfinished builds.", "200 clean", *_MANY, body="Message"),
    "revisions": _operation("List the changes, the newest first.", "200 revisions", "404"),
    "undo": _operation("Undo what one revision changed.", *_CHANGE, body="Nothing"),
    "all_revisions": _operation("List the changes of all builds.", "200 revisions"),
    "undo_batch": _operation(
        "Undo what a batch changed.", "200 batch", *_MANY, "404 batch", body="Nothing"
    ),
}

#: The methods of the routes that change a build; those of the others are GET and HEAD.
METHODS = {"overwrite": "put", "clean": "put", "undo": "post", "undo_batch": "post"}

_ALLOW = {"Allow": {"required": True, "schema": _TEXT}}

#: What every path has in addition.
OPTIONS: JsonSchema = {
    "summary": "List the methods.",
    "security": [],
    "responses": {"200": {"description": "The methods.", "headers": _ALLOW}},
}

_SENT, _SAME = {"build_id": "$request.body#/id"}, {"build_id": "$request.path.build_id"}

#: The routes that a 200 leads to, with their parameters.
LINKS: dict[str, dict[str, JsonSchema]] = {
    "overwrite": {"fetch": _SENT, "revisions": _SENT},
    "fetch": {"overwrite": {"If-Match": "$response.header.ETag"}, "revisions": _SAME},
    "undo": {"fetch": _SAME, "revisions": _SAME},
}
