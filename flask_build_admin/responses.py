"""What a route answers, as OpenAPI's Response Objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .converter import JsonSchema
from .operations import ALWAYS, HEADER_OF, HEADERS, STATUSES, Operation

_NO_STORE: JsonSchema = {
    "Cache-Control": {"required": True, "schema": {"type": "string", "const": "no-store"}}
}


def responses(operation: Operation, named: Mapping[str, str], require_if_match: bool) -> JsonSchema:
    """Describe every answer of a route, by its status.

    :param named: the ids of the operations that there are, by their routes.
    :param require_if_match: whether a change without ``If-Match`` is refused.
    """
    whole = _one_of(operation.answers)
    done = {
        "description": operation.summary,
        "headers": _headers(operation.headers),
        "content": content({"type": "array", "items": whole} if operation.listed else whole),
        "links": {
            route: {"operationId": named[route], "parameters": {**parameters}}
            for route, parameters in operation.links.items()
            if route in named
        },
    }
    statuses = [*ALWAYS, *operation.statuses]
    if operation.body is not None and require_if_match:
        statuses.append(428)
    return {"200": done, **{str(one): _refused(one, operation) for one in sorted(statuses)}}


def without_content(described: JsonSchema) -> JsonSchema:
    """Describe the same answers to ``HEAD``."""
    kept = ("description", "headers")
    return {
        status: {name: response[name] for name in kept} for status, response in described.items()
    }


def methods(allowed: Sequence[str]) -> JsonSchema:
    """Describe the answer to ``OPTIONS``."""
    return {"200": {"description": ", ".join(allowed), "headers": _described({"Allow": True})}}


def content(schema: JsonSchema) -> JsonSchema:
    """Describe a body, of a request or of an answer."""
    return {"application/json": {"schema": schema}}


def ref(component: str) -> JsonSchema:
    """Refer to a schema among the components."""
    return {"$ref": f"#/components/schemas/{component}"}


def _refused(status: int, operation: Operation) -> JsonSchema:
    kept = {HEADER_OF[status]: True} if status in HEADER_OF else {}
    described = {"description": STATUSES[status], "headers": _headers(kept)}
    if status == 304:
        return described
    invalid = status == 400 and operation.body is not None
    forms = ("Refusal", "InvalidBuild") if invalid else ("Refusal",)
    return described | {"content": content(_one_of(forms))}


def _headers(names: Mapping[str, bool]) -> JsonSchema:
    return {**_NO_STORE, **_described(names)}


def _described(names: Mapping[str, bool]) -> JsonSchema:
    return {
        name: {"description": HEADERS[name], "required": required, "schema": {"type": "string"}}
        for name, required in names.items()
    }


def _one_of(components: Sequence[str]) -> JsonSchema:
    refs = [ref(name) for name in components]
    return refs[0] if len(refs) == 1 else {"oneOf": refs}
