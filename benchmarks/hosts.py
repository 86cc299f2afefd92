"""What both sides have in common: the model, the users, the databases."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import Any

from flask import Blueprint, Flask
from flask_httpauth import HTTPTokenAuth
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, String, Text, UniqueConstraint, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TOKEN = "of-the-admin"

#: The build that is repaired: a worker died, and the row says "running" for ever.
RUNNING: dict[str, Any] = {
    "id": 1,
    "repo_id": 1,
    "number": 1,
    "parent": 1,
    "event": "push",
    "status": "running",
    "error": "",
    "enqueued": 1563474077,
    "created": 1563474076,
    "started": 1563474077,
    "finished": 0,
    "deploy": "",
    "clone": "https://github.com/github/octocat.git",
    "source": "https://github.com/github/octocat/commit/48afb5bdc41ad69bf22588491333f7cf71135163",
    "title": "push received from https://github.com/github/octocat",
    "message": "First commit...",
    "commit": "48afb5bdc41ad69bf22588491333f7cf71135163",
    "sender": "OctoKitty",
    "author": "OctoKitty",
    "branch": "main",
    "ref": "refs/heads/main",
    "base_ref": "",
    "host": "company.localhost",
    "runtime": "docker",
    "distribution": "linux",
}

#: … and what the administrator makes of it: three of 25 members are changed.
REPAIRED = RUNNING | {"status": "error", "error": "the worker died", "finished": 1563474099}


class Base(DeclarativeBase):
    """The base of the host's models."""


db = SQLAlchemy(model_class=Base)


class Build(Base):
    """A build, every member a column of its own name."""

    __tablename__ = "builds"
    __table_args__ = (UniqueConstraint("repo_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    repo_id: Mapped[int]
    number: Mapped[int]
    parent: Mapped[int]
    event: Mapped[str] = mapped_column(String(250))
    status: Mapped[str] = mapped_column(String(250))
    error: Mapped[str] = mapped_column(Text)
    enqueued: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
    started: Mapped[int] = mapped_column(BigInteger)
    finished: Mapped[int] = mapped_column(BigInteger)
    deploy: Mapped[str] = mapped_column(String(500))
    clone: Mapped[str] = mapped_column(String(1000))
    source: Mapped[str] = mapped_column(String(1000))
    title: Mapped[str] = mapped_column(String(1000))
    message: Mapped[str] = mapped_column(Text)
    commit: Mapped[str] = mapped_column(String(500))
    sender: Mapped[str] = mapped_column(String(250))
    author: Mapped[str] = mapped_column(String(250))
    branch: Mapped[str] = mapped_column(String(500))
    ref: Mapped[str] = mapped_column(String(500))
    base_ref: Mapped[str] = mapped_column(String(500))
    host: Mapped[str] = mapped_column(String(250))
    runtime: Mapped[str] = mapped_column(String(250))
    distribution: Mapped[str] = mapped_column(String(250))


token_auth = HTTPTokenAuth()

# The users are in memory: a query for them would cost both sides the same, and hide the rest.
_users = {sha256(TOKEN.encode()).hexdigest(): "octokitty"}
_roles = {"octokitty": "admin"}


@token_auth.verify_token
def verify_token(token: str) -> str | None:
    """Find the user whose token it is."""
    return _users.get(sha256(token.encode()).hexdigest())


@token_auth.get_user_roles
def get_user_roles(user: str) -> str | None:
    """Tell Flask-HTTPAuth what a user may do."""
    return _roles.get(user)


def make_app(blueprint: Blueprint, url: str, durable: bool) -> Flask:
    """Make a host of one side, with one build in a database of its own."""
    app = Flask(blueprint.name)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    app.register_blueprint(blueprint)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", partial(_set_up, durable))
        db.create_all()
        db.session.add(Build(**RUNNING))
        db.session.commit()
    return app


def _set_up(durable: bool, connection: Any, record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    if not durable:
        connection.execute("PRAGMA synchronous = OFF")
