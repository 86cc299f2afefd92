"""The routes of a blueprint as an OpenAPI 3.1 document, made from them and from its schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import current_app
from werkzeug.routing import Rule

from .components import OTHERS, build_of, changes_of
from .converter import BuildConverter, JsonSchema
from .errors import ConfigurationError
from .operations import HEADERS, MEANINGS, OPERATIONS
from .parameters import Reader, Whole, boolean
from .responses import content, methods, ref, responses, without_content
from .views import READERS, REVISION

if TYPE_CHECKING:
    from .blueprint import BuildAdmin
    from .store import Contract

#: A bearer token (RFC 6750), as one of OpenAPI's Security Scheme Objects.
BEARER: Mapping[str, JsonSchema] = {"bearer": {"type": "http", "scheme": "bearer"}}

_NAME = "Flask-Build-Admin"
_TEXT: JsonSchema = {"type": "string"}

#: A variable part of a rule of the routing: ``<name>``, ``<int:name>``, ``<any("a", "b"):name>``.
_VARIABLE = re.compile(r"""<(?:\w+(?:\((?:"[^"]*"|'[^']*'|[^)"'])*\))?:)?(\w+)>""")


class _Plugin(MarshmallowPlugin):
    Converter = BuildConverter


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
    plugin = _Plugin()
    spec = APISpec(_NAME, version(_NAME), "3.1.0", plugins=[plugin], security=ways)
    for name, scheme in security.items():
        spec.components.security_scheme(name, dict(scheme))
    contract = blueprint.store.contract()
    converter: Any = plugin.converter
    build = build_of(converter, contract.build)
    for name, component in {"Build": build, **changes_of(build), **OTHERS}.items():
        spec.components.schema(name, component)
    describe = _Operations(blueprint, contract, build, converter.field2property(contract.reason))
    for name in names:
        rules = {
            route: rule
            for route in OPERATIONS
            for rule in current_app.url_map.iter_rules()
            if rule.endpoint == f"{name}.{route}"
        }
        named = {route: rule.endpoint for route, rule in rules.items()}
        for route, rule in rules.items():
            spec.path(_VARIABLE.sub(r"{\1}", rule.rule), operations=describe(route, rule, named))
    return spec.to_dict()


class _Operations:
    """Describes what the methods of a route do.

    :param blueprint: whose routes they are.
    :param contract: what it takes.
    :param build: the same of a build, as JSON Schema.
    :param reason: … and of a reason.
    """

    def __init__(
        self, blueprint: BuildAdmin, contract: Contract, build: JsonSchema, reason: JsonSchema
    ) -> None:
        self._require_if_match = blueprint.require_if_match
        self._foreign = sorted(blueprint.auth_parameters)
        build_id = build["properties"]["id"]
        #: What a parameter may be that is not the same for every host.
        self._schemas = {"build_id": build_id, "below": build_id, "reason": reason}
        #: What the host demands of a change.
        self._demanded = {"reason": contract.reason.required, "If-Match": self._require_if_match}

    def __call__(self, route: str, rule: Rule, named: Mapping[str, str]) -> JsonSchema:
        """Describe them, by the names of the methods.

        :param named: the ids of the operations that there are, by their routes.
        """
        variables = _VARIABLE.findall(rule.rule)
        described = self._described(route, variables, named)
        allowed = sorted(rule.methods or ())
        special = {
            "HEAD": described
            | {
                "operationId": f"{rule.endpoint}.head",
                "responses": without_content(described["responses"]),
            },
            "OPTIONS": {
                "operationId": f"{rule.endpoint}.options",
                "summary": "List the methods.",
                "security": [],
                # It reads nothing, and so it refuses nothing.
                "parameters": [_text("path", name, required=True) for name in variables],
                "responses": methods(allowed),
            },
        }
        return {method.lower(): special.get(method, described) for method in allowed}

    def _described(self, route: str, variables: list[str], named: Mapping[str, str]) -> JsonSchema:
        operation = OPERATIONS[route]
        described: JsonSchema = {
            "operationId": named[route],
            "summary": operation.summary,
            "parameters": [
                *(self._parameter("path", name, route) for name in variables),
                *(self._parameter("query", name, route) for name in READERS[route]),
                *(_text("query", name) for name in self._foreign),
                *(self._parameter("header", name, route) for name in operation.conditions),
            ],
            "responses": responses(operation, named, self._require_if_match),
        }
        if operation.body is not None:
            described["requestBody"] = {
                "content": content(ref(operation.body)),
                "required": operation.body_required,
            }
        return described

    def _parameter(self, place: str, name: str, route: str) -> JsonSchema:
        reader = REVISION if name == "revision_id" else READERS[route].get(name, str)
        changes = OPERATIONS[route].body is not None
        required = place == "path" or (changes and self._demanded.get(name, False))
        described = _text(place, name, required=required)
        described["schema"] = self._schemas.get(name, _read_by(reader))
        told = MEANINGS.get(f"{route}.{name}", MEANINGS.get(name, HEADERS.get(name)))
        return described | ({"description": told} if told else {})


def _text(place: str, name: str, *, required: bool = False) -> JsonSchema:
    """Describe a parameter of which nothing is known but its name."""
    return {"in": place, "name": name, "required": required, "schema": _TEXT}


def _read_by(reader: Reader) -> JsonSchema:
    """Describe the text of a parameter by what reads it."""
    if isinstance(reader, Whole):
        return {"type": "integer", "minimum": reader.least, "maximum": reader.most}
    return {"type": "boolean"} if reader is boolean else _TEXT
