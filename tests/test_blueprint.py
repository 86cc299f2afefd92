"""``BuildAdmin`` is a blueprint like any other: hosts do to it what they do to blueprints."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPMethod
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask, Response, g, request
from flask.cli import routes_command
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker

from flask_build_admin import BuildAdmin
from tests.support.hosts import ADMIN, OCTOCAT, URL, Build, Host, model_of, row_of, token_auth

PREFIX = URL.removesuffix("/build")

CHANGED = OCTOCAT | {"status": "error"}


def put(client: FlaskClient, url: str = URL, **document: Any) -> Any:
    return client.put(url, json=OCTOCAT | document, headers=ADMIN)


def admin(session: Callable[[], Session], **options: Any) -> BuildAdmin:
    return BuildAdmin(Build, session, token_auth().login_required(role="admin"), **options)


def test_another_prefix_and_name(host: Host) -> None:
    host.app.register_blueprint(admin(host.session, name="repair", url_prefix="/ops"))
    answer = put(host.client, "/ops/build", status="error")
    assert answer.headers["Content-Location"] == "/ops/build/1"
    assert put(host.client, status="created").headers["Content-Location"] == f"{URL}/1"


def test_a_second_registration_of_the_same_blueprint(host: Host) -> None:
    host.app.register_blueprint(host.blueprint, name="again", url_prefix="/again")
    assert put(host.client, "/again/build").headers["Content-Location"] == "/again/build/1"
    assert host.client.open("/again/build", method="ODD", headers=ADMIN).status_code == 405
    assert host.client.get("/again/build/1").status_code == 401
    with host.app.test_request_context():
        assert host.app.url_for("again.fetch", build_id=1) == "/again/build/1"
        assert host.app.url_for("build_admin.overwrite") == URL


def test_a_put_with_the_id_in_its_path_is_sent_to_the_right_one(host: Host) -> None:
    told = "The method is not allowed: GET, HEAD, OPTIONS are."
    refused = host.client.put(f"{URL}/20", json=OCTOCAT, headers=ADMIN)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert refused.json == {
        "error": f"{told} To change a build, send PUT /build, with its id in the body."
    }
    assert host.client.delete(f"{URL}/20", headers=ADMIN).json == {"error": told}


def test_nested_under_a_prefix_with_a_parameter(host: Host) -> None:
    tenant = Blueprint("tenant", __name__, url_prefix="/<tenant>")
    tenant.register_blueprint(admin(host.session, url_prefix="/admin"), cli_group="tenant")
    host.app.register_blueprint(tenant)
    answer = put(host.client, "/acme/admin/build", status="error")
    assert answer.headers["Content-Location"] == "/acme/admin/build/1"
    assert host.client.get("/acme/admin/build/1", headers=ADMIN).json == CHANGED
    assert host.client.get("/acme/admin/build/1").status_code == 401
    assert host.client.post("/acme/admin/build/1", headers=ADMIN).status_code == 405


def test_mounted_below_a_script_root(host: Host) -> None:
    environ = {"SCRIPT_NAME": "/ci"}
    answer = host.client.put(URL, json=OCTOCAT, headers=ADMIN, environ_overrides=environ)
    assert answer.headers["Content-Location"] == f"/ci{URL}/1"


def test_one_blueprint_for_two_apps_on_two_databases(
    make_host: Callable[..., Host], database_url: str, sqlite_url: str
) -> None:
    engines: dict[str, sa.Engine] = {}
    session: scoped_session[Session] = scoped_session(
        lambda: Session(engines[request.headers["Host"]])  # type: ignore[arg-type]
    )
    blueprint = admin(session)
    for name, url in (("one.test", database_url), ("other.test", sqlite_url)):
        engines[name] = make_host(url).engine
        app = Flask(name)
        app.teardown_appcontext(lambda error: session.remove())
        app.register_blueprint(blueprint)
        client = app.test_client()
        too_large = {"json": OCTOCAT | {"parent": 2**31}, "headers": ADMIN}
        answer = client.put(URL, base_url=f"http://{name}", **too_large)
        sqlite = engines[name].dialect.name == "sqlite"
        assert answer.status_code == (200 if sqlite else 400)


def test_flask_sqlalchemy_with_builds_in_another_database(tmp_path: Path) -> None:
    class Model(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Model)
    columns = {
        name: sa.Column(sa.Integer if isinstance(value, int) else sa.String(250))
        for name, value in OCTOCAT.items()
    }
    columns["id"] = sa.Column(sa.Integer, primary_key=True)
    model: Any = type(
        "Build", (db.Model,), {"__tablename__": "builds", "__bind_key__": "ci", **columns}
    )
    app = Flask("host", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///users.db"
    app.config["SQLALCHEMY_BINDS"] = {"ci": "sqlite:///builds.db"}
    db.init_app(app)
    auth = token_auth().login_required(role="admin")
    app.register_blueprint(BuildAdmin(model, db.session, auth))
    with app.app_context():
        db.create_all()
        db.session.add(model(**OCTOCAT))
        db.session.commit()
    assert put(app.test_client(), status="error").json == CHANGED
    assert app.test_client().get(f"{URL}/1", headers=ADMIN).json == CHANGED
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


def test_a_session_per_app_context_as_of_flask_sqlalchemy_lite(host: Host) -> None:
    app = Flask("lite")
    make = sessionmaker(host.engine)

    def current() -> Session:
        if "session" not in g:
            g.session = make()
        session: Session = g.session
        return session

    @app.teardown_appcontext
    def close(error: BaseException | None) -> None:
        if "session" in g:
            g.pop("session").close()

    app.register_blueprint(admin(current))
    assert put(app.test_client(), status="error").json == CHANGED
    assert host.row() == CHANGED


def test_a_function_that_answers_a_scoped_session(host: Host) -> None:
    session: Any = host.session
    app = Flask("own")
    app.teardown_appcontext(lambda error: session.remove())
    app.register_blueprint(admin(lambda: session))
    assert put(app.test_client(), status="error").json == CHANGED
    assert put(app.test_client(), number=0).status_code == 400
    assert host.row() == CHANGED


def test_routes_and_hooks_that_the_host_adds(host: Host) -> None:
    blueprint = admin(host.session, name="more", url_prefix="/more")

    @blueprint.get("/ping")
    def ping() -> str:
        return "pong"

    @blueprint.get("/away")
    def away() -> Response:
        return Response(status=302, headers={"Location": "/elsewhere"})

    @blueprint.get("/same")
    def same() -> Response:
        return Response(status=304)

    @blueprint.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Signed"] = "yes"
        return response

    host.app.register_blueprint(blueprint)
    assert host.client.get("/more/ping", headers=ADMIN).text == "pong"
    assert host.client.get("/more/ping").status_code == 401
    assert host.client.get("/more/same", headers=ADMIN).status_code == 304
    assert host.client.get("/more/same").status_code == 401
    answer = host.client.get("/more/away", headers=ADMIN)
    assert answer.status_code == 500
    assert answer.json == {"error": "The server answers 302."}
    assert put(host.client, "/more/build").headers["X-Signed"] == "yes"


def test_an_after_request_of_the_host_cannot_make_a_success_of_a_refusal(host: Host) -> None:
    blueprint = admin(host.session, name="more", url_prefix="/more")
    blueprint.after_request(lambda response: Response("fine"))
    host.app.register_blueprint(blueprint)
    assert put(host.client, "/more/build", number=0).status_code == 400
    assert host.client.get("/more/build/1").status_code == 401
    assert host.client.get("/more/build/1", headers=ADMIN).text == "fine"


def test_an_after_request_of_the_host_cannot_make_a_redirect_of_a_build(host: Host) -> None:
    def redirect(response: Response) -> Response:
        response.status_code = 302
        return response

    blueprint = admin(host.session, name="more", url_prefix="/more")
    blueprint.after_request(redirect)
    host.app.register_blueprint(blueprint)
    answer = host.client.get("/more/build/1", headers=ADMIN)
    assert (answer.status_code, answer.json) == (500, {"error": "The server answers 302."})


def test_the_host_lists_the_routes_as_they_are(host: Host) -> None:
    listed = host.app.test_cli_runner().invoke(routes_command).output.splitlines()
    rows = [line.split() for line in listed if "build_admin" in line]
    refused = [row for row in rows if row[0].endswith("_method_not_allowed")]
    assert {row[-1]: {method.strip(",") for method in row[1:-1]} for row in refused} == {
        "/api/v1/admin/build": {*HTTPMethod} - {"PUT", "OPTIONS", "HEAD"},
        "/api/v1/admin/build/<build_id>": {*HTTPMethod} - {"GET", "OPTIONS", "HEAD"},
        "/api/v1/admin/builds/queue": {*HTTPMethod} - {"GET", "OPTIONS", "HEAD"},
        "/api/v1/admin/clean": {*HTTPMethod} - {"PUT", "OPTIONS", "HEAD"},
    }
    websockets = [row for row in rows if row[0].endswith("_websocket")]
    assert {row[-1] for row in websockets} == {row[-1] for row in refused}
    [unknown] = [row for row in rows if row[0] == "build_admin.unknown_path"]
    assert sorted(row for row in rows if row not in [*refused, *websockets, unknown]) == [
        ["build_admin.clean", "PUT", "/api/v1/admin/clean"],
        ["build_admin.fetch", "GET", "/api/v1/admin/build/<build_id>"],
        ["build_admin.overwrite", "PUT", "/api/v1/admin/build"],
        ["build_admin.queue", "GET", "/api/v1/admin/builds/queue"],
    ]


def test_a_hook_behind_the_blueprints_own_does_not_run(host: Host) -> None:
    called: list[str] = []
    entries = host.app.before_request_funcs["build_admin"]
    entries.insert(0, lambda: called.append("before"))
    entries.append(lambda: called.append("after"))
    assert host.get().status_code == 200
    assert called == ["before"]


def test_a_limit_of_its_own_for_the_body(make_host: Callable[..., Host], sqlite_url: str) -> None:
    host = make_host(sqlite_url, max_content_length=1000)
    assert host.put(OCTOCAT).status_code == 200
    refused = host.put(OCTOCAT | {"message": "x" * 1000})
    assert refused.status_code == 413
    assert refused.json == {"error": "The body is longer than 1000 bytes."}


@pytest.mark.parametrize(("of_the_app", "limit"), [(1000, 1000), (2**20, 262_144), (None, 262_144)])
@pytest.mark.parametrize("chunked", [True, False])
def test_the_stricter_limit_holds(
    make_host: Callable[..., Host],
    sqlite_url: str,
    of_the_app: int | None,
    limit: int,
    chunked: bool,
) -> None:
    def configure(app: Flask) -> None:
        app.config["MAX_CONTENT_LENGTH"] = of_the_app

    host = make_host(sqlite_url, configure=configure)
    body = json.dumps(OCTOCAT).encode()
    for size, status in {limit: 200, limit + 1: 413, 2 * limit: 413}.items():
        # White space at the end: a body that is cut would be valid.
        sent = body.ljust(size)
        stream: dict[str, Any] = {"data": sent}
        if chunked:
            environ = {"wsgi.input_terminated": True}
            stream = {"input_stream": BytesIO(sent), "environ_overrides": environ}
        answer = host.client.put(URL, headers=ADMIN, content_type="application/json", **stream)
        assert answer.status_code == status, size
        if status == 413:
            assert answer.json == {"error": f"The body is longer than {limit} bytes."}


def test_an_auth_may_read_the_body_first(make_host: Callable[..., Host], sqlite_url: str) -> None:
    def signed(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked() -> Any:
            return view() if b"octocat" in request.get_data() else ("no", 401)

        return checked

    host = make_host(sqlite_url, auth=signed)
    assert host.put(OCTOCAT).status_code == 200
    assert host.put({}).status_code == 401
    assert host.put(OCTOCAT | {"message": "x" * 262_144}).status_code == 401


def test_if_match_may_be_demanded(make_host: Callable[..., Host], sqlite_url: str) -> None:
    host = make_host(sqlite_url, require_if_match=True)
    refused = host.put(OCTOCAT)
    assert refused.status_code == 428
    assert "If-Match" in refused.json["error"]
    assert host.put(OCTOCAT | {"id": 2}).status_code == 404
    tag = host.get().headers["ETag"]
    assert host.put(CHANGED, headers={"If-Match": tag}).status_code == 200
    assert host.put(OCTOCAT, headers={"If-Match": tag}).status_code == 412
    assert host.put(OCTOCAT, headers={"If-Match": "*"}).status_code == 200


def test_a_preflight_that_the_host_answers_itself(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    def preflight() -> Response | None:
        headers = {"Access-Control-Allow-Origin": "https://ci.test"}
        return Response(status=204, headers=headers) if request.method == "OPTIONS" else None

    host = make_host(sqlite_url, configure=lambda app: app.before_request(preflight))
    answer = host.client.options(URL)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://ci.test"
    assert host.client.put(URL).status_code == 401


def test_paths_that_are_not_below_the_prefix_are_the_hosts_own(host: Host) -> None:
    for path in ("/", "/api/v1/admin", "/api/v1/administrators", "/api/v1/admi"):
        answer = host.client.get(path)
        assert answer.status_code == 404
        assert answer.mimetype == "text/html"


@pytest.mark.parametrize("method", sorted({*HTTPMethod} - {"OPTIONS"}))
@pytest.mark.parametrize("path", [f"{URL}/1/2", f"{PREFIX}/builds", f"{PREFIX}/a/b/"])
def test_no_client_takes_a_path_that_nobody_has_for_a_success(
    host: Host, path: str, method: str
) -> None:
    answer = host.client.open(path, method=method, headers=ADMIN)
    assert (answer.status_code, answer.mimetype) == (404, "application/json")
    if method != "HEAD":
        assert answer.json == {"error": "There is no such path."}
    assert host.client.open(path, method=method).status_code == 401


def test_the_paths_of_others_below_the_prefix_stay_theirs(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    def configure(app: Flask) -> None:
        for rule in ("/users", "/users/<name>", "/files/<path:name>", "/<any(a, b):name>"):
            app.add_url_rule(f"{PREFIX}{rule}", rule, lambda **_: "of the host")

    def catch_all(app: Flask) -> None:
        app.add_url_rule(f"{PREFIX}/<path:rest>", "rest", lambda rest: "of the host")

    client = make_host(sqlite_url, configure=configure).client
    for path in ("users", "users/mona", "files/a/b", "a"):
        assert client.get(f"{PREFIX}/{path}").text == "of the host"
    assert client.get(f"{PREFIX}/c", headers=ADMIN).status_code == 404
    host = make_host(sqlite_url, configure=catch_all)
    for path in ("c", "users/mona"):
        assert host.client.get(f"{PREFIX}/{path}").text == "of the host"
    assert host.get().status_code == 200


def test_without_a_prefix_no_path_of_the_host_is_taken(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    host = make_host(sqlite_url, url_prefix="/")
    assert host.client.get("/nowhere").mimetype == "text/html"
    assert host.client.get("/build/1", headers=ADMIN).json == OCTOCAT


def test_an_unexpected_exception_is_the_hosts_to_see(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    def title(self: Any) -> str:
        raise LookupError("the host's own mistake")

    model = model_of("title", title=property(title, lambda self, value: None))
    host = make_host(sqlite_url, model=model, rows=[row_of("title")])
    host.app.testing = True
    with pytest.raises(LookupError, match="the host's own mistake"):
        host.put(OCTOCAT)


def test_a_session_that_the_auth_makes(host: Host) -> None:
    def auth(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked() -> Any:
            if request.headers.get("Authorization") != ADMIN["Authorization"]:
                return "no", 403
            g.session = Session(host.engine)
            return view()

        return checked

    app = Flask("own")
    app.teardown_appcontext(lambda error: g.session.close() if "session" in g else None)
    app.register_blueprint(BuildAdmin(Build, lambda: g.session, auth))
    assert app.test_client().get(f"{URL}/1").status_code == 401
    assert app.test_client().get(f"{URL}/1", headers=ADMIN).json == OCTOCAT
    assert put(app.test_client(), status="error").json == CHANGED


def test_two_slashes_are_another_path(host: Host) -> None:
    for path in ("/api/v1/admin//build/1", "/api/v1/admin//build"):
        for method in ("GET", "PUT"):
            with host.statements() as sent:
                answer = host.client.open(path, method=method, json=CHANGED, headers=ADMIN)
            # Of Flask itself: 405 where the path without the second slash has another method.
            assert answer.status_code in {404, 405}
            assert sent == []
