"""The reader's own CI server: the module ``ci_server`` that the pages import from."""

from __future__ import annotations

import enum
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from example_app import Base, Build, User
from flask_build_admin import BuildAdmin
from tests.support.hosts import OCTOCAT, URL, model_of


class Status(enum.Enum):
    RUNNING = "running"
    ERROR = "error"


ROLES = {"mona": "admin", "hubot": "worker"}

#: A model that differs from the contract in about everything.
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
    """A table of the host's own, for a receiver to write to."""

    __tablename__ = "audit"

    id = sa.Column(sa.Integer, primary_key=True)
    build_id = sa.Column(sa.Integer)
    actor = sa.Column(sa.String(50))
    before = sa.Column(sa.JSON)
    after = sa.Column(sa.JSON)


class Step(Base):
    """A part of a build."""

    __tablename__ = "steps"

    id = sa.Column(sa.Integer, primary_key=True)
    build_id = sa.Column(sa.Integer)
    status = sa.Column(sa.String(20))
    finished = sa.Column(sa.BigInteger)


class Service(Base):
    """Another part of a build."""

    __tablename__ = "services"

    id = sa.Column(sa.Integer, primary_key=True)
    build_id = sa.Column(sa.Integer)
    status = sa.Column(sa.String(20))
    finished = sa.Column(sa.BigInteger)


def token_auth() -> HTTPTokenAuth:
    auth = HTTPTokenAuth()
    auth.verify_token(lambda token: User(name=token[3:]) if token[3:] in ROLES else None)
    auth.get_user_roles(lambda user: ROLES[user.name])
    return auth


def basic_auth() -> HTTPBasicAuth:
    auth = HTTPBasicAuth()
    auth.verify_password(lambda name, password: name if password == f"of-{name}" else None)
    auth.get_user_roles(ROLES.get)
    return auth


class CiServer(ModuleType):
    """A CI server on SQLite, with one build, an administrator ``mona`` and a worker ``hubot``.

    :param folder: of the database.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("ci_server")
        self.app = Flask("ci_server", instance_path=str(folder))
        self.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///ci.db"
        self.app.config["SECRET_KEY"] = "x" * 32
        self.db = SQLAlchemy(model_class=Base)
        self.token_auth = token_auth()
        self.own(
            ADMIN_KEY=b"secret",
            Audit=Audit,
            Base=type("Base", (DeclarativeBase,), {}),
            Build=Build,
            OtherBuild=OtherBuild,
            Service=Service,
            Status=Status,
            Step=Step,
            User=User,
            basic_auth=basic_auth(),
        )

    def own(self, **things: Any) -> None:
        """Have more that the pages may import."""
        vars(self).update(things)

    def run(self, code: str) -> dict[str, Any]:
        """Run a block, and register the blueprint that it makes, on the app that it may make.

        :returns: its names.
        """
        names: dict[str, Any] = {"__name__": "ci_server"}
        exec(compile(code, "block", "exec", dont_inherit=True), names)
        self.app = names.get("app", self.app)
        if names.get("db") is self.db and "sqlalchemy" not in self.app.extensions:
            self.db.init_app(self.app)
        blueprint = names.get("build_admin")
        if blueprint is not None and blueprint.name not in self.app.blueprints:
            self.app.register_blueprint(blueprint)
        return names

    def register(self) -> None:
        """Register a blueprint as the README does, and fill the database."""
        auth = self.token_auth.login_required(role="admin")
        self.db.init_app(self.app)
        self.app.register_blueprint(
            BuildAdmin(
                Build,
                self.db.session,
                auth,
                actor=lambda: self.token_auth.current_user().name,
            )
        )
        self.fill()

    def fill(self, model: type[Any] = Build, **row: Any) -> None:
        """Make the tables of a model, with the sample in them."""
        with self.app.app_context():
            model.metadata.create_all(self.db.engine)
            self.db.session.add(model(**(row or OCTOCAT)))
            self.db.session.commit()

    def inside_flask_admin(self, layout: str, code: str, folder: Path) -> Flask:
        """Run the code that puts the pages into Flask-Admin's layout, with a template of theirs."""
        base = folder / "templates" / "build_pages" / "base.html"
        base.parent.mkdir(parents=True)
        base.write_text(layout)
        placed = code.replace("Flask(__name__)", f"Flask(__name__, root_path={str(folder)!r})")
        app: Flask = self.run(placed)["app"]
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder}/ci.db"
        self.db.init_app(app)
        self.fill()
        return app

    def statuses(self, *requests: dict[str, Any]) -> list[int]:
        """Put the sample, each time with other keyword arguments, and list the statuses."""
        client = self.app.test_client(use_cookies=False)
        return [client.put(URL, json=OCTOCAT, **one).status_code for one in requests]

    def ask(self, method: str, path: str = "", document: object = None) -> Any:
        """Ask as the administrator.

        :param path: below that of the put.
        """
        client = self.app.test_client(use_cookies=False)
        return client.open(f"{URL}{path}", method=method, json=document, **bearer("mona"))

    def close(self) -> None:
        """Let go of the database."""
        if self.app.extensions.get("sqlalchemy") is self.db:
            with self.app.app_context():
                self.db.engine.dispose()


def bearer(name: str) -> dict[str, Any]:
    """Answer the keyword arguments of a request with the token of a user."""
    return {"headers": {"Authorization": f"Bearer of-{name}"}}
