"""What both sides have in common: the example's model, users in memory, the databases."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import Any

from flask import Blueprint, Flask
from flask_httpauth import HTTPTokenAuth
from sqlalchemy import event

from example_app import OCTOCAT, Build, db

TOKEN = "of-the-admin"

#: The build that is repaired: a worker died, and the row says "running" for ever.
RUNNING = OCTOCAT | {"status": "running"}

#: … and what the administrator makes of it: three of 25 members are changed.
REPAIRED = RUNNING | {"status": "error", "error": "the worker died", "finished": 1563474099}


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
