"""What the README says runs."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, request
from flask_httpauth import HTTPBasicAuth
from flask_jwt_extended import JWTManager, create_access_token
from flask_login import LoginManager, UserMixin
from flask_sqlalchemy import SQLAlchemy
from hosts import OCTOCAT, URL, model_of
from marshmallow import Schema
from sqlalchemy.orm import DeclarativeBase
from terminals import at_terminal
from test_schema import Status

from example_app import Base, Build, User, create_app, token_auth
from example_app import db as example_db

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block(text: str) -> str:
    """Find the one block of Python that has this text."""
    [found] = [code for code in BLOCKS if text in code]
    return str(found)


class Person(UserMixin):  # type: ignore[misc]
    """A user of Flask-Login's."""

    def __init__(self, name: str) -> None:
        self.id = self.name = name
        self.role = "admin" if name == "mona" else "worker"


OtherBuild = model_of(
    "repo_id",
    "started",
    "finished",
    "runtime",
    "distribution",
    repository_id=sa.Column(sa.Integer),
    started_at=sa.Column(sa.DateTime),
    finished_at=sa.Column(sa.DateTime),
    status=sa.Column(sa.Enum(Status)),
    priority=sa.Column(sa.Integer, default=0),
)


class Audit(Base):
    __tablename__ = "audit"

    id = sa.Column(sa.Integer, primary_key=True)
    build_id = sa.Column(sa.Integer)
    actor = sa.Column(sa.String(50))
    before = sa.Column(sa.JSON)
    after = sa.Column(sa.JSON)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module ``ci_server`` of the README, with an app and users of all kinds."""
    server = ModuleType("ci_server")
    app = Flask("ci_server", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///ci.db"
    app.config["SECRET_KEY"] = app.config["JWT_SECRET_KEY"] = "x" * 32
    db = SQLAlchemy(model_class=Base)
    basic_auth = HTTPBasicAuth()
    basic_auth.verify_password(lambda name, password: name if password == f"of-{name}" else None)
    basic_auth.get_user_roles(lambda name: "admin" if name == "mona" else "worker")
    tokens = {"of-mona": "mona", "of-worker": "worker"}
    login = LoginManager(app)
    login.login_view = "login"
    login.request_loader(lambda _: Person(name) if (name := request.headers.get("As")) else None)
    app.add_url_rule("/login", "login", lambda: "please log in")
    JWTManager(app)
    own_token_auth = type(token_auth)()
    own_token_auth.verify_token(lambda token: _person(tokens.get(token)))
    own_token_auth.get_user_roles(lambda person: person.role)
    server.__dict__.update(
        ADMIN_KEY=b"secret",
        Audit=Audit,
        Base=type("Base", (DeclarativeBase,), {}),
        Build=Build,
        OtherBuild=OtherBuild,
        Status=Status,
        User=User,
        app=app,
        basic_auth=basic_auth,
        db=db,
        token_auth=own_token_auth,
    )
    monkeypatch.setitem(sys.modules, "ci_server", server)
    yield server
    if "sqlalchemy" in server.app.extensions:  # of a test that made its own, too
        with server.app.app_context():
            db.engine.dispose()


def _person(name: str | None) -> Person | None:
    return Person(name) if name else None


def run(code: str, server: ModuleType) -> dict[str, Any]:
    """Run a block, and register what it made on the server's app."""
    namespace: dict[str, Any] = {"__name__": "example_app"}
    exec(compile(code, "README.md", "exec"), namespace)
    if "sqlalchemy" not in server.app.extensions and "app" not in namespace:
        server.db.init_app(server.app)
    app = namespace.get("app", server.app)
    if "build_admin" in namespace:
        app.register_blueprint(namespace["build_admin"])
    with app.app_context():
        for model in (Build, OtherBuild):
            model.metadata.drop_all(server.db.engine)
        Build.metadata.create_all(server.db.engine)
        server.db.session.add(Build(**OCTOCAT))
        server.db.session.commit()
    server.__dict__["app"] = app
    return namespace


def statuses(server: ModuleType, *requests: dict[str, Any]) -> list[int]:
    client = server.app.test_client()
    return [client.put(URL, json=OCTOCAT, **one).status_code for one in requests]


def bearer(token: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


def test_the_registration(
    server: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = block("app = Flask(__name__)").replace("sqlite:///", f"sqlite:///{tmp_path}/")
    run(code, server)
    assert statuses(server, bearer("of-mona"), bearer("of-worker"), {}) == [200, 401, 401]


def test_multi_auth(server: ModuleType) -> None:
    run(block("MultiAuth"), server)
    sent = [bearer("of-mona"), {"auth": ("mona", "of-mona")}, {"auth": ("worker", "of-worker")}]
    assert statuses(server, *sent, {"auth": ("mona", "x")}, {}) == [200, 200, 401, 401, 401]


def test_flask_login(server: ModuleType) -> None:
    run(block("flask_login"), server)
    sent: list[dict[str, Any]] = [{"headers": {"As": name}} for name in ("mona", "worker")]
    assert statuses(server, *sent, {}) == [200, 401, 401]


def test_flask_jwt_extended(server: ModuleType) -> None:
    run(block("flask_jwt_extended"), server)
    with server.app.app_context():
        roles = [{"role": "admin"}, {"role": "worker"}, {}]
        tokens = [create_access_token("mona", additional_claims=claims) for claims in roles]
    assert statuses(server, *map(bearer, tokens), {}) == [200, 401, 401, 401]


def test_an_own_decorator(server: ModuleType) -> None:
    run(block("X-Admin-Key"), server)
    sent = [{"headers": {"X-Admin-Key": key}} for key in ("secret", "x")]
    assert statuses(server, *sent, {}) == [200, 401, 401]


def test_another_model(server: ModuleType) -> None:
    run(block("OtherBuildSchema"), server)
    with server.app.app_context():
        Build.metadata.drop_all(server.db.engine)
        OtherBuild.metadata.create_all(server.db.engine)
        left_out = {"repo_id", "started", "finished", "runtime", "distribution"}
        row = {name: value for name, value in OCTOCAT.items() if name not in left_out}
        row |= {"repository_id": 1, "status": Status.RUNNING}
        server.db.session.add(OtherBuild(**row))
        server.db.session.commit()
    client = server.app.test_client()
    shown = client.get(f"{URL}/1", **bearer("of-mona")).json
    expected = OCTOCAT | {"status": "running", "started": 0, "priority": 0}
    del expected["distribution"]
    assert shown == expected
    shown |= {"status": "error", "finished": 1563474099, "priority": 3}
    assert client.put(URL, json=shown, **bearer("of-mona")).json == shown
    refused = client.put(URL, json=shown | {"author": "Mona"}, **bearer("of-mona"))
    assert refused.json["fields"] == {"author": ["cannot be changed"]}


def test_the_history(server: ModuleType) -> None:
    run(block("BuildRevisionMixin"), server)
    client = server.app.test_client()
    changed = OCTOCAT | {"status": "error"}
    sent = {"json": changed, **bearer("of-mona")}
    preview = client.put(f"{URL}?dry_run=true", **sent).json
    shown = json.loads(re.findall(r"^```json\n(.*)\n```", README, re.MULTILINE)[0])
    shown["changes"]["status"]["before"] = "created"
    assert preview == shown
    assert client.put(f"{URL}?reason=lost", **sent).json == changed
    listed = client.get(f"{URL}/1/revisions", **bearer("of-mona")).json
    assert [one["reason"] for one in listed] == ["lost"]
    undo = f"{URL}/1/revisions/{listed[0]['id']}/undo"
    assert client.post(undo, **bearer("of-mona")).json == OCTOCAT
    assert client.post(undo).status_code == 401
    assert client.put(f"{URL}?dryrun=true", **sent).status_code == 400


def test_a_field_of_six_lines() -> None:
    namespace: dict[str, Any] = {}
    exec(compile(block("StatusNumber"), "README.md", "exec"), namespace)
    schema = Schema.from_dict({"status": namespace["StatusNumber"](required=True)})()
    assert schema.load({"status": "error"}) == {"status": 4}
    assert schema.dump({"status": 1}) == {"status": "running"}
    assert schema.validate({"status": 1})


def test_the_signals(server: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    run(block("X-Admin-Key"), server)
    run(block("connect_via"), server)
    sent = {"headers": {"X-Admin-Key": "secret"}, "json": OCTOCAT | {"status": "error"}}
    assert server.app.test_client().put(URL, **sent).status_code == 200
    assert capsys.readouterr().out == "None repaired build 1\n"
    with server.app.app_context():
        [audit] = server.db.session.scalars(sa.select(Audit))
        assert audit.before == OCTOCAT
        assert audit.after["status"] == "error"


def test_the_terminal(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ci.db'}"
    app = create_app({"SQLALCHEMY_DATABASE_URI": url})
    with app.app_context():
        example_db.session.execute(sa.update(Build).values(status="running"))
        example_db.session.commit()
    [console] = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    steps = [step.partition("\n") for step in console.split("$ flask ")[1:]]
    assert len(steps) == 5
    for command, _, printed in steps:
        outcome = at_terminal(app, *shlex.split(command), answers="y\n", NO_COLOR="1")
        assert outcome.code == 0
        # What is typed is shown at once, and not where it is asked for.
        shown = outcome.output.replace("y\n", "", 1).replace("[y/N]: ", "[y/N]: y\n")
        assert not printed or plain_times(shown) == plain_times(printed)
    with app.app_context():
        assert example_db.session.get_one(Build, 1).status == "running"
        example_db.engine.dispose()


def plain_times(text: str) -> str:
    text = re.sub(r"[0-9]+d [0-9]+h ", "AGE ", text)
    return re.sub(r"\b20[0-9-]+ [0-9:]+Z  [^:]+:", "TIME AND USER:", text)


def test_every_block_is_tested() -> None:
    assert len(BLOCKS) == 9


def test_the_sample_is_the_contracts() -> None:
    digest = sha256(json.dumps(OCTOCAT).encode()).hexdigest()
    assert len(OCTOCAT) == 25
    assert digest == "afc187453d02c32519c8ea79b128556f8fc51f86e8d084adff7fb7461e33c36f"


def test_the_two_commands_are_one_line_each() -> None:
    [serve, test] = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert serve.endswith(".venv/bin/python example_app.py")
    assert test.endswith(".venv/bin/pytest")
