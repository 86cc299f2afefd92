"""What clients and proxies send: the order of the checks, tags that a proxy changed, bodies."""

from __future__ import annotations

import json
from codecs import BOM_UTF8, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_build_admin import BuildSchema, Text
from tests.support.hosts import ADMIN, OCTOCAT, URL, BuildRevision, Host, history_of, model_of
from tests.support.repairs import change, command, named
from tests.support.terminals import in_pipe

MakeHost = Callable[..., Host]

BYTES = json.dumps(OCTOCAT).encode()
STALE = '"of-another-day"'


class Schema(BuildSchema):
    author = Text(dump_only=True)


@pytest.fixture(scope="module")
def ordering(database_url: str) -> Iterator[Host]:
    """A host with a protected member, on each database in turn."""
    model = model_of(__tablename__="ordered")
    rows = [OCTOCAT, OCTOCAT | {"id": 2, "repo_id": None, "number": 0}]
    history = history_of(model)
    host = Host(database_url, model=model, rows=rows, schema=Schema, history=history)
    yield host
    host.close()


#: Documents whose form is wrong, and the members with a problem.
FORMS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "missing": ({"title": ...}, {"title"}),
    "missing_and_protected": ({"author": ...}, {"author"}),
    "unknown": ({"titel": "x"}, {"titel"}),
    "null": ({"parent": None}, {"parent"}),
    "another_type": ({"parent": "1"}, {"parent"}),
    "several": (
        {"title": ..., "event": 1, "finished": True, "x": 0},
        {"title", "event", "finished", "x"},
    ),
}

#: Documents of the right form, with values that cannot be stored.
VALUES: dict[str, dict[str, Any]] = {
    "too_small": {"repo_id": -1},
    "empty": {"event": ""},
    "too_long": {"title": "x" * 251},
    "too_large": {"finished": 2**63},
    "with_u_0000": {"message": "a\0b"},
    "protected": {"author": "somebody else"},
    "several": {"repo_id": -1, "title": "x" * 251, "author": "somebody else"},
}

#: Where the put is sent to, and the status that comes before a 400 for values.
EARLIER: dict[str, tuple[dict[str, Any], dict[str, str], int]] = {
    "no_such_build": ({"id": 99}, {}, 404),
    "no_such_build_and_any_tag": ({"id": 99}, {"If-Match": STALE}, 404),
    "another_tag": ({}, {"If-Match": STALE}, 412),
    "no_tag_allowed": ({}, {"If-None-Match": "*"}, 412),
}


def document(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (OCTOCAT | members).items() if value is not ...}


@pytest.mark.parametrize("earlier", [*EARLIER.values(), ({}, {}, 200)], ids=[*EARLIER, "right"])
@pytest.mark.parametrize(("members", "wrong"), FORMS.values(), ids=FORMS)
def test_the_form_is_checked_first(
    ordering: Host,
    members: dict[str, Any],
    wrong: set[str],
    earlier: tuple[dict[str, Any], dict[str, str], int],
) -> None:
    where, headers, _ = earlier
    answer = ordering.put(document(members | where), headers=headers)
    assert named(answer) == (400, wrong)


@pytest.mark.parametrize(("where", "headers", "status"), EARLIER.values(), ids=EARLIER)
@pytest.mark.parametrize("members", VALUES.values(), ids=VALUES)
def test_values_are_checked_after_the_build_and_its_preconditions(
    ordering: Host,
    members: dict[str, Any],
    where: dict[str, Any],
    headers: dict[str, str],
    status: int,
) -> None:
    answer = ordering.put(OCTOCAT | members | where, headers=headers)
    assert named(answer) == (status, set())


@pytest.mark.parametrize("query", ["", "?dry_run=true"], ids=["put", "preview"])
@pytest.mark.parametrize("members", VALUES.values(), ids=VALUES)
def test_all_problems_with_values_are_in_one_response(
    ordering: Host, members: dict[str, Any], query: str
) -> None:
    answer = ordering.client.put(URL + query, json=OCTOCAT | members, headers=ADMIN)
    assert named(answer) == (400, {*members})
    assert ordering.row() == OCTOCAT


def test_the_values_of_the_row_are_not_among_the_problems(ordering: Host) -> None:
    row = ordering.row(2)
    sent = ordering.get(2).json | {"title": "x" * 251, "author": "somebody else"}
    assert named(ordering.put(sent)) == (400, {"title", "author"})
    assert ordering.row(2) == row


@pytest.mark.parametrize("members", VALUES.values(), ids=VALUES)
def test_a_required_tag_is_asked_for_before_the_values(
    make_host: MakeHost, sqlite_url: str, members: dict[str, Any]
) -> None:
    host = make_host(sqlite_url, model=model_of(), schema=Schema, require_if_match=True)
    assert named(host.put(OCTOCAT | members)) == (428, set())
    assert named(host.put(document({"title": ...}))) == (400, {"title"})
    assert named(host.put(OCTOCAT | members, headers={"If-Match": "*"})) == (400, {*members})


#: What proxies make of a tag; {tag} stands for the opaque part.
CHANGED_TAGS = {
    "weak": 'W/"{tag}"',
    "apache_deflate": '"{tag}-gzip"',
    "apache_brotli": '"{tag}-br"',
    "deflate": '"{tag}-df"',
    "jetty": '"{tag}--gzip"',
    "colon": '"{tag}:gzip"',
    "semicolon": '"{tag};gzip"',
    "weak_and_gzip": 'W/"{tag}-gzip"',
    "in_a_list": '"another", W/"{tag}"',
    "in_a_list_with_gzip": '"{tag}-gzip", "another"',
}


def tag_of(host: Host) -> str:
    return str(host.get().headers["ETag"]).strip('"')


@pytest.fixture
def tagged(make_host: MakeHost, sqlite_url: str) -> Host:
    """A host with a change to undo."""
    host = make_host(sqlite_url, history=BuildRevision)
    change(host, status="error")
    return host


#: Requests with a precondition, each given the host and the headers.
CONDITIONAL: dict[str, Callable[[Host, dict[str, str]], Any]] = {
    "put": lambda host, headers: host.put(OCTOCAT, headers=headers),
    "preview": lambda host, headers: host.put(
        OCTOCAT, headers=headers, query_string={"dry_run": "true"}
    ),
    "undo": lambda host, headers: host.undo(1, headers=headers),
}


@pytest.mark.parametrize("request_", CONDITIONAL.values(), ids=CONDITIONAL)
@pytest.mark.parametrize("form", CHANGED_TAGS.values(), ids=CHANGED_TAGS)
def test_a_tag_that_a_proxy_changed_is_called_so(
    tagged: Host, form: str, request_: Callable[[Host, dict[str, str]], Any]
) -> None:
    before = tagged.row()
    ordinary = request_(tagged, {"If-Match": STALE})
    assert (ordinary.status_code, "proxy" in ordinary.json["error"]) == (412, False)
    answer = request_(tagged, {"If-Match": form.format(tag=tag_of(tagged))})
    assert answer.status_code == 412
    assert "proxy" in answer.json["error"]
    # What to do: about the tag, or about the proxy's compression.
    assert any(word in answer.json["error"].lower() for word in ("compress", "etag", "if-match"))
    assert answer.json["error"].isprintable()
    assert "%" not in answer.json["error"]
    assert tagged.row() == before
    assert len(tagged.recorded()) == 1


@pytest.mark.parametrize("form", CHANGED_TAGS.values(), ids=CHANGED_TAGS)
def test_an_old_tag_is_called_old_whatever_a_proxy_made_of_it(tagged: Host, form: str) -> None:
    ordinary = tagged.put(OCTOCAT, headers={"If-Match": STALE})
    old = tag_of(tagged)
    change(tagged, status="killed")
    answer = tagged.put(OCTOCAT, headers={"If-Match": form.format(tag=old)})
    assert (answer.status_code, answer.json) == (412, ordinary.json)


@pytest.mark.parametrize("form", CHANGED_TAGS.values(), ids=CHANGED_TAGS)
def test_the_tag_itself_is_enough_beside_a_changed_one(tagged: Host, form: str) -> None:
    tag = tag_of(tagged)
    answer = tagged.put(OCTOCAT, headers={"If-Match": f'{form.format(tag=tag)}, "{tag}"'})
    assert answer.status_code == 200
    assert tagged.row() == OCTOCAT


def test_a_byte_order_mark_is_ignored(tagged: Host) -> None:
    answer = tagged.put(data=BOM_UTF8 + BYTES)
    assert answer.status_code == 200, answer.data
    assert answer.json == tagged.row() == OCTOCAT


def test_a_byte_order_mark_within_a_text_is_stored(tagged: Host) -> None:
    sent = OCTOCAT | {"title": "\ufefftitle"}
    body = BOM_UTF8 + json.dumps(sent, ensure_ascii=False).encode()
    assert tagged.put(data=body).json == tagged.row() == sent


def test_a_byte_order_mark_may_precede_the_object_of_an_undo(tagged: Host) -> None:
    answer = tagged.undo(1, data=BOM_UTF8 + b"{}", content_type="application/json")
    assert answer.status_code == 200, answer.data
    assert tagged.row() == OCTOCAT


def test_a_byte_order_mark_may_precede_a_file_to_apply(tagged: Host) -> None:
    arguments = ("build-admin", "apply", "-", "--yes")
    done = in_pipe(tagged.app, *arguments, sent=BOM_UTF8 + BYTES)
    assert done.code == 0, done.errors
    assert tagged.row() == OCTOCAT


@pytest.mark.parametrize(
    "body",
    [BOM_UTF8 * 2 + BYTES, BYTES + BOM_UTF8, BOM_UTF16_LE + BYTES.decode().encode("utf-16-le")],
    ids=["two", "at_the_end", "of_utf_16"],
)
def test_any_other_byte_order_mark_is_refused(tagged: Host, body: bytes) -> None:
    before = tagged.row()
    answer = tagged.put(data=body)
    assert answer.status_code == 400
    assert isinstance(answer.json["error"], str)
    assert tagged.row() == before


@pytest.mark.parametrize("body", [b"", BOM_UTF8], ids=["nothing", "a_byte_order_mark"])
def test_an_empty_body_is_called_empty(tagged: Host, body: bytes) -> None:
    answer = tagged.put(data=body)
    assert answer.status_code == 400
    assert answer.json.keys() == {"error"}
    assert "empty" in answer.json["error"]


def test_what_show_prints_can_be_applied_with_a_broken_value(
    make_host: MakeHost, sqlite_url: str
) -> None:
    rows = [OCTOCAT | {"number": 0, "repo_id": None}]
    host = make_host(sqlite_url, model=model_of(), rows=rows)
    shown = command(host, "show", "1", "--json")
    applied = in_pipe(host.app, "build-admin", "apply", "-", sent=shown.output)
    assert (applied.code, applied.output) == (0, "Nothing would be changed.\n")
