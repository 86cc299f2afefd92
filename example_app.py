"""A small CI server that lets its administrators repair builds.

``python example_app.py`` serves it on http://127.0.0.1:8080, from a SQLite file in the instance
folder. It reads these environment variables:

``DATABASE_URL``
    another database, as an SQLAlchemy URL: ``postgresql+psycopg://…``, ``mysql+pymysql://…``
``BUILD_ADMIN_TOKEN``
    the administrator's bearer token; by default every start creates a new one, so set it if you
    run several workers
``FLASK_RUN_PORT``
    another port
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, String, Text, UniqueConstraint, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_build_admin import BuildAdmin, BuildPages, BuildRevisionMixin

HOST = "127.0.0.1"
PORT = int(os.environ.get("FLASK_RUN_PORT", "8080"))


class Base(DeclarativeBase):
    """The base class of the server's models."""


db = SQLAlchemy(model_class=Base)
token_auth = HTTPTokenAuth()
basic_auth = HTTPBasicAuth()  # for the pages: a browser asks for the name and the token


class User(Base):
    """A user with a token. The database stores only a hash of the token."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)


class Build(Base):
    """One run of a pipeline. Times are UNIX epoch seconds; 0 means not yet."""

    __tablename__ = "builds"
    # SQLite would use the id of a deleted build again, and so its revisions.
    __table_args__ = (UniqueConstraint("repo_id", "number"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    repo_id: Mapped[int]
    number: Mapped[int]
    parent: Mapped[int] = mapped_column(default=0)
    event: Mapped[str] = mapped_column(String(250))
    status: Mapped[str] = mapped_column(String(250))
    error: Mapped[str] = mapped_column(Text, default="")
    enqueued: Mapped[int] = mapped_column(BigInteger, default=0)
    created: Mapped[int] = mapped_column(BigInteger, default=0)
    started: Mapped[int] = mapped_column(BigInteger, default=0)
    finished: Mapped[int] = mapped_column(BigInteger, default=0)
    deploy: Mapped[str] = mapped_column(String(500), default="")
    clone: Mapped[str] = mapped_column(String(1000))
    source: Mapped[str] = mapped_column(String(1000))
    title: Mapped[str] = mapped_column(String(1000), default="")
    message: Mapped[str] = mapped_column(Text, default="")
    commit: Mapped[str] = mapped_column(String(500))
    sender: Mapped[str] = mapped_column(String(250), default="")
    author: Mapped[str] = mapped_column(String(250), default="")
    branch: Mapped[str] = mapped_column(String(500), default="")
    ref: Mapped[str] = mapped_column(String(500), default="")
    base_ref: Mapped[str] = mapped_column(String(500), default="")
    host: Mapped[str] = mapped_column(String(250), default="")
    runtime: Mapped[str] = mapped_column(String(250), default="")
    distribution: Mapped[str] = mapped_column(String(250), default="")


class BuildRevision(BuildRevisionMixin, Base):
    """The record of one change of a build."""

    __tablename__ = "build_revisions"
    __table_args__ = {"sqlite_autoincrement": True}


OCTOCAT: dict[str, Any] = json.loads(Path(__file__).with_name("octocat.json").read_text())


def hash_token(token: str) -> str:
    """Hash a token for the database. A long random token needs no salt."""
    return sha256(token.encode()).hexdigest()


@token_auth.verify_token
def verify_token(token: str) -> User | None:
    """Return the user who has this token."""
    query = select(User).filter_by(token_hash=hash_token(token))
    return db.session.scalars(query).one_or_none()


@basic_auth.verify_password
def verify_password(name: str, token: str) -> User | None:
    """Return the user who has this name and this token."""
    user = verify_token(token)
    return user if user is not None and user.name == name else None


@basic_auth.get_user_roles
@token_auth.get_user_roles
def get_user_roles(user: User) -> str:
    """Return the role of a user, for Flask-HTTPAuth."""
    return user.role


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Create the server.

    :param config: overrides values of the Flask configuration.
    """
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("DATABASE_URL", "sqlite:///ci.db")
    app.config.from_mapping(config)
    db.init_app(app)
    build_admin = BuildAdmin(
        model=Build,
        session=db.session,
        auth=token_auth.login_required(role="admin"),
        history=BuildRevision,
        actor=lambda: token_auth.current_user().name,
    )
    app.register_blueprint(build_admin)
    app.register_blueprint(
        BuildPages(
            build_admin,
            auth=basic_auth.login_required(role="admin"),
            actor=lambda: basic_auth.current_user().name,
        )
    )
    with app.app_context():
        db.create_all()
        prepare()
    return app


def prepare() -> None:
    """Add builds to an empty database. When the server starts, give the administrator a token."""
    command = click.get_current_context(silent=True)
    serving = __name__ == "__main__" if command is None else command.info_name == "run"
    if db.session.get(Build, OCTOCAT["id"]) is None:
        db.session.add(Build(**OCTOCAT))
        if serving:
            db.session.add_all(Build(**OCTOCAT | sample) for sample in samples(int(time.time())))
    if command is None or serving:  # not for "flask shell", for example
        token = os.environ.get("BUILD_ADMIN_TOKEN") or secrets.token_urlsafe(32)
        admin = db.session.scalars(select(User).filter_by(name="admin")).one_or_none()
        if admin is None:
            db.session.add(User(name="admin", role="admin", token_hash=hash_token(token)))
        else:
            admin.token_hash = hash_token(token)
        port = PORT if command is None else command.params["port"]
        greet(token, f"http://{HOST}:{port}")
    db.session.commit()


def samples(now: int) -> Iterator[dict[str, Any]]:
    """Return a dozen builds over three repositories. The worker ``metal-2`` is dead, and left four.

    :param now: UNIX epoch second.
    """
    for number, (repo, title, status, host, age, wait, took) in enumerate(
        [
            ("hello-world", "Bump the version to 2.4.1", "success", "metal-1", 190, 4, 187),
            (
                "hello-world",
                "Cache dependencies between jobs",
                "failure",
                "metal-2",
                171,
                6,
                92,
            ),
            ("linguist", "Detect Gleam files", "success", "metal-1", 158, 3, 431),
            ("linguist", "Update the grammars", "running", "metal-2", 142, 5, 0),
            ("scientist", "Compare exceptions by class", "running", "metal-2", 136, 8, 0),
            ("hello-world", "Retry the flaky upload once", "running", "metal-2", 131, 2, 0),
            ("scientist", "Drop support for Ruby 3.0", "success", "metal-1", 96, 7, 254),
            ("linguist", "Run the classifier on four cores", "pending", "", 74, 0, 0),
            ("scientist", "Publish results to the queue", "success", "metal-1", 41, 5, 166),
            ("hello-world", "Sign the release", "pending", "metal-2", 128, 0, 0),
            ("linguist", "Vendor the new samples", "running", "metal-1", 6, 11, 0),
            ("scientist", "Describe the default run", "pending", "", 2, 0, 0),
        ],
        start=2,
    ):
        created = now - 60 * age
        started = created + wait if wait else 0
        url = f"https://github.com/github/{repo}"
        yield {
            "id": number,
            "repo_id": 1 + ("hello-world", "linguist", "scientist").index(repo),
            "number": 310 + number,
            "parent": 0,
            "status": status,
            "error": "exit code 1" if status == "failure" else "",
            "created": created,
            "enqueued": created + 1,
            "started": started,
            "finished": started + took if took else 0,
            "clone": f"{url}.git",
            "source": f"{url}/commit/{OCTOCAT['commit']}",
            "title": title,
            "message": title,
            "host": host,
        }


def greet(token: str, server: str) -> None:
    """Print where the pages are, the administrator's token, and requests to paste into a shell."""
    print(
        f"""\
The pages: {server}/admin/builds (user admin, the token is the password)

The administrator's bearer token: {token}

Fetch the build, and mark the copy as failed:

url={server}/api/v1/admin/build admin="Authorization: Bearer {token}"
build=$(curl -s -H "$admin" $url/1 | sed 's/"status":"created"/"status":"error"/')

Preview what putting it back would change, and put it back whole:

put() {{ curl -s -X PUT -H "$admin" -H "Content-Type: application/json" -d "$build" "$1"; }}
put "$url?dry_run=true"
put "$url?reason=worker+lost"

List what was changed, and undo the last of it:

curl -s -H "$admin" $url/1/revisions
last=$(curl -s -H "$admin" "$url/1/revisions?limit=1" | grep -o '"id":[0-9]*' | grep -o '[0-9]*')
curl -s -X POST -H "$admin" "$url/1/revisions/$last/undo?reason=it+is+back"
""",
        flush=True,
    )


if __name__ == "__main__":
    create_app().run(HOST, PORT)
