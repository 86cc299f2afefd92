"""The symptoms of docs/troubleshooting.md: each sentence there is one that somebody sees."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, abort, get_flashed_messages
from flask_login import LoginManager, login_required
from sqlalchemy.orm import relationship, sessionmaker

from flask_build_admin import BuildAdmin, BuildPages, BuildSchema, Text
from flask_build_admin.exceptions import ConfigurationError
from tests.support.hosts import ADMIN, OCTOCAT, URL, Build, BuildRevision, Host, anybody, model_of
from tests.support.pages import PAGES

CHANGED = OCTOCAT | {"status": "error"}


def misconfigured(**options: Any) -> str:
    """Return why a blueprint cannot be made."""
    given: dict[str, Any] = {"model": Build, "session": lambda: None, "auth": anybody}
    with pytest.raises(ConfigurationError) as caught:
        BuildAdmin(**given | options)
    return str(caught.value)


async def coroutine(view: Any) -> Any:
    return view


def misspelled(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    class Schema(BuildSchema):
        title = Text(attribute="repo.nmae", dump_only=True)

    repo_id: Any = sa.Column(sa.ForeignKey("repos.id"))
    model = model_of("repo_id", repo_id=repo_id, repo=relationship("Repo"))
    key = sa.Column(sa.Integer, primary_key=True)
    # A registry holds its classes by weak references only.
    repo = type("Repo", (model.__mro__[1],), {"__tablename__": "repos", "id": key})
    app = Flask("ci")
    app.register_blueprint(BuildAdmin(model, host.session, anybody, schema=Schema))
    app.test_client().get(f"{URL}/1")
    assert repo.__name__ in caplog.text
    return caplog.text


def refused(response: Any) -> str:
    """Return the status of a refusal, with its sentence."""
    return f"{response.status_code} {response.json['error']}"


def without_queue(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    words = property(lambda build: build.title, lambda build, status: None)
    blueprint = BuildAdmin(model_of(status=words), host.session, anybody)
    Flask("ci").register_blueprint(blueprint)
    return caplog.text


def absent(host: Host, path: str, method: str = "GET", **options: Any) -> str:
    """Return how a route is refused that there is only without these options."""
    app = Flask("ci")
    app.register_blueprint(BuildAdmin(Build, host.session, anybody, **options))
    return refused(app.test_client().open(f"/api/v1/admin/{path}", method=method))


def before_the_auth(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    host.app.before_request(lambda: abort(400))
    return refused(host.put(CHANGED))


def flashed(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    app = Flask("ci")
    app.secret_key = "x"
    manager = LoginManager(app)
    manager.login_view = "login"
    manager.user_loader(lambda _: None)
    app.add_url_rule("/login", "login", lambda: "".join(map(str, get_flashed_messages())))
    app.register_blueprint(BuildAdmin(Build, host.session, login_required))
    client = app.test_client()
    assert client.get(f"{URL}/1").status_code == 401
    return client.get("/login").text


def form_of_elsewhere(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    host.app.register_blueprint(BuildPages(host.blueprint, anybody))
    page = host.client.post("/admin/builds/1/preview", headers={"Sec-Fetch-Site": "cross-site"})
    [sentence] = re.findall("<h2>(.*)</h2>", page.text)
    return f"{page.status_code} {unescape(sentence)}"


def without_table(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    host.execute("DROP TABLE build_revisions")
    assert host.get().status_code == 200
    found = refused(host.put(CHANGED))
    assert "build_revisions" in caplog.text
    return found


def locked(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    impatient = sa.create_engine(f"{host.engine.url}?timeout=0.1")
    host.session.configure(bind=impatient)
    with host.engine.connect() as other:
        other.exec_driver_sql("UPDATE builds SET status = status")
        found = refused(host.put(CHANGED))
    impatient.dispose()
    return found


def committing(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    engine = sa.create_engine(host.engine.url, isolation_level="AUTOCOMMIT")
    host.session.configure(bind=engine)
    found = refused(host.put(CHANGED))
    engine.dispose()
    return found + caplog.text


def against_a_rule(host: Host, caplog: pytest.LogCaptureFixture) -> str:
    host.execute("CREATE TRIGGER rule BEFORE UPDATE ON builds BEGIN SELECT RAISE(ABORT, ''); END")
    return refused(host.put(CHANGED))


#: What provokes each symptom: a function of the host and of the log.
SEEN: dict[str, Callable[[Host, pytest.LogCaptureFixture], str]] = {
    "BuildSchema does not fit the model Build": lambda *_: misconfigured(model=model_of("title")),
    "is no view decorator, it cannot be called": lambda *_: misconfigured(auth=object()),
    "is no view decorator, it is a coroutine function": lambda *_: misconfigured(auth=coroutine),
    "is no view decorator, it returned None for a view": lambda *_: misconfigured(
        auth=lambda view: None
    ),
    "is no view decorator, the function that it returns cannot be called without": lambda *_: (
        misconfigured(auth=lambda *roles: lambda view: view)
    ),
    "returns the view itself, so everybody would be let in": lambda *_: misconfigured(
        auth=lambda view: view
    ),
    "reads 'repo.nmae', but Repo has no 'nmae'": misspelled,
    "does not return the current Session": lambda *_: misconfigured(session=sessionmaker()),
    "build_admin has no queue": without_queue,
    "No such command 'build-admin'.": lambda *_: (
        Flask("ci").test_cli_runner().invoke(args=["build-admin"]).output
    ),
    "401 The server refused this request before its authentication was asked.": before_the_auth,
    "Please log in to access this page.": flashed,
    "403 The form was not sent by this server's own page. Open the page again.": form_of_elsewhere,
    "400 title: missing": lambda host, _: refused(
        host.put({name: OCTOCAT[name] for name in OCTOCAT if name != "title"})
    ),
    "400 dry_run: not true or false, in lower case": lambda host, _: refused(
        host.put(CHANGED, query_string={"dry_run": True})
    ),
    "405 The method is not allowed: GET, HEAD, OPTIONS are."
    " To change a build, send PUT /build, with its id in the body.": lambda host, _: refused(
        host.client.put(f"{URL}/20", json=CHANGED, headers=ADMIN)
    ),
    "415 The Content-Type must be application/json, in UTF-8.": lambda host, _: refused(
        host.client.put(URL, data={"id": "1"}, headers=ADMIN)
    ),
    "409 The database refuses this build: it breaks one of the table's rules.": against_a_rule,
    "500 The database failed to handle the request.": without_table,
    "503 The database cannot answer now: try again.": locked,
    "500 The server failed to handle the request.": committing,
    "The connections of the builds commit every statement at once": committing,
    "404 This server has no queue of builds.": lambda host, _: absent(
        host, "builds/queue", queue_statuses=()
    ),
    "404 This server has no status for builds that are cleaned.": lambda host, _: absent(
        host, "clean", "PUT", queue_statuses=("error", "running")
    ),
    "404 There is no such path.": lambda host, _: refused(
        host.client.get(f"{URL}s/nothing", headers=ADMIN)
    ),
}

#: The sentences in the first column, with the status in front of each.
TOLD = {
    f"{status or ''}{sentence}"
    for status, sentence in re.findall(
        r"^\| (?:([0-9]{3} )?)`([^`]* [^`]*)`", PAGES["docs/troubleshooting.md"], re.MULTILINE
    )
}


def test_every_sentence_is_provoked() -> None:
    assert {*SEEN} - {"The connections of the builds commit every statement at once"} == TOLD


@pytest.mark.parametrize("sentence", SEEN)
def test_somebody_sees_it(
    make_host: Callable[..., Host],
    sqlite_url: str,
    caplog: pytest.LogCaptureFixture,
    sentence: str,
) -> None:
    assert sentence in SEEN[sentence](make_host(sqlite_url, history=BuildRevision), caplog)
