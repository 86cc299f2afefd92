"""The OpenAPI document says what the routes do."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask, g, request
from jsonschema import Draft202012Validator
from marshmallow import Schema, fields, pre_load, validate
from openapi_spec_validator import validate as validate_document

from flask_build_admin import (
    BuildAdmin,
    BuildSchema,
    Choice,
    Flag,
    Text,
    UnixTime,
    WholeNumber,
)
from flask_build_admin.exceptions import ConfigurationError
from flask_build_admin.store.limits import Utf8Length
from tests.support.hosts import ADMIN, OCTOCAT, BuildRevision, Host, Status, model_of, token_auth

PREFIX = "/api/v1/admin"


def described(host: Host, **options: Any) -> dict[str, Any]:
    with host.app.app_context():
        document = host.blueprint.openapi(**options)
    validate_document(json.loads(json.dumps(document)))
    return document


def build_of(document: dict[str, Any]) -> Any:
    return document["components"]["schemas"]["Build"]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method, operation


def test_every_route_and_method_is_described(kept: Host) -> None:
    document = described(kept)
    found = {(path, method.upper()) for path, method, _ in operations(document)}
    rules = [
        rule
        for rule in kept.app.url_map.iter_rules()
        if rule.endpoint not in ("static", "build_admin.unknown_path")
        and not rule.endpoint.endswith(("_method_not_allowed", "_websocket"))
    ]
    assert len(rules) == 8
    assert found == {
        (str(rule).replace("<", "{").replace(">", "}"), method)
        for rule in rules
        for method in rule.methods or ()
    }
    named = [operation["operationId"] for *_, operation in operations(document)]
    assert len({*named}) == len(named) == 20


def test_the_limits_are_those_of_the_columns(hosted: Host) -> None:
    build = build_of(described(hosted))
    members = build["properties"]
    sqlite = hosted.engine.dialect.name == "sqlite"
    most = 2**63 - 1 if sqlite else 2**31 - 1
    assert members["number"] == {"type": "integer", "minimum": 1, "maximum": most}
    assert members["finished"] == {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    assert (members["status"]["minLength"], members["status"]["maxLength"]) == (1, 20)
    assert members["message"].get("maxLength") == (
        2**16 - 1 if hosted.engine.dialect.name in ("mysql", "mariadb") else None
    )
    assert list(members) == build["required"] == list(OCTOCAT)
    assert build["additionalProperties"] is False


@pytest.mark.parametrize(
    ("changed", "valid"),
    [
        ({}, True),
        ({"title": "a\ud7ff\nb"}, True),
        ({"title": "a\0b"}, False),
        ({"status": ""}, False),
        ({"status": "x" * 21}, False),
        ({"id": 0}, False),
        ({"finished": -1}, False),
        ({"finished": 2**63}, False),
        ({"finished": None}, False),
        ({"beyond": 1}, False),
    ],
)
def test_the_sample_is_a_build_and_what_is_refused_is_none(
    host: Host, changed: dict[str, Any], valid: bool
) -> None:
    build = build_of(described(host))
    assert build["examples"] == [OCTOCAT]
    document = OCTOCAT | changed
    assert Draft202012Validator(build).is_valid(document) is valid
    assert host.put(document).status_code == (200 if valid else 400)


class OtherSchema(BuildSchema):
    class Meta:
        exclude = ("distribution",)

    finished = UnixTime(attribute="finished_at")
    status = fields.Enum(Status, by_value=True, required=True)
    runtime = fields.Constant("docker", dump_only=True)
    author = Text(dump_only=True)
    ref = Text(validate=validate.Regexp("refs/pull/"))
    priority = fields.Integer(strict=True, allow_none=True, validate=validate.Range(0, 9))


def test_the_document_follows_the_schema_of_the_host(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    model = model_of(
        "distribution",
        "finished",
        "runtime",
        status=sa.Column(sa.Enum(Status)),
        finished_at=sa.Column(sa.DateTime),
        priority=sa.Column(sa.Integer),
    )
    row = {name: OCTOCAT[name] for name in OCTOCAT if hasattr(model, name)}
    row |= {"status": Status.RUNNING, "ref": "refs/pull/1"}
    host = make_host(sqlite_url, model=model, schema=OtherSchema, rows=[row])
    build = build_of(described(host))
    members = build["properties"]
    assert members["finished"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 253_402_300_799,
    }
    assert members["status"]["enum"] == [one.value for one in Status]
    assert members["runtime"]["const"] == "docker"
    assert members["author"]["description"] == "Cannot be changed: send it back."
    assert not any("readOnly" in one for one in members.values())
    assert {"pattern": "^(?:refs/pull/)"} in members["ref"]["allOf"]
    assert members["priority"]["type"] == ["integer", "null"]
    assert members["priority"]["maximum"] == 9
    assert build["required"] == [name for name in members if name != "priority"]
    assert "distribution" not in members
    assert "examples" not in build  # the ref of the sample is none there
    fetched = host.get().json
    Draft202012Validator(build).validate(fetched)
    assert host.put(fetched).json == fetched


class Repo(Schema):
    name = fields.String(required=True)
    parent = fields.Nested(lambda: Repo(), allow_none=True)


class Spelled(fields.Integer):
    """It can show nothing but a value of its kind."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError


PROTECTED = {"description": "Cannot be changed: send it back."}
DATE = {"type": "string", "format": "date"}
NULL_BYTE = {"pattern": r"^[^\u0000]*$"}
PROPERTIES: dict[str, tuple[fields.Field[Any], dict[str, Any]]] = {
    "of_its_own": (
        Spelled(validate=validate.Range(0, 1)),
        {"type": "integer", "minimum": 0, "maximum": 1},
    ),
    "protected": (fields.Boolean(dump_only=True), PROTECTED | {"type": ["boolean", "null"]}),
    "number_as_text": (WholeNumber(as_string=True), {"type": "string"}),
    "beyond": (
        WholeNumber(validate=validate.Range(0, 9, min_inclusive=False, max_inclusive=False)),
        {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9},
    ),
    "time": (
        UnixTime(allow_none=True, validate=[validate.Range(max=9)]),
        {"type": ["integer", "null"], "minimum": 0, "maximum": 9},
    ),
    "enum": (
        fields.Enum(Status, by_value=True, dump_only=True, metadata={"description": "What."}),
        {
            "enum": [*(one.value for one in Status), None],
            "description": "What. Cannot be changed: send it back.",
        },
    ),
    "choice": (Text(validate=validate.OneOf(["a", "b"])), NULL_BYTE | {"enum": ["a", "b"]}),
    "word": (Choice({"a": 1, "b": None}), {"type": "string", "enum": ["a", "b"]}),
    "word_or_null": (
        Choice({"a": 1}, allow_none=True),
        {"type": ["string", "null"], "enum": ["a", None]},
    ),
    "protected_word": (
        Choice({"a": 1}, dump_only=True),
        PROTECTED | {"type": "string", "enum": ["a"]},
    ),
    "flag": (Flag(), {"type": "boolean"}),
    "protected_flag": (Flag(dump_only=True), PROTECTED | {"type": "boolean"}),
    "dates": (
        fields.Date(required=True, validate=validate.OneOf([date(2020, 1, 1)])),
        DATE,
    ),
    "some_of": (
        fields.List(fields.String(), validate=validate.ContainsOnly(["a"])),
        {"type": "array", "items": {"type": "string"}},
    ),
    "two_forms": (
        Text(validate=[validate.Regexp("a"), validate.Regexp("[ab]*$")]),
        {"allOf": [NULL_BYTE, {"pattern": "^(?:a)"}, {"pattern": "^(?:[ab]*$)"}]},
    ),
    "other_forms": (
        Text(validate=[validate.Regexp("a", re.IGNORECASE), validate.Regexp(r"a\Z")]),
        NULL_BYTE,
    ),
    "mapping": (
        fields.Dict(validate=validate.Length(max=3)),
        {"type": "object", "maxProperties": 3, "additionalProperties": {}},
    ),
    "bytes": (
        Text(validate=[Utf8Length(50), validate.Length(max=60)], dump_only=False),
        NULL_BYTE | {"maxLength": 50, "description": "At most 50 bytes in UTF-8."},
    ),
    "said": (
        Text(load_default="x", required=False, metadata={"readOnly": True, "title": "Said"}),
        NULL_BYTE | {"title": "Said"},
    ),
    "formatted": (fields.DateTime(format="%Y"), {"type": "string"}),
    "nested": (fields.Nested(Repo), {"$ref": "#/components/schemas/Repo"}),
    "protected_nested": (
        fields.Nested(Repo, dump_only=True),
        PROTECTED | {"anyOf": [{"$ref": "#/components/schemas/Repo"}, {"type": "null"}]},
    ),
    "equal": (fields.Date(validate=validate.Equal(date(2020, 1, 1))), DATE),
}


@pytest.mark.parametrize(("field", "told"), PROPERTIES.values(), ids=list(PROPERTIES))
def test_a_member_is_described_as_it_is_taken(
    make_host: Callable[..., Host], sqlite_url: str, field: fields.Field[Any], told: dict[str, Any]
) -> None:
    schema: Any = type("Schema", (BuildSchema,), {"title": field})
    model = model_of("title", title=sa.Column(sa.JSON))
    host = make_host(sqlite_url, model=model, schema=schema)
    described_field = build_of(described(host))["properties"]["title"]
    if "type" not in told and isinstance(field, fields.String):
        told = {"type": "string"} | told
    assert described_field == told


def test_no_code_of_the_host_is_run(make_host: Callable[..., Host], sqlite_url: str) -> None:
    class Hooked(BuildSchema):
        @pre_load
        def remember(self, data: Any, **options: Any) -> Any:
            g.path = request.path
            return data

    host = make_host(sqlite_url, schema=Hooked)
    assert host.put(OCTOCAT).status_code == 200
    assert "examples" not in build_of(described(host))


def test_a_route_of_the_hosts_own_is_not_described(host: Host) -> None:
    blueprint = BuildAdmin(
        host.model, host.session, token_auth().login_required(role="admin"), name="own"
    )
    blueprint.add_url_rule("/health", "health", lambda: "well")
    app = Flask("own")
    app.register_blueprint(
        blueprint,
        url_prefix="""/<any("a>b", 'c)'):kind>/<int(min=1):shard>""",
        url_defaults={"tenant": 1},
    )
    with app.app_context():
        document = blueprint.openapi()
    validate_document(json.loads(json.dumps(document)))
    paths = ["build", "build/{build_id}", "builds/queue", "clean"]
    assert [*document["paths"]] == [f"/{{kind}}/{{shard}}/{path}" for path in paths]


def test_what_a_host_has_not_is_not_described(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    document = described(make_host(sqlite_url, queue_statuses=()))
    assert [*document["paths"]] == [f"{PREFIX}/build", f"{PREFIX}/build/{{build_id}}"]
    put = document["paths"][f"{PREFIX}/build"]["put"]
    assert [*put["responses"]["200"]["links"]] == ["fetch"]


def test_a_clean_that_no_build_can_have_is_not_described(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    host = make_host(sqlite_url, queue_statuses=("running", "error"))
    paths = [f"{PREFIX}/{path}" for path in ("build", "build/{build_id}", "builds/queue")]
    assert [*described(host)["paths"]] == paths
    assert host.client.put(f"{PREFIX}/clean", headers=ADMIN).status_code == 404


def test_what_a_host_demands_is_required(make_host: Callable[..., Host], sqlite_url: str) -> None:
    plain = described(make_host(sqlite_url, history=BuildRevision))
    demanding = described(
        make_host(
            sqlite_url,
            history=BuildRevision,
            require_if_match=True,
            require_reason=True,
            auth_parameters=["api_key"],
        )
    )
    for document, demanded in ((plain, False), (demanding, True)):
        for _, method, operation in operations(document):
            required = {one["name"]: one["required"] for one in operation.get("parameters", [])}
            assert ("api_key" in required) is (demanded and method != "options")
            changes = method in ("put", "post")
            of_one = changes and "If-Match" in required
            assert ("428" in operation["responses"]) is (demanded and of_one)
            if changes:
                assert required["reason"] is required.get("If-Match", demanded) is demanded
                assert required["dry_run"] is False
            elif "If-Match" in required:
                assert required["If-Match"] is False
    [reason] = [
        one["schema"]
        for one in plain["paths"][f"{PREFIX}/build"]["put"]["parameters"]
        if one["name"] == "reason"
    ]
    judge = Draft202012Validator(reason)
    told = [
        "lost",
        " lost",
        "x" * 1000,
        "\u200b🏴",
        "x" * 1001,
        "",
        " ",
        "a\0b",
        "\u200b",
        "\U000e0067",
    ]
    assert [judge.is_valid(one) for one in told] == [True] * 4 + [False] * 6


def test_the_members_that_builds_are_filtered_by_are_described(kept: Host) -> None:
    document = described(kept)
    members = document["components"]["schemas"]["Build"]["properties"]
    for path, method in (("builds/queue", "get"), ("clean", "put")):
        parameters = document["paths"][f"{PREFIX}/{path}"][method]["parameters"]
        schemas = {one["name"]: one["schema"] for one in parameters}
        assert len(schemas) == len(parameters)
        assert {name: schemas[name] for name in members} == members
    of_put = document["paths"][f"{PREFIX}/build"]["put"]["parameters"]
    assert not {*members} & {one["name"] for one in of_put}


def test_the_numbers_of_parameters_have_their_bounds(kept: Host) -> None:
    document = described(kept)
    queue = document["paths"][f"{PREFIX}/builds/queue"]["get"]["parameters"]
    bounds = {
        one["name"]: (one["schema"]["minimum"], one["schema"]["maximum"])
        for one in queue
        if one["name"] not in OCTOCAT and one["schema"].get("type") == "integer"
    }
    assert bounds == {
        "limit": (1, 1000),
        "after": (0, 253_402_300_799),
        "before": (1, 253_402_300_799),
        "idle_before": (1, 253_402_300_799),
        "page": (1, 1_000_000),
        "per_page": (1, 1000),
    }
    schemas = document["components"]["schemas"]
    assert schemas["BuildId"] == schemas["Build"]["properties"]["id"]
    of_build = {"$ref": "#/components/schemas/BuildId"}
    assert next(one for one in queue if one["name"] == "below")["schema"] == of_build
    changes = document["paths"][f"{PREFIX}/revisions"]["get"]["parameters"]
    of_revision = {"$ref": "#/components/schemas/RevisionId"}
    assert next(one for one in changes if one["name"] == "below")["schema"] == of_revision
    undo = document["paths"][f"{PREFIX}/build/{{build_id}}/revisions/{{revision_id}}/undo"]
    assert [one["schema"] for one in undo["post"]["parameters"] if one["in"] == "path"] == [
        of_build,
        {"$ref": "#/components/schemas/RevisionId"},
    ]
    assert schemas["RevisionId"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    assert document["paths"][f"{PREFIX}/build"]["put"]["requestBody"]["required"] is True
    assert undo["post"]["requestBody"]["required"] is False


def test_answers_are_as_described(kept: Host) -> None:
    document = described(kept)

    def conforms(answer: Any, path: str, method: str) -> None:
        operation = document["paths"][f"{PREFIX}{path}"][method]
        response = operation["responses"][str(answer.status_code)]
        schema = response["content"]["application/json"]["schema"]
        Draft202012Validator(schema | {"components": document["components"]}).validate(answer.json)
        for name, header in response["headers"].items():
            assert name in answer.headers or not header["required"]

    one, undo = "/build/{build_id}", "/build/{build_id}/revisions/{revision_id}/undo"
    conforms(
        kept.put(OCTOCAT | {"status": "running"}, query_string="dry_run=true"), "/build", "put"
    )
    conforms(kept.put(OCTOCAT | {"status": "running"}), "/build", "put")
    conforms(kept.put({}), "/build", "put")
    conforms(kept.put([]), "/build", "put")
    conforms(kept.put(OCTOCAT, headers={"Authorization": "x"}), "/build", "put")
    conforms(kept.get(), one, "get")
    conforms(kept.get(2), one, "get")
    conforms(kept.revisions(), f"{one}/revisions", "get")
    conforms(kept.undo(kept.revisions().json[0]["id"]), undo, "post")
    conforms(kept.undo(0), undo, "post")
    conforms(kept.undo(1, json={"a": 1}), undo, "post")


def test_every_registration_is_described(host: Host) -> None:
    blueprint = BuildAdmin(host.model, host.session, token_auth().login_required(role="admin"))
    outer = Blueprint("outer", __name__, url_prefix="/<tenant>")
    outer.register_blueprint(blueprint)
    app = Flask("twice")
    app.register_blueprint(outer)
    app.register_blueprint(blueprint, url_prefix="/again", name="again")
    with app.app_context():
        document = blueprint.openapi()
    validate_document(json.loads(json.dumps(document)))
    assert "/again/build" in document["paths"]
    put = document["paths"][f"/{{tenant}}{PREFIX}/build"]["put"]
    assert ("tenant", "path") in [(one["name"], one["in"]) for one in put["parameters"]]
    assert put["responses"]["200"]["links"]["fetch"]["operationId"] == "outer.build_admin.fetch"
    with host.app.app_context(), pytest.raises(ConfigurationError, match="is not registered on"):
        blueprint.openapi()


class Preview(Schema):
    url = fields.String()


def test_a_schema_of_the_host_has_another_name_than_ours(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    schema: Any = type("Schema", (BuildSchema,), {"title": fields.Nested(Preview)})
    model = model_of("title", title=sa.Column(sa.JSON))
    host = make_host(sqlite_url, model=model, schema=schema)
    with pytest.warns(UserWarning, match="The name has been modified"):
        document = described(host)
    reference = build_of(document)["properties"]["title"]["$ref"]
    schemas = document["components"]["schemas"]
    assert [*schemas[reference.rpartition("/")[2]]["properties"]] == ["url"]
    assert "build_id" in schemas["Preview"]["properties"]


def test_a_client_that_takes_the_first_schema_that_fits_has_the_fields(kept: Host) -> None:
    for _, method, operation in operations(described(kept)):
        if method in ("put", "post"):
            schema = operation["responses"]["400"]["content"]["application/json"]["schema"]
            names = [one["$ref"].rpartition("/")[2] for one in schema["oneOf"]]
            assert names == ["InvalidBuild", "Refusal"]


def test_the_server_is_the_root_of_the_app(host: Host) -> None:
    assert described(host)["servers"] == [{"url": "/"}]
    host.app.config["APPLICATION_ROOT"] = "/ci/"
    assert described(host)["servers"] == [{"url": "/ci"}]
    with host.app.test_request_context(environ_overrides={"SCRIPT_NAME": "/mounted"}):
        assert host.blueprint.openapi()["servers"] == [{"url": "/mounted"}]
    with host.app.test_request_context(environ_overrides={"SCRIPT_NAME": ""}):
        assert host.blueprint.openapi()["servers"] == [{"url": "/"}]


def test_what_a_host_makes_of_the_document_stays_with_it(kept: Host) -> None:
    before = json.dumps(described(kept))
    document = described(kept)
    for schema in document["components"]["schemas"].values():
        schema.clear()
    for _, _, operation in operations(document):
        operation["responses"]["200"]["headers"].clear()
        operation["parameters"].clear()
    document["components"]["securitySchemes"]["bearer"].clear()
    assert json.dumps(described(kept)) == before


def test_the_way_to_authenticate_is_the_hosts(host: Host) -> None:
    bearer = described(host)
    assert bearer["security"] == [{"bearer": []}]
    cookie = {"type": "apiKey", "in": "cookie", "name": "session"}
    told = described(host, security={"cookie": cookie})
    assert told["security"] == [{"cookie": []}]
    assert told["components"]["securitySchemes"] == {"cookie": cookie}
    for _, method, operation in operations(told):
        assert operation.get("security") == ([] if method == "options" else None)


def test_the_command_prints_the_document(host: Host) -> None:
    result = host.app.test_cli_runner().invoke(args=["build-admin", "openapi"])
    assert result.exit_code == 0
    assert json.loads(result.output) == json.loads(json.dumps(described(host)))


def test_without_apispec_the_command_says_what_to_install(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("openapi", "openapi.converter"):
        monkeypatch.delitem(sys.modules, f"flask_build_admin.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "apispec", None)
    result = host.app.test_cli_runner().invoke(args=["build-admin", "openapi"])
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: There is no apispec: install it by pip install 'Flask-Build-Admin[openapi]'.\n"
    )
