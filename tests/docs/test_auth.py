"""The recipes of docs/auth.md, each behind the extension itself."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, request
from flask_jwt_extended import JWTManager, create_access_token
from flask_login import LoginManager, UserMixin
from flask_security import Security
from flask_wtf.csrf import generate_csrf

from flask_build_admin import build_updated
from tests.support.auth_hosts import credentials
from tests.support.auth_users import Member, Members, Token
from tests.support.ci_servers import ROLES, CiServer, bearer
from tests.support.hosts import OCTOCAT, URL
from tests.support.pages import from_page

PAGE = "docs/auth.md"


def assert_only(server: CiServer, right: Any, *refused: Any) -> None:
    """Assert that the right credentials are let in, and no others."""
    server.fill()
    assert server.statuses(right, *refused, {}) == [200] + [401] * (len(refused) + 1)


def all_but(right: str, worker: str) -> list[dict[str, Any]]:
    """List all that is not the right bearer token."""
    wrong = credentials("Bearer", right, worker, "Basic bW9uYTpvZi1tb25h")
    return [{"headers": dict(headers)} for headers in wrong.values()]


@from_page(PAGE, code="MultiAuth")
def test_flask_httpauth(server: CiServer, code: str) -> None:
    server.run(code)
    wrong = [{"auth": ("hubot", "of-hubot")}, {"auth": ("mona", "x")}]
    assert_only(server, bearer("mona"), bearer("hubot"), *wrong)
    assert server.statuses({"auth": ("mona", "of-mona")}) == [200]


class Person(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = self.name = name
        self.role = ROLES[name]


def of(name: str) -> dict[str, Any]:
    return {"headers": {"As": name}}


def configure_login(app: Flask) -> None:
    manager = LoginManager(app)
    manager.login_view = "login"
    manager.request_loader(lambda _: Person(name) if (name := request.headers.get("As")) else None)
    app.add_url_rule("/login", "login", lambda: "please log in")
    app.add_url_rule("/page", "page", generate_csrf)


#: The recipe of Flask-Login.
LOGIN = "admin_required, actor=lambda: current_user.name"


@from_page(PAGE, code=LOGIN)
def test_flask_login(server: CiServer, code: str) -> None:
    configure_login(server.app)
    server.run(code)
    assert_only(server, of("mona"), of("hubot"))
    client = server.app.test_client()
    assert client.put(URL, json=OCTOCAT).status_code == 401
    with client.session_transaction() as session:
        assert "_flashes" not in session


@from_page(PAGE, code="flask_jwt_extended")
def test_flask_jwt_extended(server: CiServer, code: str) -> None:
    server.app.config["JWT_SECRET_KEY"] = "x" * 32
    JWTManager(server.app)
    server.run(code)
    with server.app.app_context():
        roles = [{"role": "admin"}, {"role": "worker"}, {}]
        right, *wrong = [create_access_token("mona", additional_claims=one) for one in roles]
    refused = [other for worker in wrong for other in all_but(right, worker)]
    assert_only(server, {"headers": {"Authorization": f"Bearer {right}"}}, *refused)


@from_page(PAGE, code="flask_security")
def test_flask_security(server: CiServer, code: str) -> None:
    server.app.config["SECURITY_PASSWORD_SALT"] = "x" * 32
    Security(server.app, Members(ROLES))
    server.run(code)
    with server.app.app_context():
        tokens = [Member(name, role).get_auth_token() for name, role in ROLES.items()]
    sent = [{"headers": {"Authentication-Token": token}} for token in (*tokens, "x", "")]
    assert_only(server, *sent)


@from_page(PAGE, code="ResourceProtector")
def test_authlib(server: CiServer, code: str) -> None:
    server.own(
        Token=Token,
        find_token={f"of-{name}": Token(name, role) for name, role in ROLES.items()}.get,
    )
    server.run(code)
    assert_only(server, bearer("mona"), *all_but("of-mona", "of-hubot"))


@from_page(PAGE, code="X-Admin-Key")
def test_one_of_your_own(server: CiServer, code: str) -> None:
    server.run(code)
    assert_only(server, *[{"headers": {"X-Admin-Key": key}} for key in ("secret", "x", "")])


#: The block that exempts a blueprint, and no more.
EXEMPT = "csrf = CSRFProtect(app)\ncsrf.exempt(build_admin)"


@from_page(PAGE, csrf=EXEMPT, header="X-Admin-Key")
def test_where_a_header_is_read_csrf_protection_exempts(
    server: CiServer, csrf: str, header: str
) -> None:
    server.own(build_admin=server.run(header)["build_admin"])
    server.run(csrf)
    assert_only(server, {"headers": {"X-Admin-Key": "secret"}})


@from_page(PAGE, csrf=EXEMPT, cookie=LOGIN)
def test_where_a_cookie_is_read_a_page_sends_the_token(
    server: CiServer, csrf: str, cookie: str
) -> None:
    configure_login(server.app)
    server.own(build_admin=server.run(cookie)["build_admin"])
    server.run(csrf.replace("csrf.exempt(build_admin)", ""))
    server.fill()
    client = server.app.test_client()
    token = client.get("/page", headers={"As": "mona"}).text
    headers = {"As": "mona", "X-CSRFToken": token}
    assert client.put(URL, json=OCTOCAT, headers=headers).status_code == 200
    assert client.put(URL, json=OCTOCAT, headers={"As": "mona"}).status_code == 401
    secure: dict[str, Any] = {"base_url": "https://localhost", "json": OCTOCAT}
    assert client.put(URL, headers=headers, **secure).status_code == 401
    headers["Referer"] = "https://localhost/page"
    assert client.put(URL, headers=headers, **secure).status_code == 200


@from_page(PAGE, code="csrf.protect()")
def test_cookies_and_tokens_together(server: CiServer, code: str) -> None:
    configure_login(server.app)
    actors: list[str] = []
    with build_updated.connected_to(lambda sender, actor, **_: actors.append(actor)):
        server.run(code)
        server.fill()
        client = server.app.test_client()
        headers = {name: {"As": name} for name in ROLES}
        for name in ROLES:
            headers[name]["X-CSRFToken"] = client.get("/page", headers={"As": name}).text
        changed = OCTOCAT | {"status": "error"}
        people = [{"As": "mona"}, headers["hubot"], {"X-CSRFToken": headers["mona"]["X-CSRFToken"]}]
        for refused in (*people, {"Authorization": "Basic bW9uYTpvZi1tb25h", "As": "mona"}):
            assert client.put(URL, json=changed, headers=refused).status_code == 401
        assert client.get(f"{URL}/1", headers={"As": "mona"}).status_code == 200
        assert client.put(URL, json=changed, headers=headers["mona"]).status_code == 200
    assert actors == ["mona"]
    assert server.statuses(bearer("mona"), bearer("hubot"), {}) == [200, 401, 401]


@pytest.mark.parametrize("status", [429, 503])
@from_page(PAGE, code="X-Admin-Key")
def test_what_becomes_of_a_refusal(server: CiServer, code: str, status: int) -> None:
    server.run(code.replace("abort(401)", f"return 'later', {status}, {{'Retry-After': '9'}}"))
    answer = server.app.test_client().put(URL, json=OCTOCAT)
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "9")
