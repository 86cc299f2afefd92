"""The contract as docs/contract.md has it, and the Go clients that speak it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa
from marshmallow import Schema, fields
from openapi_spec_validator import validate as validate_document
from sqlalchemy.orm import relationship

from flask_build_admin import BuildSchema
from tests.support.ci_servers import CiServer
from tests.support.hosts import ADMIN, OCTOCAT, URL, Host, model_of, row_of
from tests.support.pages import PAGES, from_page

PAGE = "docs/contract.md"

#: Members beyond the 25 that the client knows: JSON tags, ``omitempty`` on pointers.
BEYOND = {"email", "link", "head_ref", "deploy_payload", "pipeline_id", "event_action"}
BEYOND |= {"deploy_number", "approved_at", "approved_by"}

#: The members of ``library.Build`` of go-vela/types v0.23.3.
FLAT = {*OCTOCAT, *BEYOND}

#: … and of ``Build`` of go-vela/server v0.28.8, ``api/types``.
NESTED = {*FLAT, "repo", "sender_scm_id", "fork", "route"} - {"repo_id"}

#: What such a client has of a build, and of its repository, where it has taken all of it elsewhere.
ELSEWHERE: dict[str, Any] = {
    "repo": {"id": 1, "owner": {"id": 1, "name": "octocat"}, "full_name": "github/octocat"},
    "pipeline_id": 1,
    "event_action": "",
    "deploy_number": 0,
    "deploy_payload": {"region": "east"},
    "sender_scm_id": "",
    "fork": False,
    "email": "octocat@github.com",
    "link": "",
    "head_ref": "",
    "route": "vela",
    "approved_at": 0,
    "approved_by": "",
}

NestedBuild = model_of(event_action=sa.Column(sa.String(250)), fork=sa.Column(sa.Boolean))


def sent(document: Mapping[str, Any], tags: Collection[str]) -> dict[str, Any]:
    """Answer what the client makes of a document that it has read: null and nil are left out."""
    return {name: value for name, value in document.items() if name in tags and value is not None}


@from_page(PAGE, shown='"error": "status')
def test_an_error_has_this_form(host: Host, shown: str) -> None:
    document = {name: value for name, value in OCTOCAT.items() if name != "status"}
    assert host.put(document | {"finished": "0"}).json == json.loads(shown)


def test_the_members_are_the_samples() -> None:
    [section] = re.findall(r"^## A build\n(.*?)^## ", PAGES[PAGE], re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)
    assert {name for row in rows for name in re.findall("`([a-z_]+)`", row)} == {*OCTOCAT}


@from_page(PAGE, code="document = build_admin.openapi")
def test_the_document_is_of_this_app(server: CiServer, code: str) -> None:
    server.db.init_app(server.app)
    document = server.run(code)["document"]
    validate_document(json.loads(json.dumps(document)))
    assert [*document["paths"]] == [
        URL,
        f"{URL}/{{build_id}}",
        f"{URL}s/queue",
        f"{URL.removesuffix('/build')}/clean",
    ]
    text = re.findall("`security=(.*)`", PAGES[PAGE])
    with server.app.app_context():
        blueprint: Any = server.app.blueprints["build_admin"]
        told = blueprint.openapi(security=json.loads(text[0]))
    assert told["security"] == [{"cookie": []}]


def test_the_flat_build_of_the_older_client_goes_back_as_it_was_fetched(host: Host) -> None:
    fetched = sent(host.get().json, FLAT)
    assert host.put(fetched | {"status": "error"}).json == OCTOCAT | {"status": "error"}
    assert host.put(sent({"id": 1, "status": "killed"}, FLAT)).status_code == 400
    assert host.row() == OCTOCAT | {"status": "error"}


@from_page(PAGE, code="NestedBuildSchema")
def test_the_nested_build_of_the_newer_client_by_a_schema(server: CiServer, code: str) -> None:
    server.own(NestedBuild=NestedBuild)
    server.run(code)
    server.fill(NestedBuild, **OCTOCAT)

    def put(document: dict[str, Any]) -> Any:
        return server.ask("PUT", document=document)

    shown = server.ask("GET", "/1").json
    assert "repo_id" not in shown
    assert shown.items() >= {"repo": {"id": 1}, "event_action": "", "fork": None}.items()
    fetched = sent(shown, NESTED)
    assert "fork" not in fetched
    assert put(fetched | {"status": "error"}).json == shown | {"status": "error"}
    moved = {"repo": {"id": 7}, "fork": True}
    assert put(fetched | moved).json == shown | moved
    elsewhere = sent(OCTOCAT | ELSEWHERE, NESTED)
    assert len(elsewhere) == len(NESTED) == 37
    assert put(elsewhere).json == shown | {"fork": False}
    wrong: list[object] = [{"name": "octocat"}, {"id": "1"}, 1, []]
    for repo in wrong:
        refused = put(fetched | {"repo": repo})
        assert refused.json["fields"] == {"repo": ["no object with an integer id"]}


def test_a_repository_that_is_shown_cannot_be_changed(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    class RepoSchema(Schema):
        id = fields.Integer()
        full_name = fields.String()

    class ShownSchema(BuildSchema):
        class Meta:
            exclude = ("repo_id",)

        repo = fields.Nested(RepoSchema, dump_only=True)

    model = model_of(
        repo_id=sa.Column(sa.ForeignKey("repos.id")),
        repo=relationship("Repo"),
    )
    columns = {
        "id": sa.Column(sa.Integer, primary_key=True),
        "full_name": sa.Column(sa.String(250)),
    }
    repo = type("Repo", (model.__mro__[1],), {"__tablename__": "repos", **columns})
    row = row_of(repo=repo(id=1, full_name="github/octocat"))
    host = make_host(sqlite_url, model=model, schema=ShownSchema, rows=[row])
    fetched = sent(host.get().json, NESTED)
    assert fetched["repo"] == {"id": 1, "full_name": "github/octocat"}
    assert host.put(fetched | {"status": "error"}).status_code == 200
    refused = host.put(fetched | {"repo": {"id": 2}})
    assert refused.json["fields"] == {"repo": ["cannot be changed"]}


def test_the_queue_of_the_client_has_all_it_reads_but_the_name(host: Host) -> None:
    host.execute("UPDATE builds SET status = 'running'")
    queue: Any = host.client.get(f"{URL}s/queue?after=1", headers=ADMIN).json
    read = ["status", "number", "created", "full_name"]
    assert [sent(one, read) for one in queue] == [
        {"status": "running", "number": 1, "created": OCTOCAT["created"]}
    ]
    paged = host.client.get(f"{URL}s/queue?after=1&page=1&per_page=10", headers=ADMIN)
    assert paged.json == queue
