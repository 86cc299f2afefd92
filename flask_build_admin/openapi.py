"""The routes of a blueprint as an OpenAPI 3.1 document, made from them and from its schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from apispec import APISpec
from flask import current_app
from werkzeug.routing import Rule

from .components import OTHERS, BuildConverter, JsonSchema, build_of, changes_of
from .errors import ConfigurationError
from .operations import ALWAYS, HEADER_OF, HEADERS, OPERATIONS, PARAMETERS, STATUSES, Operation
from .parameters import Reader, Whole, boolean
from .views import PARAMETERS as READERS
from .views import REVISION

if TYPE_CHECKING:
    from .blueprint import BuildAdmin

#: A bearer token (RFC 6750), as one of OpenAPI's Security Scheme Objects.
BEARER: Mapping[str, JsonSchema] = {"bearer": {"type": "http", "scheme": "bearer"}}

_NAME = "Flask-Build-Admin"
_OPENAPI = "3.1.0"
_NO_STORE: JsonSchema = {
    "Cache-Control": {"required": True, "schema": {"type": "string", "const": "no-store"}}
}


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
    paths = _Paths(blueprint, spec)
    for rule in current_app.url_map.iter_rules():
        registered, _, route = rule.endpoint.rpartition(".")
        if registered in names:
            paths.add(rule, route)
    return spec.to_dict()


class _Paths:
    """The paths of one document, and the components that they refer to.

    :param blueprint: whose paths they are.
    :param spec: the document.
    """

    def __init__(self, blueprint: BuildAdmin, spec: APISpec) -> None:
        self._blueprint = blueprint
        self._spec = spec
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

    def add(self, rule: Rule, route: str) -> None:
        """Describe one route with all its methods."""
        methods = sorted(rule.methods or ())
        operations = {
            method.lower(): self._operation(rule.endpoint, route, OPERATIONS[route], method)
            for method in methods
            if method != "OPTIONS"
        }
        allowed = {"description": ", ".join(methods), "headers": _headers({"Allow": True})}
        operations["options"] = {
            "operationId": f"{rule.endpoint}.options",
            "summary": "List the methods.",
            "security": [],
            "responses": {"200": allowed},
        }
        self._spec.path(
            re.sub("<(?:[^<>:]*:)?([^<>]*)>", r"{\1}", rule.rule),
            operations=operations,
            parameters=[self._parameter("path", name) for name in sorted(rule.arguments)],
        )

    def _operation(
        self, endpoint: str, route: str, operation: Operation, method: str
    ) -> JsonSchema:
        described: JsonSchema = {
            "operationId": f"{endpoint}.head" if method == "HEAD" else endpoint,
            "summary": operation.summary,
            "parameters": [
                *(self._parameter("query", name, route) for name in READERS[route]),
                *(
                    self._parameter("query", name)
                    for name in sorted(self._blueprint.auth_parameters)
                ),
                *(self._parameter("header", name, route) for name in operation.conditions),
            ],
            "responses": self._responses(operation),
        }
        if operation.body is not None:
            described["requestBody"] = {
                "content": _content(_ref(operation.body)),
                "required": operation.body_required,
            }
        if method == "HEAD":
            for response in described["responses"].values():
                response.pop("content", None)
        return described

    def _parameter(self, place: str, name: str, route: str = "") -> JsonSchema:
        reader = REVISION if name == "revision_id" else READERS.get(route, {}).get(name, str)
        changes = route in OPERATIONS and OPERATIONS[route].body is not None
        described = {
            "in": place,
            "name": name,
            "required": place == "path" or (changes and self._demanded.get(name, False)),
            "schema": self._schemas.get(name, _read_by(reader)),
        }
        told = PARAMETERS.get(f"{route}.{name}", PARAMETERS.get(name, HEADERS.get(name)))
        return described | ({"description": told} if told else {})

    def _responses(self, operation: Operation) -> JsonSchema:
        whole = _one_of(operation.answers)
        if operation.listed:
            whole = {"type": "array", "items": whole}
        done = {
            "description": operation.summary,
            "content": _content(whole),
            "headers": _headers(operation.headers),
        }
        statuses = [*ALWAYS, *operation.statuses]
        if operation.body is not None and self._blueprint.require_if_match:
            statuses.append(428)
        refused = {str(status): _refused(status, operation) for status in sorted(statuses)}
        return {"200": done, **refused}


def _refused(status: int, operation: Operation) -> JsonSchema:
    kept = {HEADER_OF[status]: True} if status in HEADER_OF else {}
    described = {"description": STATUSES[status], "headers": _headers(kept)}
    if status == 304:
        return described
    invalid = status == 400 and operation.body is not None
    forms = ("Refusal", "InvalidBuild") if invalid else ("Refusal",)
    return described | {"content": _content(_one_of(forms))}


def _headers(names: Mapping[str, bool]) -> JsonSchema:
    described = {
        name: {"description": HEADERS[name], "required": required, "schema": {"type": "string"}}
        for name, required in names.items()
    }
    return described if "Allow" in names else {**_NO_STORE, **described}


def _content(schema: JsonSchema) -> JsonSchema:
    return {"application/json": {"schema": schema}}


def _one_of(components: Sequence[str]) -> JsonSchema:
    refs = [_ref(name) for name in components]
    return refs[0] if len(refs) == 1 else {"oneOf": refs}


def _ref(component: str) -> JsonSchema:
    return {"$ref": f"#/components/schemas/{component}"}


def _read_by(reader: Reader) -> JsonSchema:
    """Describe the text of a parameter by what reads it."""
    if isinstance(reader, Whole):
        return {"type": "integer", "minimum": reader.least, "maximum": reader.most}
    return {"type": "boolean"} if reader is boolean else {"type": "string"}
