"""The host's auth comes first, and nothing of the host breaks the contract."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial, wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask, Response, abort, current_app, g, redirect
from flask_httpauth import MultiAuth
from flask_jwt_extended import jwt_required
from flask_wtf import CSRFProtect
from sqlalchemy import Table, event, func, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, TooManyRequests, Unauthorized
from werkzeug.local import LocalProxy

from flask_build_admin import BuildAdmin, BuildRevisionMixin, build_updating
from flask_build_admin.exceptions import ConfigurationError
from flask_build_admin.store import ChangeOptions
from tests.support.auth_hosts import (
    BEARER,
    CHANGED,
    METHODS,
    assert_all_works,
    assert_error,
    assert_nothing_passes,
    everywhere,
    own,
)
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    URL,
    WORKER,
    Build,
    BuildRevision,
    Host,
    anybody,
    token_auth,
)

MakeHost = Callable[..., Host]
View = Callable[..., Any]


@pytest.fixture
def make(make_host: MakeHost, sqlite_url: str) -> MakeHost:
    """Make hosts with every route that there is."""
    return partial(make_host, sqlite_url, history=BuildRevision)


class Refused(Exception):
    """A host's own, with the status that the host's handler gives it."""


def handle_refused(app: Flask) -> None:
    @app.errorhandler(Refused)
    def answer(error: Refused) -> Response:
        return Response("handled", error.args[0], {"Location": "/login"})


def raises(error: Exception) -> Any:
    raise error


def forbid(*args: object, **kwargs: object) -> None:
    abort(403)


REFUSALS: dict[str, Callable[[], Any]] = {
    "aborts 401": lambda: abort(401),
    "aborts 403": lambda: abort(403, "The token of-a-worker is no administrator's."),
    "aborts 404": lambda: abort(404),
    "aborts with a 200": lambda: abort(Response("welcome")),
    "aborts with a redirect": lambda: abort(redirect("/login")),
    "redirects": lambda: redirect("/login"),
    "shows a login page": lambda: "<form action=/login>",
    "says 422": lambda: ("no", 422),
    "says 204": lambda: ("", 204),
    "answers JSON": lambda: {"status": "ok"},
    "answers None": lambda: None,
    "answers False": lambda: False,
    "answers True": lambda: True,
    "answers an object": object,
    "answers a list": list,
    "answers a tuple too long": lambda: ("no", 422, {}, None),
    "raises what is handled with 200": lambda: raises(Refused(200)),
    "raises what is handled with 418": lambda: raises(Refused(418)),
    "raises what is handled with 302": lambda: raises(Refused(302)),
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=list(REFUSALS))
def test_however_a_decorator_refuses_it_is_401(make: MakeHost, refuse: Callable[[], Any]) -> None:
    host = make(auth=own(refuse), configure=handle_refused)
    assert_nothing_passes(host, {}, "Bearer")
    assert_nothing_passes(host, WORKER, "Bearer")
    refused = host.get(headers=WORKER).json["error"]
    assert refused == "The server's authentication refuses this request."
    assert_all_works(host, ADMIN)


def asynchronous(view: View) -> View:
    checked = own(forbid)(view)

    @wraps(view)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return current_app.ensure_sync(checked)(*args, **kwargs)

    return wrapper


no_async = pytest.mark.skipif(find_spec("asgiref") is None, reason="needs Flask[async]")


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(own(forbid), id="calls the function"),
        pytest.param(own(forbid, lambda view: view("octokitty")), id="hands the user on"),
        pytest.param(own(forbid, lambda view: view(user="octokitty")), id="hands it on by name"),
        pytest.param(asynchronous, id="is asynchronous", marks=no_async),
    ],
)
def test_a_decorator_of_any_shape_decides(make: MakeHost, auth: Any) -> None:
    host = make(auth=auth)
    for headers in BEARER.values():
        assert_nothing_passes(host, headers, "Bearer")
    assert_all_works(host, ADMIN)


def test_the_hosts_own_challenge_is_told(make: MakeHost) -> None:
    challenge = WWWAuthenticate("digest", {"realm": "ci"})
    host = make(auth=own(lambda: raises(Unauthorized(www_authenticate=challenge))))
    assert_nothing_passes(host, WORKER, challenge.to_header())


@pytest.mark.parametrize(
    ("refuse", "status", "retry_after"),
    [
        (lambda: raises(TooManyRequests(retry_after=30)), 429, "30"),
        (lambda: Response("slow down", 429, {"Retry-After": "30"}), 429, "30"),
        (lambda: raises(Refused(429)), 429, None),
        (lambda: abort(500), 500, None),
        (lambda: ("<h1>broken</h1>", 502), 502, None),
        (lambda: abort(503), 503, "1"),
        (lambda: Response("later", 503, {"Retry-After": "60"}), 503, "60"),
        (lambda: raises(RuntimeError("of-the-admin")), 500, None),
    ],
)
def test_429_and_5xx_of_the_auth_keep_their_status(
    make: MakeHost, refuse: Callable[[], Any], status: int, retry_after: str | None
) -> None:
    host = make(auth=own(refuse), configure=handle_refused)
    with host.statements() as sent:
        for answer in everywhere(host, {}):
            assert_error(answer, status)
            assert answer.headers.get("Retry-After") == retry_after
            if status != 500 and answer.request.method != "HEAD":
                assert answer.json == {"error": f"The server answers {status}."}
            assert b"of-the-admin" not in answer.data
    assert sent == []


@pytest.mark.parametrize("actor", [forbid, None], ids=["actor", "receiver"])
def test_403_of_the_actor_or_a_receiver_leaves_as_401(make: MakeHost, actor: Any) -> None:
    host = make(actor=actor)
    with build_updating.connected_to(forbid, host.app):
        assert_error(host.put(CHANGED), 401)
    assert host.row() == OCTOCAT


LIST = f"{URL}/1/revisions"
UNDO = f"{LIST}/1/undo"
JSON = {"content_type": "application/json"}


def late_undo(host: Host, **options: Any) -> Any:
    """Undo a revision that gave a member another value than it has."""
    assert host.history is not None
    row = {"build_id": 1, "at": datetime.now(UTC), "before": OCTOCAT, "after": CHANGED}
    with host.engine.begin() as connection:
        inserted = connection.execute(insert(host.history.__table__), row)
        [revision] = inserted.inserted_primary_key or []
    return host.undo(revision, **options)


ANSWERS: dict[str, tuple[int, Callable[[Host], Any]]] = {
    "no credentials": (401, lambda host: host.client.put(URL, json=CHANGED)),
    "no administrator": (401, lambda host: host.put(CHANGED, headers=WORKER)),
    "no such build": (404, lambda host: host.get(2)),
    "no such method": (405, lambda host: host.client.delete(URL, headers=ADMIN)),
    "no JSON": (415, lambda host: host.put(data="{}", content_type="text/plain")),
    "too long": (413, lambda host: host.put(data=b" " * 262_145)),
    "malformed": (400, lambda host: host.put(data="{")),
    "invalid": (400, lambda host: host.put({})),
    "stale": (412, lambda host: host.put(CHANGED, headers={"If-Match": '"stale"'})),
    "no such parameter": (400, lambda host: host.put(CHANGED, query_string="dryrun=true")),
    "no administrator's list": (401, lambda host: host.revisions(headers=WORKER)),
    "a list of no such build": (404, lambda host: host.revisions(2)),
    "a list by no such method": (405, lambda host: host.client.put(LIST, headers=ADMIN)),
    "a list of no such length": (400, lambda host: host.revisions(query_string="limit=0")),
    "no administrator's undo": (401, lambda host: host.undo(1, headers=WORKER)),
    "an undo of no such build": (404, lambda host: host.undo(1, 2)),
    "no such revision": (404, lambda host: host.undo(9)),
    "an undo by no such method": (405, lambda host: host.client.put(UNDO, headers=ADMIN)),
    "an undo without JSON": (415, lambda host: host.undo(1, data="{}")),
    "an undo that is too long": (413, lambda host: host.undo(1, data=b" " * 262_145, **JSON)),
    "a stale undo": (412, lambda host: late_undo(host, headers={"If-Match": '"stale"'})),
    "a late undo": (409, lambda host: late_undo(host)),
    "a preview of a late undo": (409, lambda host: late_undo(host, query_string="dry_run=true")),
    "an undo with members": (400, lambda host: host.undo(1, json=CHANGED)),
}
HANDLERS: list[Any] = [401, 403, 404, 405, 413, 500, HTTPException, Exception]

each_handler = pytest.mark.parametrize("handler", HANDLERS)
each_way = pytest.mark.parametrize("way", ["answering", "raising"])


def handle(way: str, *handlers: Any) -> Callable[[Flask], None]:
    def configure(app: Flask) -> None:
        for handler in handlers:
            app.register_error_handler(
                handler, lambda error: raises(Refused()) if way == "raising" else "<h1>ok</h1>"
            )

    return configure


@each_way
@each_handler
def test_no_handler_of_the_host_changes_an_answer(make: MakeHost, handler: Any, way: str) -> None:
    host = make(configure=handle(way, handler), auth=own(forbid))
    for status, ask in ANSWERS.values():
        assert_error(ask(host), status)
    assert host.row() == OCTOCAT


@each_way
@each_handler
def test_no_handler_of_the_host_hides_a_crash(make: MakeHost, handler: Any, way: str) -> None:
    host = make(configure=handle(way, handler), auth=own(lambda: 1 / 0), actor=lambda: 1 / 0)
    assert_error(host.put(CHANGED), 500)
    of_auth = host.put(CHANGED, headers=WORKER)
    # What a handler answers for the auth is the auth's answer: one below 500 is a refusal.
    assert_error(of_auth, 401 if way == "answering" and of_auth.status_code == 401 else 500)
    assert host.row() == OCTOCAT


@pytest.mark.parametrize("handlers", [HANDLERS, []], ids=["with handlers", "without"])
def test_other_paths_keep_the_hosts_own_answers(make: MakeHost, handlers: list[Any]) -> None:
    def configure(app: Flask) -> None:
        handle("answering", *handlers)(app)
        app.add_url_rule("/page", "page", lambda: "page")
        app.add_url_rule("/forbidden", "forbidden", lambda: abort(403))
        app.add_url_rule("/crash", "crash", lambda: str(1 / 0))

    bare = Flask("host")
    configure(bare)
    clients = [make(configure=configure).client, bare.test_client()]
    near = ["/api/v1/admin", "/api/v1/administrators"]
    for path in ["/", "/page", "/page/", "/forbidden", "/crash", *near]:
        for method in METHODS:
            answer, expected = (client.open(path, method=method) for client in clients)
            assert (answer.status, answer.data) == (expected.status, expected.data)
            assert answer.headers == expected.headers


@pytest.mark.parametrize(
    ("hook", "status"),
    [
        (lambda: "welcome", 401),
        (lambda: {"status": "ok"}, 401),
        (lambda: ("", 204), 401),
        (lambda: redirect("/login"), 401),
        (lambda: abort(400), 401),
        (lambda: abort(403), 401),
        (lambda: abort(404), 401),
        (lambda: raises(Refused(200)), 401),
        (lambda: raises(TooManyRequests(retry_after=30)), 429),
        (lambda: ("maintenance", 503), 503),
        (lambda: 1 / 0, 500),
    ],
)
def test_what_is_answered_before_the_auth_was_asked_is_no_agreement(
    make: MakeHost, hook: Callable[[], Any], status: int
) -> None:
    def configure(app: Flask) -> None:
        handle_refused(app)
        app.before_request(hook)

    host = make(configure=configure)
    with host.statements() as sent:
        for answer in everywhere(host, ADMIN):
            assert_error(answer, status)
    assert sent == []


def test_a_refusal_before_the_host_has_a_session_is_401(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("host")
    app.before_request(forbid)
    app.register_blueprint(BuildAdmin(Build, lambda: g.session, own(forbid)))
    answer: Any = app.test_client().put(URL, json=CHANGED, headers=ADMIN)
    assert_error(answer, 401)
    assert answer.json["error"].endswith("before its authentication was asked.")
    assert caplog.messages == ["no session could be rolled back: AttributeError"]


@pytest.mark.parametrize("exempt", [True, False])
def test_csrf_protection_must_exempt_the_blueprint(make: MakeHost, exempt: bool) -> None:
    csrf = CSRFProtect()

    def configure(app: Flask) -> None:
        app.secret_key = "a secret of the host"
        csrf.init_app(app)

    host = make(configure=configure)
    if exempt:
        csrf.exempt(host.blueprint)
        assert_all_works(host, ADMIN)
    else:
        assert_error(host.put(CHANGED), 401)
        assert host.row() == OCTOCAT


class Ledger(DeclarativeBase):
    """The tables of a host that writes down who visited its builds."""


class LedgerBuild(Ledger):
    __table__ = cast(Table, Build.__table__).to_metadata(Ledger.metadata)


class LedgerRevision(BuildRevisionMixin, Ledger):
    __tablename__ = "build_revisions"


class Visit(Ledger):
    __tablename__ = "visits"

    id: Mapped[int] = mapped_column(primary_key=True)


def visits(host: Host) -> int:
    with host.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Visit)) or 0


def leave_pending(session: Session) -> None:
    session.add(Visit())


def leave_flushed(session: Session) -> None:
    leave_pending(session)
    session.flush()


def leave_changed_build(session: Session) -> None:
    leave_pending(session)
    build: Any = session.get(LedgerBuild, 1)
    build.error = build.message = "changed by the auth"


def leave_committed(session: Session) -> None:
    leave_changed_build(session)
    session.commit()


LEFT = [leave_pending, leave_flushed, leave_changed_build]


def visited(make: MakeHost, leave: Callable[[Session], Any]) -> Host:
    """Make a host whose auth leaves something behind before it agrees or refuses."""

    def auth(view: View) -> View:
        return lambda: leave(host.session()) or own(forbid)(view)()

    host = make(model=LedgerBuild, auth=auth, history=LedgerRevision)
    return host


@pytest.mark.parametrize("document", [CHANGED, OCTOCAT], ids=["a change", "no change"])
@pytest.mark.parametrize("leave", [*LEFT, leave_committed])
def test_what_the_auth_left_is_committed_with_a_put(
    make: MakeHost, leave: Callable[[Session], None], document: dict[str, Any]
) -> None:
    host = visited(make, leave)
    answer = host.put(document)
    assert (answer.status_code, answer.json) == (200, document)
    assert host.row() == document
    assert visits(host) == 1


@pytest.mark.parametrize("path", ["build/1", "build/1/revisions", "builds/queue"])
def test_what_the_auth_left_is_committed_with_a_read(make: MakeHost, path: str) -> None:
    host = visited(make, leave_flushed)
    assert host.client.get(f"/api/v1/admin/{path}", headers=ADMIN).status_code == 200
    assert visits(host) == 1


def test_what_the_auth_left_is_rolled_back_with_a_read_that_is_refused(make: MakeHost) -> None:
    host = visited(make, leave_flushed)
    assert_error(host.get(headers={"If-Match": '"other"'}), 412)
    assert_error(host.get(2), 404)
    assert visits(host) == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "clean?dry_run=true", 200),
        ("POST", "revisions/undo?batch=known&dry_run=true", 200),
        ("POST", "revisions/undo?batch=unknown", 404),
        ("PUT", "clean?batch=%20", 400),
    ],
)
def test_what_the_auth_left_is_rolled_back_with_a_preview_of_many(
    make: MakeHost, method: str, path: str, status: int
) -> None:
    host = visited(make, leave_flushed)
    with host.app.app_context():
        host.blueprint.store.update("1", {"error": "lost"}, ChangeOptions(batch="known"))
    answer = host.client.open(f"/api/v1/admin/{path}", method=method, headers=ADMIN)
    assert answer.status_code == status, answer.text
    assert visits(host) == 0


@pytest.mark.parametrize(("status", "ask"), ANSWERS.values(), ids=list(ANSWERS))
@pytest.mark.parametrize("leave", LEFT)
def test_what_the_auth_left_is_rolled_back_with_a_refusal(
    make: MakeHost, leave: Callable[[Session], None], status: int, ask: Callable[[Host], Any]
) -> None:
    host = visited(make, leave)
    with host.app.app_context():  # no teardown between the requests removes the session
        assert_error(ask(host), status)
        assert not host.session().in_transaction()
        assert host.put(OCTOCAT).status_code == 200
    assert host.row() == OCTOCAT
    assert visits(host) == 1


def test_what_the_auth_committed_outlives_a_refusal(make: MakeHost) -> None:
    host = visited(make, leave_committed)
    assert_error(host.put(CHANGED, headers=WORKER), 401)
    assert host.row()["error"] == "changed by the auth"
    assert visits(host) == 1


def test_a_build_that_the_auth_holds_is_read_anew(make: MakeHost) -> None:
    held: list[Any] = []

    def hold(session: Session) -> None:
        held.append(session.get(LedgerBuild, 1))
        host.execute("UPDATE builds SET error = 'of another administrator'")

    host = visited(make, hold)
    assert host.get().json["error"] == "of another administrator"
    assert host.put(OCTOCAT).json == OCTOCAT
    assert host.row() == OCTOCAT


def test_a_database_gone_for_the_auth_is_503_until_it_is_back(
    make: MakeHost, tmp_path: Path
) -> None:
    host = visited(make, leave_flushed)
    database = tmp_path / "ci.db"
    database.rename(tmp_path / "gone.db")
    database.mkdir()
    with host.app.app_context():
        for answer in everywhere(host, ADMIN):
            assert_error(answer, 503)
            assert int(answer.headers["Retry-After"]) > 0
            if answer.request.method != "HEAD":
                assert answer.json == {"error": "The database cannot answer now: try again."}
        database.rmdir()
        (tmp_path / "gone.db").rename(database)
        assert_all_works(host, ADMIN)


def test_a_network_error_that_a_driver_passes_on_to_the_auth_is_503(make: MakeHost) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionResetError("Connection reset by peer")

    host = visited(make, leave_flushed)
    event.listen(host.engine, "before_cursor_execute", fail)
    assert_error(host.put(CHANGED), 503)
    event.remove(host.engine, "before_cursor_execute", fail)
    assert host.put(CHANGED).status_code == 200


def test_a_failure_of_the_auths_database_is_500_without_its_text(make: MakeHost) -> None:
    host = visited(make, lambda session: session.execute(text("SELECT * FROM passwd")))
    answer = host.put(CHANGED)
    assert_error(answer, 500)
    assert b"passwd" not in answer.data


def needs_user(view: View) -> View:
    return lambda user: view()


def needs_user_and_wraps(view: View) -> View:
    return wraps(view)(lambda user: view())


async def coroutine(view: View) -> View:
    return view


USERS = {"of-the-admin": "octokitty"}
EXAMPLE = r"for example token_auth\.login_required\(role="
MAKER = r"If it makes view decorators, call it, for example auth=role_required\('admin'\)"


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        (None, f"auth=None is no view decorator, it cannot be called: pass a function.*{EXAMPLE}"),
        ("Bearer of-the-admin", EXAMPLE),
        (token_auth(), EXAMPLE),
        (MultiAuth(token_auth()), EXAMPLE),
        (coroutine, "it is a coroutine function: define it with def"),
        (USERS.get, "it returned None for a view: let it return the function that checks"),
        (USERS.__getitem__, EXAMPLE),
        (lambda: None, rf"takes 0 positional arguments but 1 was given\): .*{MAKER}"),
        (lambda view: True, "it returned True for a view"),
        (lambda view: max, "it returned <built-in function max> for a view"),  # written in C
        (jwt_required, f"cannot be called without 'fn': give that a default, fn=None. {MAKER}"),
        (needs_user, "without 'user': give that a default, user=None"),
        (needs_user_and_wraps, "without 'user': give that a default, user=None"),
    ],
)
def test_what_is_no_decorator_is_told_when_the_blueprint_is_made(auth: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        BuildAdmin(Build, lambda: Session(), auth)


def test_the_current_user_is_no_function() -> None:
    user: Any = LocalProxy(lambda: None)
    with pytest.raises(ConfigurationError, match="auth=LocalProxy is no view decorator"):
        BuildAdmin(Build, lambda: Session(), user)
    with pytest.raises(ConfigurationError, match="actor=LocalProxy is who is acting, and not a"):
        BuildAdmin(Build, lambda: Session(), anybody, actor=user)
