"""Whatever shape the host's decorator has, the view runs within it or not at all."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial, wraps
from importlib.util import find_spec
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    copy_current_request_context,
    current_app,
    g,
    got_request_exception,
    jsonify,
    make_response,
    redirect,
    request,
)
from flask_login import LoginManager
from flask_wtf import CSRFProtect
from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from werkzeug.exceptions import Forbidden

from flask_build_admin import BuildAdmin, build_updated, build_updating
from flask_build_admin.exceptions import ConfigurationError
from tests.support.auth_hosts import CHANGED, assert_error
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    URL,
    WORKER,
    Build,
    BuildRevision,
    Host,
    token_auth,
)

MakeHost = Callable[..., Host]
View = Callable[..., Any]
Decorator = Callable[[View], View]


def is_admin() -> bool:
    return request.headers.get("Authorization") == ADMIN["Authorization"]


def decorator(call: Callable[..., Any]) -> Decorator:
    """Make a decorator that refuses all but administrators.

    :param call: is given the view and the variables of the path, and calls the view, or not.
    """

    def auth(view: View) -> View:
        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not is_admin():
                abort(401)
            return call(view, *args, **kwargs)

        return wrapper

    return auth


def without_arguments(view: View) -> View:
    return lambda: view() if is_admin() else abort(401)


def with_the_build_alone(view: View) -> View:
    def wrapper(build_id: str | None = None) -> Any:
        return view(build_id) if is_admin() else abort(401)

    return wrapper


def with_positions_alone(view: View) -> View:
    return lambda *args: view(*args) if is_admin() else abort(401)


def with_the_build_by_position(view: View) -> View:
    def wrapper(build_id: str | None = None, /) -> Any:
        return view() if is_admin() else abort(401)

    return wrapper


class AsObject:
    """A decorator that makes an object, as class-based ones do."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __call__(self, **kwargs: Any) -> Any:
        return self.view(**kwargs) if is_admin() else abort(401)


def asynchronous(view: View) -> View:
    @wraps(view)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not is_admin():
            abort(401)
        return current_app.ensure_sync(view)(*args, **kwargs)

    return wrapper


def that_awaits(view: View) -> View:
    @wraps(view)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not is_admin():
            abort(401)
        return await view(*args, **kwargs)

    return wrapper


def twice(view: View, **kwargs: Any) -> Any:
    view(**kwargs)
    return view(**kwargs)


def nothing(view: View, **kwargs: Any) -> None:
    view(**kwargs)


def in_a_thread(view: View, **kwargs: Any) -> Any:
    found: list[Any] = []
    run = copy_current_request_context(lambda: found.append(view(**kwargs)))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def in_a_lock(view: View, **kwargs: Any) -> Any:
    with threading.Lock():
        return view(**kwargs)


def with_a_header(view: View, **kwargs: Any) -> Any:
    response = make_response(view(**kwargs))
    response.headers["X-RateLimit-Remaining"] = "9"
    return response


def swallows(view: View, **kwargs: Any) -> Any:
    try:
        return view(**kwargs)
    except LookupError:
        return jsonify(status="ok")


#: Decorators that let an administrator do all that there is.
LET_IN: dict[str, Decorator] = {
    "calls it": decorator(lambda view, **kwargs: view(**kwargs)),
    "calls it without arguments": decorator(lambda view, **kwargs: view()),
    "calls it with a user": decorator(lambda view, **kwargs: view("octokitty", **kwargs)),
    "calls it with other variables": decorator(lambda view, **kwargs: view(build_id="2")),
    "calls it twice": decorator(twice),
    "calls it and returns nothing": decorator(nothing),
    "calls it in a thread": decorator(in_a_thread),
    "calls it in a lock": decorator(in_a_lock),
    "makes a response of it": decorator(lambda view, **kwargs: make_response(view(**kwargs))),
    "adds a header": decorator(with_a_header),
    "returns it with a header": decorator(lambda view, **kwargs: (view(**kwargs), {"X-A": "b"})),
    "returns it or refuses": decorator(lambda view, **kwargs: view(**kwargs) or abort(403)),
    "swallows exceptions": decorator(swallows),
    "takes no arguments": without_arguments,
    "takes the id of the build alone": with_the_build_alone,
    "takes positions alone": with_positions_alone,
    "takes the id by its position": with_the_build_by_position,
    "is an object": AsObject,
    "is partial": lambda view: partial(decorator(lambda view, **kw: view(**kw))(view)),
    "is asynchronous": asynchronous,
    "is of an extension": token_auth().login_required(role="admin"),
    "is two": lambda view: decorator(lambda view, **kw: view(**kw))(AsObject(view)),
}

#: Decorators that call nothing, or not in time.
NEVER: dict[str, Decorator] = {
    "returns the view": decorator(lambda view, **kwargs: view),
    "returns a function that calls it": decorator(lambda view, **kwargs: lambda *_: view()),
    "returns a generator": decorator(lambda view, **kwargs: (view() for _ in "1")),
    "returns True": decorator(lambda view, **kwargs: True),
    "returns nothing": decorator(lambda view, **kwargs: None),
    "returns an exception": decorator(lambda view, **kwargs: Forbidden()),
    "redirects": decorator(lambda view, **kwargs: redirect("/login")),
    "raises": decorator(lambda view, **kwargs: abort(404)),
}


def with_another_status(view: View, **kwargs: Any) -> Any:
    response = view(**kwargs)
    response.status_code = 403
    return response


#: Decorators that call the view, and refuse the request after it.
AFTER: dict[str, Decorator] = {
    "calls it and refuses": decorator(lambda view, **kwargs: view(**kwargs) and abort(403)),
    "calls it and redirects": decorator(lambda view, **kwargs: view(**kwargs) and redirect("/")),
    "calls it and returns JSON": decorator(lambda view, **kwargs: view(**kwargs) and {"a": 1}),
    "calls it and returns a list": decorator(lambda view, **kwargs: [view(**kwargs)]),
    "calls it and returns False": decorator(lambda view, **kwargs: not view(**kwargs)),
    "returns it with a status": decorator(lambda view, **kwargs: (view(**kwargs), 403)),
    "changes its status": decorator(with_another_status),
}

#: Requests, each with what it is answered where the auth agrees.
REQUESTS: dict[str, tuple[int, Callable[[Host], Any]]] = {
    "a fetch": (200, lambda host: host.get()),
    "the queue": (200, lambda host: host.client.get(f"{URL}s/queue", headers=ADMIN)),
    "revisions": (200, lambda host: host.revisions()),
    "a preview": (200, lambda host: host.put(CHANGED, query_string="dry_run=true")),
    "a put of no such build": (404, lambda host: host.put(CHANGED | {"id": 2})),
    "an invalid put": (400, lambda host: host.put({})),
    "no such method": (405, lambda host: host.client.delete(URL, headers=ADMIN)),
    "a put": (200, lambda host: host.put(CHANGED)),
    "an undo": (200, lambda host: host.undo(1)),
}
STORED = {"a put": CHANGED, "an undo": OCTOCAT}

needs_asgiref = pytest.mark.skipif(find_spec("asgiref") is None, reason="needs Flask[async]")


@pytest.fixture
def make(make_host: MakeHost, sqlite_url: str) -> MakeHost:
    return partial(make_host, sqlite_url, history=BuildRevision)


def shapes(table: dict[str, Decorator]) -> Any:
    marks = {"is asynchronous": [needs_asgiref]}
    return pytest.mark.parametrize(
        "auth",
        [pytest.param(one, id=name, marks=marks.get(name, [])) for name, one in table.items()],
    )


@shapes(LET_IN)
def test_who_is_let_in_gets_everything(make: MakeHost, auth: Decorator) -> None:
    host = make(auth=auth)
    assert_error(host.put(CHANGED, headers=WORKER), 401)
    assert host.row() == OCTOCAT
    for name, (status, ask) in REQUESTS.items():
        answer = ask(host)
        assert answer.status_code == status, name
        if name in STORED:
            assert answer.json == host.row() == STORED[name]
    assert len(host.revisions().json) == 2


@shapes(NEVER)
def test_a_decorator_that_does_not_call_the_view_refuses(make: MakeHost, auth: Decorator) -> None:
    host = make(auth=auth)
    with host.statements() as sent:
        for _, ask in REQUESTS.values():
            assert_error(ask(host), 401)
    assert sent == []


@shapes(AFTER)
def test_a_refusal_after_the_view_denies_all_but_what_is_stored(
    make: MakeHost, auth: Decorator, caplog: pytest.LogCaptureFixture
) -> None:
    host = make(auth=auth)
    caplog.set_level(logging.INFO, "flask_build_admin")
    for name, (_, ask) in REQUESTS.items():
        caplog.clear()
        answer = ask(host)
        if name in STORED:
            assert (answer.status_code, answer.json) == (200, STORED[name])
            assert host.row() == STORED[name]
            assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
            assert caplog.messages[1].endswith(
                "after the change was stored: the client receives 200."
            )
        else:
            assert_error(answer, 401)
            assert not answer.json.keys() & {"fields", "id"}


class Broken(Exception):
    """A mistake of the host's."""


@pytest.mark.parametrize("handled", [None, 200, 401, 418])
def test_an_exception_after_the_view(
    make: MakeHost, handled: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(view: View, **kwargs: Any) -> Any:
        view(**kwargs)
        raise Broken("of-the-admin")

    def configure(app: Flask) -> None:
        if handled:
            app.register_error_handler(Broken, lambda error: ("handled", handled))

    host = make(auth=decorator(fail), configure=configure)
    caplog.set_level(logging.INFO, "flask_build_admin")
    for name, (_, ask) in REQUESTS.items():
        caplog.clear()
        answer = ask(host)
        if name in STORED:
            assert (answer.status_code, answer.json) == (200, STORED[name])
            assert "the auth raised Broken after the change was stored" in caplog.messages[-1]
            assert "of-the-admin" not in caplog.text
        else:
            # What a handler makes of the exception is what the auth answers.
            assert_error(answer, 401 if handled else 500)


@needs_asgiref
def test_awaiting_what_is_no_coroutine_denies_nothing_that_is_stored(make: MakeHost) -> None:
    host = make(auth=that_awaits)
    assert_error(host.get(), 500)
    assert host.put(CHANGED).json == host.row() == CHANGED


@pytest.mark.parametrize("call", [swallows, twice], ids=["swallows it", "tries again"])
def test_a_decorator_cannot_hide_that_the_view_failed(make: MakeHost, call: View) -> None:
    def again(view: View, **kwargs: Any) -> Any:
        for _ in range(2):
            try:
                call(view, **kwargs)
            except Broken:
                continue
        return None

    def fail(*_: Any, **__: Any) -> None:
        raise LookupError if call is swallows else Broken

    host = make(auth=decorator(swallows if call is swallows else again))
    with build_updating.connected_to(fail, host.app):
        assert_error(host.put(CHANGED), 500)
    assert host.row() == OCTOCAT


@pytest.mark.parametrize("refuse", [lambda: abort(403), lambda: 1 / 0], ids=["aborts", "fails"])
@pytest.mark.parametrize("of_the_app", [True, False], ids=["last of all", "in between"])
def test_the_view_is_not_run_once_the_decorator_has_ended(
    make: MakeHost, of_the_app: bool, refuse: Callable[[], Any]
) -> None:
    kept: list[View] = []

    def late(response: Response) -> Response:
        while kept:
            kept.pop()()
        return response if of_the_app else Response("welcome")

    def keep(view: View, **kwargs: Any) -> Any:
        kept.append(view)
        if not of_the_app:
            after_this_request(late)
        refuse()

    def configure(app: Flask) -> None:
        app.register_error_handler(ZeroDivisionError, lambda error: "welcome")
        if of_the_app:
            app.after_request(late)

    host = make(auth=decorator(keep), configure=configure)
    with host.statements() as sent:
        for _, ask in REQUESTS.values():
            assert_error(ask(host), 401)
    assert sent == []
    assert kept == []


TENANT: ContextVar[int] = ContextVar("TENANT")


@contextmanager
def of_tenant(tenant: int) -> Iterator[None]:
    before = TENANT.set(tenant)
    try:
        yield
    finally:
        TENANT.reset(before)


def test_a_scope_that_the_decorator_opens_is_open_for_the_view(make: MakeHost) -> None:
    def scoped(view: View, **kwargs: Any) -> Any:
        with of_tenant(int(request.headers["X-Tenant"])):
            return view(**kwargs)

    host = make(auth=decorator(scoped), rows=[OCTOCAT, OCTOCAT | {"id": 2, "repo_id": 2}])

    @event.listens_for(host.session, "do_orm_execute")
    def only_of_the_tenant(state: ORMExecuteState) -> None:
        own = with_loader_criteria(Build, Build.repo_id == TENANT.get())
        state.statement = state.statement.options(own)

    for tenant in (1, 2):
        headers = ADMIN | {"X-Tenant": str(tenant)}
        other = 3 - tenant
        assert host.get(tenant, headers=headers).json["id"] == tenant
        assert_error(host.get(other, headers=headers), 404)
        theirs = OCTOCAT | {"id": other, "repo_id": other, "status": "error"}
        assert_error(host.put(theirs, headers=headers), 404)
        mine = OCTOCAT | {"id": tenant, "repo_id": tenant, "status": "running"}
        assert host.put(mine, headers=headers).status_code == 200
        listed: Any = host.client.get(f"{URL}s/queue", headers=headers).json
        assert [build["id"] for build in listed] == [tenant]


def test_a_transaction_that_the_decorator_begins_is_the_views(
    make_host: MakeHost, database_url: str
) -> None:
    host: Host

    def begun(view: View, **kwargs: Any) -> Any:
        with host.session() as session, session.begin():
            return view(**kwargs)

    def nested(view: View, **kwargs: Any) -> Any:
        with host.session().begin_nested():
            return view(**kwargs)

    for number, call in enumerate((begun, nested)):
        document = OCTOCAT | {"error": f"lost {number}"}
        host = make_host(database_url, auth=decorator(call), history=BuildRevision)
        assert host.put(document, query_string="dry_run=true").status_code == 200
        assert host.row() == OCTOCAT
        assert host.put(OCTOCAT | {"number": 0}).status_code == 400
        answer = host.put(document)
        assert (answer.status_code, answer.json) == (200, document)
        assert host.row() == document
        [revision] = host.revisions().json
        assert host.undo(revision["id"]).json == host.row() == OCTOCAT
        host.close()


def test_the_decorator_sees_the_variables_of_the_path(make: MakeHost, make_host: MakeHost) -> None:
    seen: list[dict[str, Any]] = []

    def forbid_one(view: View, **kwargs: Any) -> Any:
        seen.append(kwargs)
        if kwargs.get("build_id") == "1":
            abort(403)
        return view(**kwargs)

    host = make(auth=decorator(forbid_one), rows=[OCTOCAT, OCTOCAT | {"id": 2, "number": 2}])
    assert_error(host.get(), 401)
    assert_error(host.revisions(), 401)
    assert_error(host.undo(1), 401)
    assert host.get(2).status_code == 200
    assert host.put(CHANGED).status_code == 200  # its id is in the body
    assert seen == [
        {"build_id": "1"},
        {"build_id": "1"},
        {"build_id": "1", "revision_id": "1"},
        {"build_id": "2"},
        {},
    ]


def test_the_variables_of_the_prefix_are_seen_as_well(make: MakeHost) -> None:
    def of_this_tenant(view: View, tenant: str, **kwargs: Any) -> Any:
        return view(**kwargs) if tenant == "mine" else abort(403)

    def auth(view: View) -> View:
        return lambda tenant="none", **kwargs: decorator(of_this_tenant)(view)(
            tenant=tenant, **kwargs
        )

    host = make()
    blueprint = BuildAdmin(Build, host.session, auth, name="more", url_prefix="/<tenant>/admin")
    host.app.register_blueprint(blueprint)
    assert host.client.get("/mine/admin/build/1", headers=ADMIN).json == OCTOCAT
    assert_error(host.client.get("/other/admin/build/1", headers=ADMIN), 401)


def marker(view: Any) -> Any:
    view.is_admin_only = True
    return view


APP = Flask("host")


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(lambda view: view, id="the view itself"),
        pytest.param(marker, id="a marker"),
        pytest.param(token_auth().verify_token, id="verify_token"),
        pytest.param(CSRFProtect().exempt, id="csrf.exempt"),
        pytest.param(LoginManager().user_loader, id="user_loader"),
        pytest.param(APP.before_request, id="before_request"),
        pytest.param(APP.route("/build"), id="route"),
        pytest.param(APP.errorhandler(404), id="errorhandler"),
    ],
)
def test_a_decorator_that_returns_the_view_itself_is_refused(auth: Any) -> None:
    with pytest.raises(ConfigurationError, match="returns the view itself"):
        BuildAdmin(Build, lambda: Session(), auth)


def override() -> None:
    request.method = request.headers.get("X-HTTP-Method-Override", request.method)


METHODS = ["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE"]


@pytest.mark.parametrize("of_the_app", [True, False], ids=["of the app", "of the blueprint"])
def test_a_hook_that_changes_the_method_lets_nobody_in(make: MakeHost, of_the_app: bool) -> None:
    host = make()
    blueprint = BuildAdmin(
        Build,
        host.session,
        decorator(lambda view, **kwargs: view(**kwargs)),
        history=BuildRevision,
        name="more",
        url_prefix="/more",
    )
    (host.app if of_the_app else blueprint).before_request(override)
    ran: list[str] = []

    inner = Blueprint("inner", __name__, url_prefix="/inner")
    inner.before_request(override)
    blueprint.register_blueprint(inner)

    @inner.route("/own", methods=["GET", "PUT"])
    @inner.route("/options", methods=["GET", "OPTIONS"])
    @blueprint.route("/own", methods=["GET", "PUT"])
    @blueprint.route("/options", methods=["GET", "OPTIONS"])
    def own() -> str:
        ran.append(request.method)
        return "own"

    host.app.register_blueprint(blueprint)
    paths = ["build", "build/1", "build/1/revisions/1/undo", "own", "options"]
    for path in (*paths, "inner/own", "inner/options"):
        for sent in METHODS:
            for meant in METHODS:
                headers = WORKER | {"X-HTTP-Method-Override": meant}
                url = f"/more/{path}"
                answer = host.client.open(url, method=sent, json=CHANGED, headers=headers)
                # OPTIONS is answered without asking who sends it, and runs nothing.
                assert answer.status_code in (
                    {200, 401, 405} if "OPTIONS" in (sent, meant) else {401, 405}
                )
                assert answer.status_code != 200 or not answer.data
    assert host.row() == OCTOCAT
    assert ran == []
    # Where the auth sees another method than the hook makes of it, it is the auth's that counts.
    headers = ADMIN | {"X-HTTP-Method-Override": "PUT"}
    answer = host.client.post("/more/build", json=CHANGED, headers=headers)
    assert answer.status_code == (200 if of_the_app else 405)
    assert host.row() == (CHANGED if of_the_app else OCTOCAT)


def test_a_hook_of_the_blueprint_runs_once_the_auth_has_agreed(make: MakeHost) -> None:
    host = make()

    def user(view: View, **kwargs: Any) -> Any:
        g.user = "octokitty"
        return view(**kwargs)

    blueprint = BuildAdmin(Build, host.session, decorator(user), name="more", url_prefix="/more")
    seen: list[str] = []

    @blueprint.before_request
    async def note() -> Any:
        if request.method == "OPTIONS":
            return "", 204, {"Access-Control-Allow-Origin": "https://ci.test"}
        seen.append(g.user)
        status = request.headers.get("X-Status")
        return ("<h1>hook</h1>", int(status)) if status else None

    @blueprint.get("/own")
    def own() -> str:
        return "own"

    host.app.register_blueprint(blueprint)
    for path in ("/more/build/1", "/more/own"):
        assert_error(host.client.get(path, headers=WORKER | {"X-Status": "200"}), 401)
        assert seen == []
        assert host.client.get(path, headers=ADMIN).status_code == 200
        assert host.client.get(path, headers=ADMIN | {"X-Status": "200"}).text == "<h1>hook</h1>"
        for status, expected in {"423": 423, "403": 401, "302": 500}.items():
            assert_error(host.client.get(path, headers=ADMIN | {"X-Status": status}), expected)
        answer = host.client.options(path)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://ci.test"
        assert seen == ["octokitty"] * 5
        seen.clear()


def test_a_websocket_is_asked_for_in_vain(make: MakeHost) -> None:
    host = make()
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for path, status in {f"{URL}/1": 200, URL: 405, f"{URL}s/queue": 200}.items():
        assert_error(host.client.get(path, headers=WORKER | asked), 401)
        answer = host.client.get(path, headers=ADMIN | asked)
        assert (answer.status_code, answer.content_type) == (status, "application/json")
        assert host.client.options(path, headers=asked).status_code == 200


def test_a_response_that_is_false_is_a_response(make: MakeHost) -> None:
    class Falsy(Response):
        def __bool__(self) -> bool:
            return False

    def configure(app: Flask) -> None:
        app.response_class = Falsy

    host = make(configure=configure)
    blueprint = BuildAdmin(
        Build, host.session, token_auth().login_required(role="admin"), name="more", url_prefix="/m"
    )
    ran: list[str] = []

    @blueprint.before_request
    def hook() -> Any:
        return ("closed", 423) if "closed" in request.args else None

    @blueprint.get("/own")
    def own() -> str:
        ran.append("own")
        return "own"

    host.app.register_blueprint(blueprint)
    assert_error(host.client.get("/m/own", headers=WORKER), 401)
    assert_error(host.client.get("/m/own?closed", headers=ADMIN), 423)
    assert ran == []
    assert_error(host.client.get("/m/build/1?closed", headers=ADMIN), 423)
    assert host.client.options("/m/build/1?closed").status_code == 401
    assert host.client.get("/m/build/1", headers=ADMIN).json == OCTOCAT


def test_only_a_change_that_is_stored_cannot_be_denied(make: MakeHost) -> None:
    host = make()
    auth = decorator(lambda view, **kwargs: view(**kwargs) and abort(403))
    blueprint = BuildAdmin(Build, host.session, auth, name="more", url_prefix="/more")
    hooked = {"Content-Location": "/elsewhere"}
    blueprint.before_request(lambda: ("cached", 200, hooked) if "hook" in request.args else None)
    host.app.register_blueprint(blueprint)
    assert_error(host.client.get("/more/build/1?hook", headers=ADMIN), 401)
    assert_error(host.client.put("/more/build", json=OCTOCAT, headers=ADMIN), 401)
    assert host.client.put("/more/build", json=CHANGED, headers=ADMIN).json == CHANGED


def rewrites(view: View, **kwargs: Any) -> Any:
    response = view(**kwargs)
    response.set_data(b"denied")
    return response


def test_a_body_that_the_decorator_makes_is_none_of_the_views(make: MakeHost) -> None:
    host = make(auth=decorator(rewrites))
    assert_error(host.get(), 401)
    answer = host.put(CHANGED)
    assert (answer.status_code, answer.json) == (200, CHANGED)
    assert answer.content_length == len(answer.data)


def test_a_session_that_the_auth_breaks_after_a_change_is_rolled_back(make: MakeHost) -> None:
    host: Host

    def fail(view: View, **kwargs: Any) -> Any:
        response = view(**kwargs)
        host.session.add(Build(**OCTOCAT))
        host.session.flush()
        return response

    host = make(auth=decorator(fail))
    with host.app.app_context():
        assert host.put(CHANGED).json == CHANGED
        assert not host.session().in_transaction()


def test_a_change_that_the_decorator_does_not_wait_for_is_not_denied(make: MakeHost) -> None:
    waiting = threading.Event()

    def wait(*_: Any, **__: Any) -> None:
        waiting.set()
        time.sleep(0.3)

    def impatient(view: View, **kwargs: Any) -> Any:
        run = copy_current_request_context(lambda: view(**kwargs))
        threading.Thread(target=run).start()
        waiting.wait(10)
        abort(503)

    host = make(auth=decorator(impatient))
    with build_updating.connected_to(wait, host.app):
        assert host.put(CHANGED).json == host.row() == CHANGED


def test_a_view_that_the_host_has_wrapped_runs_inside_the_auth(make: MakeHost) -> None:
    host = make()
    called: list[str] = []

    def instrument(view: View) -> View:
        @wraps(view)
        def wrapper(**values: Any) -> Any:
            called.append("wrapper")
            return view(**values)

        return wrapper

    for name, view in host.app.view_functions.items():
        host.app.view_functions[name] = instrument(view)
    assert host.get().json == OCTOCAT
    assert host.put(CHANGED).json == host.row() == CHANGED
    assert called == ["wrapper"] * 2
    assert_error(host.get(headers=WORKER))
    assert_error(host.put(OCTOCAT, headers=WORKER))
    assert host.row() == CHANGED


def test_a_receiver_may_call_another_view(make: MakeHost) -> None:
    host = make(auth=decorator(lambda view, **kwargs: view(**kwargs) and abort(403)))

    def fetch(*_: Any, **__: Any) -> None:
        host.app.view_functions["build_admin.queue"]()

    with build_updated.connected_to(fetch, host.app):
        assert host.put(CHANGED).json == host.row() == CHANGED


def test_a_view_of_the_hosts_cannot_deny_what_another_has_stored(make: MakeHost) -> None:
    host = make()
    auth = decorator(lambda view, **kwargs: view(**kwargs))
    blueprint = BuildAdmin(Build, host.session, auth, name="more", url_prefix="/more")

    @blueprint.put("/own")
    def own() -> tuple[str, int]:
        host.app.view_functions["more.overwrite"]()
        return "no", 403

    host.app.register_blueprint(blueprint)
    preview = "/more/own?dry_run=true"
    assert_error(host.client.put(preview, json=CHANGED, headers=ADMIN), 401)
    assert host.client.put("/more/own", json=CHANGED, headers=ADMIN).json == CHANGED
    assert host.row() == CHANGED


@needs_asgiref
def test_a_view_within_an_async_decorator_runs_in_the_thread_of_the_request(
    make: MakeHost,
) -> None:
    threads: list[int] = []
    host: Host

    def scoped(view: View) -> View:
        @wraps(view)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not is_admin():
                abort(401)
            with of_tenant(7):
                return view(*args, **kwargs)

        return wrapper

    def note(*_: Any, **__: Any) -> None:
        threads.append(threading.get_ident())
        assert TENANT.get() == 7
        # The view of another request, whose auth is not asynchronous.
        assert host.client.get("/more/build/1", headers=ADMIN).status_code == 200

    async def hook() -> None:
        threads.append(threading.get_ident())

    host = make(auth=scoped, history=None)
    blueprint = BuildAdmin(Build, host.session, scoped, name="async", url_prefix="/async")
    blueprint.before_request(hook)
    host.app.register_blueprint(blueprint)
    auth = decorator(lambda view, **kwargs: view(**kwargs))
    host.app.register_blueprint(
        BuildAdmin(Build, host.session, auth, name="more", url_prefix="/more")
    )
    with build_updated.connected_to(note, host.app):
        assert host.client.put("/async/build", json=CHANGED, headers=ADMIN).json == CHANGED
    assert threads[-1] == threading.get_ident()
    assert len(threads) == 2

    def fail(*_: Any, **__: Any) -> None:
        raise Broken

    with build_updating.connected_to(fail, host.app):
        assert_error(host.client.put("/async/build", json=OCTOCAT, headers=ADMIN), 500)
    assert host.row() == CHANGED


@needs_asgiref
@pytest.mark.parametrize("busy", [False, True], ids=["late", "last"])
def test_a_view_that_an_async_decorator_calls_after_it_has_ended_fails(
    make: MakeHost, busy: bool
) -> None:
    late: list[threading.Thread] = []
    raised: list[RuntimeError] = []
    leaving, working = threading.Event(), threading.Event()

    def in_context(call: Callable[[], Any]) -> threading.Thread:
        thread = threading.Thread(target=partial(copy_context().run, call), daemon=True)
        thread.start()
        return thread

    def impatient(view: View) -> View:
        def call_late() -> None:
            leaving.wait(10)
            try:
                view()
            except RuntimeError as error:
                raised.append(error)

        @wraps(view)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            late.append(in_context(call_late))
            if busy:
                in_context(view)
                working.wait(10)
            return "", 401

        return wrapper

    def work(*_: Any, **__: Any) -> None:
        working.set()
        time.sleep(0.5)  # the decorator ends
        leaving.set()
        time.sleep(0.1)  # the late call is made, and nobody takes it

    host = make(auth=impatient)
    with build_updating.connected_to(work, host.app):
        answer = host.put(CHANGED)
    leaving.set()
    [thread] = late
    thread.join(10)
    assert not thread.is_alive()
    assert [str(one) for one in raised] == ["The view was called after its decorator had ended."]
    assert (answer.status_code, host.row()) == ((200, CHANGED) if busy else (401, OCTOCAT))


@needs_asgiref
def test_a_signal_that_ends_a_request_ends_the_call_of_its_view(make: MakeHost) -> None:
    raised: list[str] = []
    stopping = threading.Event()

    def stop(*_: Any) -> None:
        stopping.set()
        raise Broken

    def slow(view: View) -> View:
        @wraps(view)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            stopping.wait(10)
            try:
                return view(*args, **kwargs)
            except RuntimeError as error:
                raised.append(str(error))

        return wrapper

    host = make(auth=slow)
    host.app.testing = True
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Broken):
            host.put(CHANGED)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert raised == ["The view was called after its decorator had ended."]
    assert host.row() == OCTOCAT


@pytest.mark.parametrize("call", ["swallow", "turn"])
def test_a_failure_that_the_decorator_hides_is_logged_by_flask(make: MakeHost, call: str) -> None:
    def hide(view: View, **kwargs: Any) -> Any:
        try:
            return view(**kwargs)
        except Broken:
            return None if call == "swallow" else ("fine", 200)

    def fail(*_: Any, **__: Any) -> None:
        raise Broken

    host = make(auth=decorator(hide))
    seen: list[Exception] = []

    def see(app: Flask, exception: Exception) -> None:
        seen.append(exception)

    with build_updating.connected_to(fail, host.app):
        with got_request_exception.connected_to(see, host.app):
            assert_error(host.put(CHANGED), 500)
        assert [type(one) for one in seen] == [Broken]
        host.app.testing = True
        with pytest.raises(Broken):
            host.put(CHANGED)


def test_an_exception_of_a_hook_is_the_hosts_to_handle(make: MakeHost) -> None:
    host = make(configure=lambda app: app.register_error_handler(Broken, lambda error: ("no", 423)))
    auth = decorator(lambda view, **kwargs: view(**kwargs))
    blueprint = BuildAdmin(Build, host.session, auth, name="more", url_prefix="/more")

    @blueprint.before_request
    def fail() -> None:
        raise Broken

    @blueprint.get("/own")
    def own() -> str:
        return "own"

    host.app.register_blueprint(blueprint)
    for path in ("/more/own", "/more/build/1"):
        assert_error(host.client.get(path, headers=ADMIN), 423)
        assert_error(host.client.get(path, headers=WORKER), 401)


@pytest.mark.parametrize("length", [None, 0, 10, 2**30])
def test_a_hook_does_not_change_the_limit_of_the_body(make: MakeHost, length: int | None) -> None:
    host = make(max_content_length=1000)
    blueprint = BuildAdmin(
        Build,
        host.session,
        decorator(lambda view, **kwargs: view(**kwargs)),
        max_content_length=1000,
        name="more",
        url_prefix="/more",
    )

    @blueprint.before_request
    def lengthen() -> None:
        request.max_content_length = length

    host.app.register_blueprint(blueprint)
    long = CHANGED | {"message": "x" * 1000}
    answer: Any = host.client.put("/more/build", json=long, headers=ADMIN)
    assert_error(answer, 413)
    assert answer.json["error"] == "The body is longer than 1000 bytes."
    if length == 10:  # but no body that it makes too long is called incomplete
        assert_error(host.client.put("/more/build", json=CHANGED, headers=ADMIN), 413)
    assert host.row() == OCTOCAT


def test_hooks_are_registered_before_the_blueprint_is(make: MakeHost) -> None:
    with pytest.raises(AssertionError, match="before_request"):
        make().blueprint.before_request(lambda: None)
