"""A query is read as strictly as a body: what is not understood is refused, and nothing is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import request

from flask_build_admin.store import ChangeOptions
from tests.support.hosts import ADMIN, OCTOCAT, URL, BuildRevision, Host

MakeHost = Callable[..., Host]

CHANGED = OCTOCAT | {"status": "error"}


@pytest.fixture
def kept(make_host: MakeHost, sqlite_url: str) -> Host:
    """A host that keeps history, with one change in it."""
    host = make_host(sqlite_url, history=BuildRevision)
    host.put(OCTOCAT | {"title": "changed"})
    host.put(OCTOCAT)
    return host


ROUTES: dict[str, tuple[str, str]] = {
    "overwrite": ("PUT", URL),
    "fetch": ("GET", f"{URL}/1"),
    "head": ("HEAD", f"{URL}/1"),
    "revisions": ("GET", f"{URL}/1/revisions"),
    "queue": ("GET", f"{URL}s/queue"),
    "undo": ("POST", f"{URL}/1/revisions/2/undo"),
}

CHANGES = ("overwrite", "undo")

#: A query, the routes that take it, and what the others say of it, or all if none does.
QUERIES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "none": ("", tuple(ROUTES), ""),
    "only_separators": ("&&", tuple(ROUTES), ""),
    "dry_run": ("dry_run=true", CHANGES, "dry_run: unknown parameter"),
    "no_dry_run": ("dry_run=false", CHANGES, "dry_run: unknown parameter"),
    "reason": ("reason=lost", CHANGES, "reason: unknown parameter"),
    "limit": ("limit=200", ("revisions", "queue"), "limit: unknown parameter"),
    "before": ("before=9", ("revisions", "queue"), "before: unknown parameter"),
    "after": ("after=0", ("queue",), "after: unknown parameter"),
    "below": ("below=1", ("queue",), "below: unknown parameter"),
    "misspelt": ("dryrun=true", (), "dryrun: unknown parameter"),
    "another_case": ("Dry_Run=true", (), "Dry_Run: unknown parameter"),
    "spaced": ("dry_run+=true", (), "dry_run : unknown parameter"),
    "nameless": ("=true", (), ": unknown parameter"),
    "hostile": ("%25s%0A%1B=1", (), r"\u0025s\u000a\u001b: unknown parameter"),
    "after_a_semicolon": ("x=1;dry_run=true", (), "x: unknown parameter"),
    "two_unknown": ("x=1&y=2", (), "x: unknown parameter; y: unknown parameter"),
    "unknown_twice": ("x=1&x=2", (), "x: more than once"),
    "broken_escape": ("x=%2", (), "query: not percent-encoded"),
    "broken_escape_in_a_name": ("%zz=1", (), "query: not percent-encoded"),
    "not_utf_8": ("x=%FF", (), "query: not UTF-8"),
    "not_utf_8_in_a_name": ("%FF=1", (), "query: not UTF-8"),
}


def ask(host: Host, route: str, query: str) -> Any:
    method, path = ROUTES[route]
    body: Any = {"json": CHANGED} if method == "PUT" else {}
    return host.client.open(f"{path}?{query}", method=method, headers=ADMIN, **body)


@pytest.mark.parametrize(("query", "taken", "told"), QUERIES.values(), ids=QUERIES)
def test_each_route_takes_its_own_parameters(
    kept: Host, query: str, taken: tuple[str, ...], told: str
) -> None:
    for route in ROUTES:
        before = kept.row(), kept.recorded()
        answer = ask(kept, route, query)
        if route in taken:
            assert answer.status_code == 200
        else:
            assert answer.status_code == 400
            assert route == "head" or answer.json == {"error": told}
            assert (kept.row(), kept.recorded()) == before


#: Parameters that are not of their form.
FORMS: dict[str, tuple[str, str, str]] = {
    **{
        f"dry_run={text}": (
            "overwrite",
            f"dry_run={text}",
            "dry_run: not true or false, in lower case",
        )
        for text in ("", "yes", "1", "True", "TRUE", "true%20", "+true", "null", "%00")
    },
    "dry_run": ("overwrite", "dry_run", "dry_run: not true or false, in lower case"),
    "dry_run_twice": ("undo", "dry_run=true&dry_run=false", "dry_run: more than once"),
    "dry_run_twice_alike": ("undo", "dry_run=true&dry_run=true", "dry_run: more than once"),
    **{
        f"limit={text}": (
            "revisions",
            f"limit={text}",
            "limit: not a whole number from 1 to 200",
        )
        for text in ("", "0", "-1", "201", "1.0", "01", "+1", "%2B1", "1e1", "%D9%A1", "9" * 5000)
    },
    **{
        f"before={text}": (
            "revisions",
            f"before={text}",
            f"before: not a whole number from 1 to {2**63 - 1}",
        )
        for text in ("", "0", "-1", "abc", str(2**63), str(10**30))
    },
    **{
        query: ("queue", query, f"{query.partition('=')[0]}: not a whole number from {form}")
        for query, form in {
            "limit=0": "1 to 1000",
            "limit=1001": "1 to 1000",
            "after=-1": "0 to 253402300799",
            "after=253402300800": "0 to 253402300799",
            "before=0": "1 to 253402300799",
            "before=2018-01-01": "1 to 253402300799",
        }.items()
    },
    "every_problem": (
        "revisions",
        "limit=0&before=1&before=2&x=1",
        "limit: not a whole number from 1 to 200; before: more than once; x: unknown parameter",
    ),
}


@pytest.mark.parametrize(("route", "query", "told"), FORMS.values(), ids=FORMS)
def test_a_value_has_its_form(kept: Host, route: str, query: str, told: str) -> None:
    answer = ask(kept, route, query)
    assert (answer.status_code, answer.json) == (400, {"error": told})
    assert kept.row() == OCTOCAT
    assert len(kept.recorded()) == 2


@pytest.mark.parametrize("text", ["", "0", "01", "abc", "1.0", str(10**30)])
def test_a_list_goes_on_below_a_build_that_there_is(kept: Host, text: str) -> None:
    answer = ask(kept, "queue", f"below={text}")
    told = {"error": "below: there is no such build: begin anew."}
    assert (answer.status_code, answer.json) == (404, told)


def test_many_unknown_parameters_are_told_in_one_line(kept: Host) -> None:
    query = "&".join(f"x{number}=1" for number in range(2000))
    answer = ask(kept, "overwrite", query)
    assert answer.status_code == 400
    assert answer.json["error"].startswith("x0: unknown parameter; x1: ")
    assert len(answer.json["error"]) < 600


def test_what_comes_before_the_query_and_what_after(kept: Host) -> None:
    options = {"query_string": "dryrun=true"}
    assert kept.put(CHANGED, headers={"Authorization": "Bearer x"}, **options).status_code == 401
    assert kept.client.patch(URL, headers=ADMIN, **options).status_code == 405
    assert kept.client.options(URL, **options).status_code == 200
    refused = kept.put(data="{", content_type="text/plain", **options)
    assert (refused.status_code, refused.json) == (400, {"error": "dryrun: unknown parameter"})


def test_the_options_of_the_store_are_as_strict(kept: Host) -> None:
    with pytest.raises(TypeError, match="dryrun"):
        ChangeOptions(dryrun=True)  # type: ignore[call-arg]
    assert kept.row() == OCTOCAT


def test_an_auth_may_have_parameters_of_its_own(make_host: MakeHost, sqlite_url: str) -> None:
    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked() -> Any:
            return view() if request.args.getlist("api_key")[:1] == ["secret"] else ("no", 403)

        return checked

    options: dict[str, Any] = {"auth": auth, "history": BuildRevision}
    host = make_host(sqlite_url, auth_parameters=["api_key"], **options)
    client = host.client
    key = "api_key=secret&api_key=x"
    assert client.put(f"{URL}?{key}", json=CHANGED).status_code == 200
    assert client.put(f"{URL}?{key}&dry_run=true", json=OCTOCAT).status_code == 200
    assert client.put(f"{URL}?{key}&dryrun=true", json=OCTOCAT).status_code == 400
    assert client.put(f"{URL}?{key}&reason=lost", json=OCTOCAT).status_code == 200
    assert client.put(URL, json=CHANGED).status_code == 401
    assert host.row() == OCTOCAT
    listed = client.get(f"{URL}/1/revisions?{key}&limit=1")
    assert listed.headers["Link"] == f'<{URL}/1/revisions?limit=1&before=2>; rel="next"'
    assert "secret" not in f"{listed.headers}{listed.data!r}"
    strict = make_host(sqlite_url, **options)
    refused = strict.client.get(f"{URL}/1?{key}")
    assert (refused.status_code, refused.get_json()) == (400, {"error": "api_key: more than once"})
