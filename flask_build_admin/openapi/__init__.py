"""The routes of a blueprint as an OpenAPI 3.1 document; it needs apispec, the extra ``openapi``."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import RAISE, Schema, fields
from werkzeug.routing import Rule

from ..schema import BuildSchema
from .converter import BuildConverter
from .document import LINKS, METHODS, OPERATIONS, OPTIONS, SCHEMAS, JsonSchema, parameter, ref

_NAME = "Flask-Build-Admin"

#: The contract's sample build.
_SAMPLE: JsonSchema = json.loads(Path(__file__).with_name("octocat.json").read_text())

#: A variable part of a rule: ``<name>``, ``<int:name>``, ``<any("a", "b"):name>``.
_VARIABLE = re.compile(r"""<(?:\w+(?:\((?:"[^"]*"|'[^']*'|[^)"'])*\))?:)?(\w+)>""")


def describe(
    rules: Sequence[Rule],
    *,
    build: BuildSchema,
    reason: fields.String,
    parameters: Mapping[str, Schema],
    filters: Mapping[str, Collection[str]],
    auth_parameters: Collection[str],
    require_if_match: bool,
    security: Mapping[str, JsonSchema] | None,
    server: str,
) -> dict[str, Any]:
    """Describe the routes of one blueprint, in all its registrations.

    :param rules: of the routing; the last part of an endpoint is the name of its route.
    :param build: the schema of a build, with the limits of its columns on the database in use.
    :param reason: the field of a reason, likewise; required if a change needs one.
    :param parameters: the schema of the query of each route.
    :param filters: the members of a build that are parameters of a route, too.
    :param auth_parameters: names of the query parameters that the host's auth reads.
    :param require_if_match: whether a change without ``If-Match`` is refused.
    :param security: the ways to authenticate, as OpenAPI's Security Scheme Objects by name, any one
        of which suffices; None: a bearer token (RFC 6750).
    :param server: the URL to which the paths are appended.
    :returns: an OpenAPI 3.1 document.
    """
    plugin = MarshmallowPlugin()
    plugin.Converter = BuildConverter
    bearer = {"bearer": {"type": "http", "scheme": "bearer"}}
    schemes = bearer if security is None else security
    options = {"servers": [{"url": server}], "security": [{name: []} for name in schemes]}
    spec = APISpec(_NAME, version(_NAME), "3.1.0", plugins=[plugin], **options)
    spec.components.security_schemes.update(schemes)
    converter: Any = plugin.converter
    spec.components.schemas.update(SCHEMAS)  # before those that a field of the build nests
    described = _build(converter, build)
    spec.components.schemas.update(Build=described, BuildId=described["properties"]["id"])
    why = {"schema": converter.field2property(reason), "required": reason.required}
    known: dict[tuple[str, str], JsonSchema] = {
        ("path", "build_id"): {"schema": ref("BuildId")},
        ("path", "revision_id"): {"schema": ref("RevisionId")},
        ("query", "reason"): why,
    }
    endpoints = {rule.endpoint for rule in rules}
    for rule in rules:
        registration, _, route = rule.endpoint.rpartition(".")
        method, operation = METHODS.get(route, "get"), OPERATIONS[route]
        known["query", "below"] = {"schema": ref("BuildId" if route == "queue" else "RevisionId")}
        known["header", "If-Match"] = {"required": require_if_match and method != "get"}
        variables = [parameter("path", name) for name in _VARIABLE.findall(rule.rule)]
        listed = [
            *variables,
            *converter.schema2parameters(parameters[route], location="query"),
            *(
                parameter("query", name, schema=described["properties"][name])
                for name in filters.get(route, ())
                if name not in parameters[route].fields
            ),
            *(parameter("query", name) for name in sorted(auth_parameters)),
            *operation["parameters"],
        ]
        links = {
            name: {"operationId": f"{registration}.{name}", "parameters": given}
            for name, given in LINKS.get(route, {}).items()
            if f"{registration}.{name}" in endpoints
        }
        responses = {**operation["responses"]}
        if not require_if_match:
            responses.pop("428", None)
        head = {status: one | {"content": {}} for status, one in responses.items()}
        operation = operation | {
            "operationId": rule.endpoint,
            "parameters": [one | known.get((one["in"], one["name"]), {}) for one in listed],
            "responses": responses | {"200": responses["200"] | {"links": links}},
        }
        options = {"operationId": f"{rule.endpoint}.options", "parameters": variables}
        operations = {method: operation, "options": OPTIONS | options}
        if method == "get":
            bare = {"operationId": f"{rule.endpoint}.head", "responses": head}
            operations["head"] = operation | bare
        spec.path(_VARIABLE.sub(r"{\1}", rule.rule), operations=operations)
    return deepcopy(spec.to_dict())


def _build(converter: Any, schema: BuildSchema) -> JsonSchema:
    """Describe a build, with the contract's sample if the schema is the contract's own."""
    members = {field.data_key or name: field for name, field in schema.fields.items()}
    described: JsonSchema = converter.schema2jsonschema(schema)
    # In the order of the schema. A member that cannot be changed is sent back all the same.
    described["required"] = [m for m, field in members.items() if field.required or field.dump_only]
    described["additionalProperties"] = schema.unknown != RAISE
    if type(schema) is BuildSchema and not schema.validate(_SAMPLE):
        described["examples"] = [_SAMPLE]
    return described
