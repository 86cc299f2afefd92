"""The routes of a blueprint as an OpenAPI 3.1 document, made from them and from its schema."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from apispec import APISpec
from flask import current_app
from werkzeug.routing import Rule

from .components import OTHERS, BuildConverter, JsonSchema, build_of, changes_of
from .errors import ConfigurationError
from .operations import HEADERS, OPERATIONS, PARAMETERS
from .parameters import Reader, Whole, boolean
from .responses import content, methods, ref, responses, without_content
from .views import PARAMETERS as READERS
from .views import REVISION

if TYPE_CHECKING:
    from .blueprint import BuildAdmin

#: A bearer token (RFC 6750), as one of OpenAPI's Security Scheme Objects.
BEARER: Mapping[str, JsonSchema] = {"bearer": {"type": "http", "scheme": "bearer"}}

_NAME = "Flask-Build-Admin"
_OPENAPI = "3.1.0"
_TEXT: JsonSchema = {"type": "string"}


def openapi(
    blueprint: BuildAdmin, *, security: Mapping[str, JsonSchema] = BEARER
) -> dict[str, Any]:
    """Describe the routes of a blueprint, as the current app has them.

    The limits of the members are those of the host's columns, on the database that is in use.

    :param blueprint: registered on the current app.
    :param security: the ways in which the host authenticates, as OpenAPI's Security Scheme Objects
        by name; any one of them suffices.
    :returns: an OpenAPI 3.1 document.
    :raises ConfigurationError: the blueprint is not registered on the current app.
    """
    names = [name for name, one in current_app.blueprints.items() if one is blueprint]
    if not names:
        raise ConfigurationError(
            f"{blueprint.name} is not registered on {current_app.name}: register it first, then"
            " describe it."
        )
    ways: list[dict[str, list[str]]] = [{name: []} for name in security]
    spec = APISpec(_NAME, version(_NAME), _OPENAPI, security=ways)
    for name, scheme in security.items():
        spec.components.security_scheme(name, dict(scheme))
    routes = [
        rule
        for rule in current_app.url_map.iter_rules()
        if rule.endpoint.rpartition(".")[0] in names
    ]
    paths = _Paths(blueprint, spec, {rule.endpoint for rule in routes})
    for rule in routes:
        paths.add(rule)
    return spec.to_dict()


class _Paths:
    """The paths of one document, and the components that they refer to.

    :param blueprint: whose paths they are.
    :param spec: the document.
    :param endpoints: of all of them.
    """

    def __init__(self, blueprint: BuildAdmin, spec: APISpec, endpoints: Collection[str]) -> None:
        self._blueprint = blueprint
        self._spec = spec
        self._endpoints = endpoints
        contract = blueprint.store.contract()
        converter = BuildConverter(_OPENAPI, lambda schema: None, spec)
        build = build_of(converter, contract.build)
        for name, component in {"Build": build, **changes_of(build), **OTHERS}.items():
            spec.components.schema(name, component)
        #: What a parameter may be that is not the same for every host.
        self._schemas = {
            "build_id": build["properties"]["id"],
            "below": build["properties"]["id"],
            "reason": converter.field2property(contract.reason),
        }
        #: What the host demands of a change.
        self._demanded = {
            "reason": contract.reason.required,
            "If-Match": blueprint.require_if_match,
        }

    def add(self, rule: Rule) -> None:
        """Describe one route with all its methods."""
        registered, _, route = rule.endpoint.rpartition(".")
        operation = OPERATIONS[route]
        segments = sorted(rule.arguments)
        named = {
            one: f"{registered}.{one}"
            for one in OPERATIONS
            if f"{registered}.{one}" in self._endpoints
        }
        described: JsonSchema = {
            "operationId": rule.endpoint,
            "summary": operation.summary,
            "parameters": [
                *(self._parameter("path", name, route) for name in segments),
                *(self._parameter("query", name, route) for name in READERS[route]),
                *(_parameter("query", name) for name in sorted(self._blueprint.auth_parameters)),
                *(self._parameter("header", name, route) for name in operation.conditions),
            ],
            "responses": responses(operation, named, self._blueprint.require_if_match),
        }
        if operation.body is not None:
            described["requestBody"] = {
                "content": content(ref(operation.body)),
                "required": operation.body_required,
            }
        head = {
            "operationId": f"{rule.endpoint}.head",
            "responses": without_content(described["responses"]),
        }
        options = {
            "operationId": f"{rule.endpoint}.options",
            "summary": "List the methods.",
            "security": [],
            # It reads nothing, and so it refuses nothing.
            "parameters": [_parameter("path", name, required=True) for name in segments],
            "responses": methods(sorted(rule.methods or ())),
        }
        by_method = {"HEAD": described | head, "OPTIONS": options}
        self._spec.path(
            re.sub("<(?:[^<>:]*:)?([^<>]*)>", r"{\1}", rule.rule),
            operations={
                method.lower(): by_method.get(method, described)
                for method in sorted(rule.methods or ())
            },
        )

    def _parameter(self, place: str, name: str, route: str) -> JsonSchema:
        reader = REVISION if name == "revision_id" else READERS[route].get(name, str)
        changes = OPERATIONS[route].body is not None
        required = place == "path" or (changes and self._demanded.get(name, False))
        schema = self._schemas.get(name, _read_by(reader))
        described = _parameter(place, name, required=required, schema=schema)
        told = PARAMETERS.get(f"{route}.{name}", PARAMETERS.get(name, HEADERS.get(name)))
        return described | ({"description": told} if told else {})


def _parameter(
    place: str, name: str, *, required: bool = False, schema: JsonSchema = _TEXT
) -> JsonSchema:
    return {"in": place, "name": name, "required": required, "schema": schema}


def _read_by(reader: Reader) -> JsonSchema:
    """Describe the text of a parameter by what reads it."""
    if isinstance(reader, Whole):
        return {"type": "integer", "minimum": reader.least, "maximum": reader.most}
    return {"type": "boolean"} if reader is boolean else _TEXT
