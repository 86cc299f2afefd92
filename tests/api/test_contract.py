"""The contract, in the order of docs/contract.md: each answer, and what it is given to.

Whatever else there is to a line is in the other modules of this folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import validates

from flask_build_admin import BuildSchema, Text, build_updating
from tests.support.hosts import ADMIN, OCTOCAT, URL, WORKER, Host, history_of, model_of
from tests.support.pages import PAGES

CHANGED = OCTOCAT | {"status": "error", "error": "worker lost", "finished": 1563474099}

#: Stands for a member or a header that is not sent.
LEFT_OUT: Any = object()


class Row(NamedTuple):
    """A put of ``CHANGED`` that is right in all but one thing, and what it is answered.

    :param line: of the table "Which answer".
    :param case: what is wrong.
    :param headers: sent instead of the right ones.
    :param members: sent instead of those of ``CHANGED``.
    :param request: other arguments of the request.
    :param while_: what happens to the host meanwhile.
    :param fields: what is said of each member.
    :param tells: a header that the answer has.
    """

    line: str
    status: int
    case: str
    headers: dict[str, Any] = {}
    members: dict[str, Any] = {}
    request: dict[str, Any] = {}
    while_: Callable[[Host], AbstractContextManager[object]] = nullcontext
    fields: dict[str, list[str]] | None = None
    tells: str | None = None


@contextmanager
def gone(host: Host) -> Iterator[None]:
    """Have the database be gone."""
    url = host.engine.url
    nowhere = url.set(database="/no/where.db") if url.host is None else url.set(port=1)
    host.session.configure(bind=sa.create_engine(nowhere))
    try:
        yield
    finally:
        host.session.configure(bind=host.engine)


def crashing(host: Host) -> AbstractContextManager[object]:
    """Have code of the host's fail."""

    def crash(sender: object, **told: object) -> None:
        raise RuntimeError("the host's own words")

    return build_updating.connected_to(crash, host.app)


UNDO: dict[str, Any] = {"method": "POST", "query_string": "reason=mistaken", "data": None}
FETCH: dict[str, Any] = {"method": "GET", "path": f"{URL}/1", "query_string": "", "data": None}
DEEP = b'{"id": ' + b"[" * 101 + b"]" * 101 + b"}"

TABLE = [
    Row("1", 401, "no credentials", headers={"Authorization": LEFT_OUT}, tells="WWW-Authenticate"),
    Row("1", 401, "of nobody", headers={"Authorization": "Bearer x"}, tells="WWW-Authenticate"),
    Row("1", 401, "of no administrator", headers=WORKER, tells="WWW-Authenticate"),
    Row("2", 405, "another method", request={"method": "PATCH"}, tells="Allow"),
    Row("3", 400, "unknown parameter", request={"query_string": "reason=lost&dryrun=true"}),
    Row("3", 400, "doubled parameter", request={"query_string": "reason=lost&reason=lost"}),
    Row("3", 400, "parameter not of its form", request={"query_string": "reason=x&dry_run=yes"}),
    Row("3", 400, "too many entity tags", headers={"If-Match": '"x",' * 2000}),
    Row("3", 400, "too long a precondition", headers={"If-None-Match": "x" * 16_385}),
    Row("4", 415, "not application/json", headers={"Content-Type": "text/plain"}),
    Row("4", 415, "not in UTF-8", headers={"Content-Type": "application/json; charset=latin-1"}),
    Row("4", 415, "a Content-Encoding", headers={"Content-Encoding": "gzip"}),
    Row("5", 413, "longer than 256 KiB", request={"data": b" " * 262_145}),
    Row("6", 400, "no JSON", request={"data": b"{"}),
    Row("6", 400, "no JSON object", request={"data": b"[]"}),
    Row("6", 400, "a member twice", request={"data": b'{"id": 1, "id": 1}'}),
    Row("6", 400, "NaN", request={"data": b'{"id": NaN}'}),
    Row("6", 400, "more than 100 levels", request={"data": DEEP}),
    Row(
        "7",
        400,
        "every problem with the form of every member",
        members={"parent": None, "status": LEFT_OUT, "finished": "0", "colour": "red"},
        fields={
            "parent": ["null"],
            "status": ["missing"],
            "finished": ["not an integer"],
            "colour": ["unknown"],
        },
    ),
    Row("7", 400, "no reason", request={"query_string": ""}),
    Row("7", 400, "a reason that cannot be kept", request={"query_string": "reason=%00"}),
    Row("8", 404, "no such build", members={"id": 3}),
    Row(
        "8",
        404,
        "no such revision",
        headers={"Content-Type": LEFT_OUT},
        request=UNDO | {"path": f"{URL}/1/revisions/7/undo"},
    ),
    Row("9", 428, "no If-Match", headers={"If-Match": LEFT_OUT}),
    Row("9", 412, "another build than that of If-Match", headers={"If-Match": '"stale"'}),
    Row(
        "10",
        400,
        "another value of a protected member",
        members={"author": "Mona"},
        fields={"author": ["cannot be changed"]},
    ),
    Row(
        "10",
        400,
        "every problem with the new value of every member",
        members={"number": 0, "event": "", "title": "x" * 251, "author": "Mona"},
        fields={
            "number": ["less than 1"],
            "event": ["empty"],
            "title": ["longer than 250 characters"],
            "author": ["cannot be changed"],
        },
    ),
    Row(
        "10",
        400,
        "a value that the model refuses",
        members={"branch": "refused"},
        fields={"branch": ["no such branch"]},
    ),
    Row("11", 409, "a row that breaks a constraint", members={"title": "taken"}),
    Row("12", 200, "a change", tells="ETag"),
    Row("12", 200, "no change", members=OCTOCAT, tells="ETag"),
    Row("12", 304, "the build of If-None-Match", {"If-None-Match": "*"}, request=FETCH),
    Row("any time", 503, "the database is gone", while_=gone, tells="Retry-After"),
    Row("any time", 500, "the host fails", while_=crashing),
]


class Schema(BuildSchema):
    author = Text(dump_only=True)


def refuse(build: object, key: str, value: str) -> str:
    if value == "refused":
        raise ValueError("no such branch")
    return value


@pytest.fixture(scope="module")
def judging(database_url: str) -> Iterator[Host]:
    """A host that demands whatever can be demanded, on each database in turn."""
    model = model_of(
        __tablename__="judged",
        __table_args__=(sa.UniqueConstraint("title"),),
        refuse=validates("branch")(refuse),
    )
    host = Host(
        database_url,
        model=model,
        rows=[OCTOCAT, OCTOCAT | {"id": 2, "number": 2, "title": "taken"}],
        schema=Schema,
        history=history_of(model),
        require_if_match=True,
        require_reason=True,
    )
    yield host
    host.close()


@pytest.fixture
def judge(judging: Host) -> Iterator[Host]:
    """The same with the octocat build in it for every test."""
    yield judging
    with judging.engine.begin() as connection:
        model = judging.model
        connection.execute(sa.update(model).where(model.id == 1).values(OCTOCAT))


def send(host: Host, *rows: Row) -> Any:
    """Send a put with all that is wrong in these rows; where two differ, as the first has it."""
    headers = {"Content-Type": "application/json", "If-Match": "*"} | ADMIN
    members = CHANGED
    request: dict[str, Any] = {"method": "PUT", "path": URL, "query_string": "reason=lost"}
    for row in reversed(rows):
        headers = headers | row.headers
        members = members | row.members
        request = request | row.request
    sent = {name: value for name, value in members.items() if value is not LEFT_OUT}
    request.setdefault("data", json.dumps(sent))
    request["headers"] = [pair for pair in headers.items() if pair[1] is not LEFT_OUT]
    return host.client.open(**request)


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{row.status}: {row.case}") for row in TABLE]
)
def test_which_answer(judge: Host, row: Row) -> None:
    with row.while_(judge):
        answer = send(judge, row)
    assert answer.status_code == row.status
    assert row.tells is None or row.tells in answer.headers
    if row.status == 200:
        assert answer.json == judge.row() == CHANGED | row.members
    else:
        assert judge.row() == OCTOCAT
    if row.status >= 400:
        assert answer.mimetype == "application/json"
        assert re.fullmatch("[^%\n]+", answer.json["error"])
        assert answer.json.get("fields") == row.fields
        assert {*answer.json} <= {"error", "fields"}


def test_the_first_that_fits_is_given(judge: Host) -> None:
    firsts = {(row.line, row.status): row for row in reversed(TABLE) if row.line.isdigit()}
    wrongs = [row for row in reversed(firsts.values()) if row.request != FETCH]
    for number, row in enumerate(wrongs):
        assert send(judge, *wrongs[number:]).status_code == row.status


def test_the_table_is_that_of_the_page() -> None:
    lines = re.findall(r"^\| (\d+|any time) \| ([\d, ]+) \|", PAGES["docs/contract.md"], re.M)
    told = [(line, int(status)) for line, statuses in lines for status in statuses.split(",")]
    assert [*dict.fromkeys((row.line, row.status) for row in TABLE)] == told


def test_put_answers_the_build_as_stored(hosted: Host, octocat: dict[str, Any]) -> None:
    octocat |= {"status": "error", "error": "worker lost", "finished": 1563474099}
    answer = hosted.put(octocat)
    assert answer.status_code == 200
    assert answer.json == octocat
    assert list(answer.json) == list(OCTOCAT)
    assert hosted.row() == octocat
    assert answer.headers["Content-Location"] == f"{URL}/1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.mimetype == "application/json"


def test_get_answers_what_put_accepts(hosted: Host) -> None:
    fetched = hosted.get()
    assert fetched.status_code == 200
    assert fetched.json == OCTOCAT
    put = hosted.put(data=fetched.data)
    assert put.status_code == 200
    assert put.data == fetched.data
    assert put.headers["ETag"] == fetched.headers["ETag"]
