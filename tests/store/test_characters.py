"""Text that the character set of the database lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from flask_build_admin import BuildSchema, Text, build_updating
from flask_build_admin.exceptions import ConfigurationError
from tests.support.databases import DATABASES, own_database
from tests.support.hosts import ADMIN, OCTOCAT, URL, Host, history_of, model_of, row_of

MakeHost = Callable[..., Host]

#: PostgreSQL's driver encodes as the database does, unless it is told to leave that to the server.
ENCODED = {"postgresql": "", "postgresql as UTF-8": "client_encoding=utf8", "mariadb": ""}

LATIN1 = {
    "postgresql": "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    "mariadb": "CHARACTER SET latin1",
}

UNSTORABLE = "holds a character that the database cannot store"


class Schema(BuildSchema):
    id = Text(empty=False)


@pytest.fixture(scope="module", params=[on for on in ENCODED if on.split()[0] in DATABASES])
def latin1(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database in ISO 8859-1."""
    server = request.param.split()[0]
    with own_database(server, "_latin1", LATIN1[server]) as url:
        yield f"{url}?{ENCODED[request.param]}"


@pytest.fixture
def host(latin1: str, make_host: MakeHost) -> Host:
    model = model_of()
    return make_host(latin1, model=model, history=history_of(model), actor=lambda: "José")


def test_the_members_that_have_it_are_named(host: Host) -> None:
    stored = OCTOCAT | {"message": "é", "title": "ÿ"}
    assert host.put(stored).json == stored
    sent = stored | {"message": "ab☃", "author": "☃", "title": "é", "sender": "plain"}
    expected = {"message": [UNSTORABLE], "author": [UNSTORABLE]}
    for query in ({}, {"dry_run": "true"}):
        answer = host.put(sent, query_string=query)
        assert (answer.status_code, answer.json["fields"]) == (400, expected)
    assert host.row() == stored
    assert host.put(OCTOCAT).json == OCTOCAT


def test_the_reason_that_has_it_is_named(host: Host) -> None:
    answer = host.put(OCTOCAT | {"status": "error"}, query_string={"reason": "lost ☃"})
    assert (answer.status_code, answer.json) == (400, {"error": f"reason: {UNSTORABLE}"})
    assert (host.row(), host.recorded()) == (OCTOCAT, [])


def test_an_administrator_whose_name_has_it_may_repair_a_build(
    latin1: str, make_host: MakeHost
) -> None:
    model = model_of()
    host = make_host(latin1, model=model, history=history_of(model), actor=lambda: "é☃")
    answer = host.put(OCTOCAT | {"status": "error"})
    if host.engine.dialect.name == "postgresql" and not host.engine.url.query:
        assert answer.status_code == 200
        assert host.recorded()[0]["actor"] == r"\xe9\u2603"
    else:  # the server has refused the statement, and with it PostgreSQL's transaction
        assert (answer.status_code, answer.json) == (400, {"error": f"actor: {UNSTORABLE}"})
        assert host.row() == OCTOCAT


def test_no_build_has_an_id_with_it(latin1: str, make_host: MakeHost) -> None:
    model = model_of(id=sa.Column(sa.String(20), primary_key=True))
    history = history_of(model, build_id=sa.Column(sa.String(20), nullable=False))
    host = make_host(latin1, model=model, schema=Schema, history=history, rows=[row_of(id="é")])
    assert host.get("é").status_code == 200
    assert host.get("☃").status_code == 404
    assert host.put(OCTOCAT | {"id": "☃"}).status_code == 404
    assert host.revisions("☃").status_code == 404
    queue = host.client.get(f"{URL}s/queue", headers=ADMIN, query_string={"below": "☃"})
    assert queue.status_code == 404


def test_no_build_has_a_status_with_it(latin1: str, make_host: MakeHost) -> None:
    host = make_host(latin1, model=model_of(), queue_statuses=("running", "☃"))
    with pytest.raises(ConfigurationError, match=r"statuses running, ☃: pass"):
        host.blueprint.store.queue()


def test_nothing_has_a_value_with_it(host: Host) -> None:
    host.put(OCTOCAT | {"status": "running"})
    admin = URL.removesuffix("/build")
    for path in ("builds/queue?host=☃", "revisions?batch=☃", "revisions?actor=☃"):
        answer = host.client.get(f"{admin}/{path}", headers=ADMIN)
        assert (answer.status_code, answer.json) == (200, [])
    undone = host.client.post(f"{admin}/revisions/undo?batch=☃", headers=ADMIN)
    assert (undone.status_code, undone.json) == (404, {"error": "There is no such batch."})


def test_another_error_of_a_receiver_is_its_own(host: Host) -> None:
    def encode(sender: object, after: dict[str, Any], **change: object) -> None:
        after["message"].encode("ascii")

    host.app.testing = True
    with build_updating.connected_to(encode, host.app), pytest.raises(UnicodeEncodeError):
        host.put(OCTOCAT | {"message": "é"})
    assert host.row() == OCTOCAT


def test_what_a_receiver_writes_is_not_the_client_s(host: Host) -> None:
    def write(sender: object, build: Any, **change: object) -> None:
        build.title = "☃"

    encoded = host.engine.dialect.name == "postgresql" and not host.engine.url.query
    with build_updating.connected_to(write, host.app):
        answer = host.put(OCTOCAT | {"status": "error"})
    assert answer.status_code == (500 if encoded else 409)
    assert host.row() == OCTOCAT
