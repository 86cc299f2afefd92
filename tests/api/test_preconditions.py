"""Preconditions: their bounds, and that they are parsed once, before a build is locked."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import Any

import pytest
from werkzeug.http import parse_etags

from flask_build_admin.api import preconditions
from tests.support.hosts import OCTOCAT, BuildRevision, Host
from tests.support.statements import LOCK, outline

LONG, MANY = 16_384, 2_000

CHANGED = OCTOCAT | {"status": "error", "title": "x"}

#: The routes that evaluate preconditions, for a build that there is, and for one that there is not.
ROUTES: dict[str, Callable[[Host, int, dict[str, str]], Any]] = {
    "get": lambda host, build_id, headers: host.get(build_id, headers=headers),
    "put": lambda host, build_id, headers: host.put(CHANGED | {"id": build_id}, headers=headers),
    "preview": lambda host, build_id, headers: host.put(
        CHANGED | {"id": build_id}, headers=headers, query_string="dry_run=true"
    ),
    "undo": lambda host, build_id, headers: host.undo(1, build_id, headers=headers),
}

#: What is over a bound, and what is said of it.
EXCESSIVE = {
    "long": ("x" * (LONG + 1), f"is longer than {LONG} bytes."),
    "long tag": (f'"{"x" * LONG}"', f"is longer than {LONG} bytes."),
    "long blank": (" " * (LONG + 1), f"is longer than {LONG} bytes."),
    "many": (",".join(['"x"'] * (MANY + 1)), f"has more than {MANY} entity tags."),
    "many empty": ("," * MANY, f"has more than {MANY} entity tags."),
    "both": ("," * (LONG + 1), f"is longer than {LONG} bytes."),
}


@pytest.fixture
def changed(kept: Host) -> Host:
    """A host with a change to undo, on each database in turn."""
    assert kept.put(OCTOCAT | {"title": "x"}).status_code == 200
    return kept


@pytest.mark.parametrize("build_id", [1, 2])
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("route", ROUTES)
def test_what_is_over_a_bound_is_refused_before_anything_is_read(
    changed: Host, route: str, header: str, build_id: int
) -> None:
    row = changed.row()
    for value, told in EXCESSIVE.values():
        with changed.statements() as sent:
            answer = ROUTES[route](changed, build_id, {header: value})
        assert (answer.status_code, answer.json) == (400, {"error": f"{header} {told}"})
        assert sent == []
    assert changed.row() == row


@pytest.mark.parametrize("route", ["put", "preview", "undo"])
def test_the_body_comes_after_it(changed: Host, route: str) -> None:
    headers = {"If-Match": "," * MANY, "Content-Type": "text/plain"}
    assert ROUTES[route](changed, 1, headers).status_code == 400


@pytest.mark.parametrize(
    "value", [" " * LONG, f'"{"x" * (LONG - 2)}"', ",".join(['"x"'] * MANY)], ids=len
)
def test_a_bound_itself_is_allowed(changed: Host, value: str) -> None:
    for route in ROUTES:
        assert ROUTES[route](changed, 1, {"If-Match": value}).status_code == 412
    for route in ROUTES:
        assert ROUTES[route](changed, 1, {"If-None-Match": value}).status_code == 200


def test_a_list_ignores_them(changed: Host) -> None:
    assert changed.revisions(headers={"If-Match": "," * MANY}).status_code == 200


@pytest.mark.parametrize("required", [False, True])
def test_each_is_parsed_once_before_the_lock(
    make_host: Callable[..., Host],
    database_url: str,
    database: str,
    required: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = make_host(database_url, history=BuildRevision, require_if_match=required)
    with host.statements() as done:

        def parse(value: str) -> Any:
            done.append("PARSE")
            return parse_etags(value)

        monkeypatch.setattr(preconditions, "parse_etags", parse)
        headers = {"If-Match": '"stale"', "If-None-Match": '"stale"'}
        assert host.put(CHANGED, headers=headers).status_code == 412
        assert outline(done) == ["PARSE", "PARSE", "BEGIN", *LOCK[database], "ROLLBACK"]
        done.clear()
        assert host.get(headers={"If-Match": "*", "If-None-Match": "*"}).status_code == 304
        assert outline(done) == ["PARSE", "PARSE", "BEGIN", "SELECT", "COMMIT"]


@pytest.mark.parametrize("value", [",", "x,", '"x",', " ,", "\t", '"', "W/", '"x" y,', "x y,"])
def test_what_is_within_the_bounds_is_parsed_at_once(value: str) -> None:
    repeated = (value * LONG)[:LONG]
    repeated = repeated[: len(",".join(repeated.split(",", MANY)[:MANY]))]
    started = thread_time()
    preconditions.Preconditions({"HTTP_IF_MATCH": repeated, "HTTP_IF_NONE_MATCH": repeated})
    assert thread_time() - started < 0.1
