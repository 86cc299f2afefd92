"""Behind each auth extension, nothing passes but its administrators."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any

import pytest
from flask import Flask, abort, jsonify
from flask.sessions import SecureCookieSessionInterface
from flask_httpauth import HTTPBasicAuth, MultiAuth
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt,
    jwt_required,
)
from flask_login import LoginManager, UserMixin, current_user, login_required
from flask_security import Security, auth_required, roles_required

from tests.support.auth_hosts import (
    BEARER,
    Auth,
    Headers,
    assert_all_works,
    assert_error,
    assert_nothing_passes,
    authorization,
    credentials,
    everywhere,
)
from tests.support.auth_users import Member, Members
from tests.support.hosts import URL, BuildRevision, Host, token_auth

# No padding in base64: b64decode() does not look at what follows it.
SECRETS = {"octokitty": "open-sesame", "worker": "of-a-worker!"}
ADMIN, WORKER = (b64encode(":".join(user).encode()).decode() for user in SECRETS.items())


def basic_auth() -> HTTPBasicAuth:
    auth = HTTPBasicAuth()
    auth.verify_password(lambda user, secret: user if SECRETS.get(user) == secret else None)
    auth.get_user_roles(lambda user: "admin" if user == "octokitty" else "worker")
    return auth


def configure_login(app: Flask) -> None:
    class User(UserMixin):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.id = name

    app.secret_key = "a secret of the host"
    manager = LoginManager(app)
    manager.login_view = "login"
    manager.user_loader(lambda name: User(name) if name in SECRETS else None)
    app.add_url_rule("/login", "login", lambda: "<form>")


def login_admin(view: Callable[..., Any]) -> Callable[..., Any]:
    @login_required
    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if current_user.get_id() != "octokitty":
            abort(403)
        return view(*args, **kwargs)

    return wrapper  # type: ignore[no-any-return]


def cookie(user: str, secret: str = "a secret of the host") -> str:
    app = Flask("signer")
    app.secret_key = secret
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    return f"session={serializer.dumps({'_user_id': user, '_fresh': True})!s}"


def configure_jwt(app: Flask, secret: str = "a secret of the host, long enough") -> None:
    app.config["JWT_SECRET_KEY"] = secret
    JWTManager(app)


def jwt_admin(view: Callable[..., Any]) -> Callable[..., Any]:
    @jwt_required()
    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not get_jwt().get("admin"):
            return jsonify(msg="Admins only!"), 403
        return view(*args, **kwargs)

    return wrapper  # type: ignore[no-any-return]


def jwt(make: Callable[..., str], *secret: str, admin: bool = True, minutes: int = 60) -> str:
    app = Flask("signer")
    configure_jwt(app, *secret)
    claims, expires = {"admin": admin}, timedelta(minutes=minutes)
    with app.app_context():
        return make("octokitty", additional_claims=claims, expires_delta=expires)


def configure_security(app: Flask, secret: str = "a secret of the host") -> None:
    app.secret_key = secret
    app.config["SECURITY_PASSWORD_SALT"] = "a salt of the host"
    Security(app, Members({"octokitty": "admin", "worker": "worker"}))


def security_admin(view: Callable[..., Any]) -> Callable[..., Any]:
    return auth_required("token")(roles_required("admin")(view))  # type: ignore[no-any-return]


def security_token(user: str, role: str, *secret: str) -> dict[str, str]:
    app = Flask("signer")
    configure_security(app, *secret)
    with app.app_context():
        return {"Authentication-Token": str(Member(user, role).get_auth_token())}


@dataclass(frozen=True)
class Case:
    auth: Auth
    right: Headers
    refused: Mapping[str, Headers]
    #: What WWW-Authenticate may say; without a host's own it is Bearer.
    challenges: tuple[str, ...] = ("Bearer",)
    configure: Callable[[Flask], None] = lambda app: None


def http_auth(auth: Any, schemes: str) -> Case:
    token = schemes != "Basic"
    return Case(
        auth=auth.login_required(role="admin"),
        right=authorization("Bearer of-the-admin" if token else f"Basic {ADMIN}"),
        refused=BEARER if token else credentials("Basic", ADMIN, WORKER, "Bearer of-the-admin"),
        challenges=tuple(f'{one} realm="Authentication Required"' for one in schemes.split()),
    )


def jwt_case() -> Case:
    right = jwt(create_access_token)
    refused = {
        "expired": jwt(create_access_token, minutes=-1),
        "of another use": jwt(create_refresh_token),
        "of another host": jwt(create_access_token, "a secret of another, long enough"),
        "without its signature": f"{right.rpartition('.')[0]}.",
    }
    worker = jwt(create_access_token, admin=False)
    return Case(
        auth=jwt_admin,
        right=authorization(f"Bearer {right}"),
        refused=credentials("Bearer", right, worker, f"Basic {right}")
        | {name: authorization(f"Bearer {token}") for name, token in refused.items()},
        configure=configure_jwt,
    )


def login_case() -> Case:
    right, forged = cookie("octokitty"), cookie("octokitty", "a secret of another")
    cookies = {
        "wrong": forged,
        "malformed": "session=%%%",
        "doubled": f"{forged}; {right}",
        "of another name": right.replace("session", "Session"),
        "of an unknown user": cookie("nobody"),
        "of no administrator": cookie("worker"),
    }
    refused = {name: {"Cookie": value} for name, value in cookies.items()}
    return Case(login_admin, {"Cookie": right}, BEARER | refused, configure=configure_login)


def security_case() -> Case:
    refused = {
        "wrong": {"Authentication-Token": "of-the-admin"},
        "of no administrator": security_token("worker", "worker"),
        "of an unknown user": security_token("nobody", "admin"),
        "of another host": security_token("octokitty", "admin", "a secret of another"),
    }
    right = security_token("octokitty", "admin")
    return Case(security_admin, right, BEARER | refused, configure=configure_security)


BASIC = credentials("Basic", ADMIN, WORKER, "Digest username=octokitty")
MULTI = http_auth(MultiAuth(token_auth(), basic_auth()), "Bearer Basic")
CASES = {
    "HTTPTokenAuth": http_auth(token_auth(), "Bearer"),
    "HTTPBasicAuth": http_auth(basic_auth(), "Basic"),
    "MultiAuth of a token": MULTI,
    "MultiAuth of a password": Case(
        MULTI.auth,
        authorization(f"Basic {ADMIN}"),
        BASIC,
        MULTI.challenges,
    ),
    "Flask-Login": login_case(),
    "Flask-JWT-Extended": jwt_case(),
    "Flask-Security": security_case(),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


@pytest.fixture
def host(make_host: Callable[..., Host], sqlite_url: str, case: Case) -> Host:
    return make_host(sqlite_url, auth=case.auth, configure=case.configure, history=BuildRevision)


@each_case
def test_whom_the_extension_refuses_finds_401_and_no_build(host: Host, case: Case) -> None:
    for headers in case.refused.values():
        assert_nothing_passes(host, headers, *case.challenges)


@each_case
def test_whom_the_extension_lets_in_reaches_what_there_is(host: Host, case: Case) -> None:
    assert_all_works(host, case.right)


@each_case
def test_a_scheme_in_lower_case_is_the_extensions_to_judge(host: Host, case: Case) -> None:
    scheme, _, secret = case.right.get("Authorization", "Bearer none").partition(" ")
    answer = host.client.get(f"{URL}/1", headers=authorization(f"{scheme.lower()} {secret}"))
    if answer.status_code != 200:
        assert_error(answer)


@each_case
def test_options_is_answered_bare_to_anyone(host: Host, case: Case) -> None:
    for headers in [*case.refused.values(), case.right]:
        with host.statements() as sent:
            answers = everywhere(host, headers, ["OPTIONS"])
        assert sent == []
        for answer in answers:
            assert (answer.status_code, answer.data) == (200, b"")
            assert "OPTIONS" in answer.allow


@each_case
def test_agreement_to_one_request_is_none_to_the_next(host: Host, case: Case) -> None:
    client = host.app.test_client(use_cookies=False)
    contexts: list[Any] = [nullcontext(), host.app.app_context()]
    # Flask-Login, on which Flask-Security stands, keeps its user in an outer context.
    if case.auth in (login_admin, security_admin):
        contexts.pop()
    for context in contexts:
        with context:
            for headers in case.refused.values():
                assert client.get(f"{URL}/1", headers=dict(case.right)).status_code == 200
                assert_error(client.get(f"{URL}/1", headers=dict(headers)))
