"""What is sent to a host to get past its auth, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from flask import request

from tests.support.hosts import OCTOCAT, URL, Host

Auth = Callable[[Callable[..., Any]], Callable[..., Any]]
Headers = Mapping[str, str]

CHANGED = OCTOCAT | {"status": "error", "error": "worker lost"}
METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "TRACE", "CONNECT"]
VIEWS = {URL: {"PUT"}, f"{URL}/1": {"GET", "HEAD"}, f"{URL}s/queue": {"GET", "HEAD"}}
UNDO = f"{URL}/1/revisions/1/undo"
HISTORY = {f"{URL}/1/revisions": {"GET", "HEAD"}, UNDO: {"POST"}}


def paths_of(host: Host) -> dict[str, set[str]]:
    """List the paths of a host, each with its methods."""
    views = VIEWS | (HISTORY if host.history else {})
    return {path + slash: methods for path, methods in views.items() for slash in ("", "/")}


def everywhere(host: Host, headers: Headers, methods: list[str] = METHODS) -> list[Any]:
    """Send a valid put, or the preview of an undo, by every method to every path."""
    client = host.app.test_client(use_cookies=False)
    answers = []
    for path in paths_of(host):
        undo = path.startswith(UNDO)
        sent = {"json": {}, "query_string": "dry_run=true"} if undo else {"json": CHANGED}
        for method in methods:
            answers.append(client.open(path, method=method, headers=dict(headers), **sent))
    return answers


def assert_error(answer: Any, status: int = 401) -> None:
    """Assert that an answer is an error, in the contract's form."""
    assert (answer.status_code, answer.content_type) == (status, "application/json")
    assert "Location" not in answer.headers
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    if answer.request.method != "HEAD":
        assert set(answer.json) <= {"error", "fields"}
        assert isinstance(answer.json["error"], str)
        assert answer.json["error"]
        assert not {"%", "<"} & set(answer.json["error"])


def assert_nothing_passes(host: Host, headers: Headers, *challenges: str) -> None:
    """Assert that these headers neither reach a build nor learn anything of one."""
    with host.statements() as sent:
        answers = everywhere(host, headers)
    assert [statement for statement in sent if "build" in statement] == []
    assert host.row() == OCTOCAT
    for answer in answers:
        assert_error(answer)
        assert answer.headers.getlist("WWW-Authenticate") in [[one] for one in challenges]


def assert_all_works(host: Host, headers: Headers) -> None:
    """Assert that these headers are let in, to the methods that there are."""
    for answer in everywhere(host, headers):
        views = paths_of(host)[answer.request.path]
        if answer.request.method in views:
            assert answer.status_code == 200
        else:
            assert_error(answer, 405)
            assert answer.allow == views | {"OPTIONS"}
    assert host.row() == CHANGED


def authorization(value: str) -> dict[str, str]:
    return {"Authorization": value}


def credentials(scheme: str, right: str, worker: str, foreign: str) -> dict[str, Headers]:
    """List what must be refused, by what is wrong with it."""
    values = {
        "empty": "",
        "wrong": f"{scheme} of-nobody",
        "wrong and lower-case": f"{scheme.lower()} of-nobody",
        "without a secret": scheme,
        "without a scheme": right,
        "two secrets": f"{scheme} {right} {right}",
        "a parameter": f'{scheme} token="{right}", realm=""',
        "not ASCII": f"{scheme} \xfc\xff",
        "commas": ",,,",
        "doubled": f"{scheme} {right}, {scheme} {right}",
        "doubled scheme": f"{scheme} {scheme} {right}",
        "after a wrong one": f"{scheme} of-nobody, {scheme} {right}",
        "of a foreign scheme": foreign,
        "of an unknown scheme": "Negotiate YII=",
        "of no administrator": f"{scheme} {worker}",
    }
    return {"none": {}} | {name: authorization(value) for name, value in values.items()}


BEARER = credentials("Bearer", "of-the-admin", "of-a-worker", "Basic b2YtdGhlLWFkbWluOg==")


def own(refuse: Callable[[], Any], hand_on: Callable[..., Any] = lambda view: view()) -> Auth:
    """Make a decorator as hosts write their own.

    :param refuse: answers whoever is no administrator, or raises.
    :param hand_on: calls the view for an administrator.
    """

    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            header = request.authorization
            if header is None or header.token != "of-the-admin":
                return refuse()
            return hand_on(view)

        return wrapper

    return auth
