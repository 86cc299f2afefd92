"""The host of those contenders that are Flask blueprints: the example's model, and token auth."""

from __future__ import annotations

import os

from flask import Blueprint, Flask
from flask_httpauth import HTTPTokenAuth

from example_app import db

from ..hosts import User, find_user

token_auth = HTTPTokenAuth()


@token_auth.verify_token
def verify_token(token: str) -> User | None:
    """Find the user whose token it is."""
    return find_user(token)


@token_auth.get_user_roles
def get_user_roles(user: User) -> str:
    """Tell Flask-HTTPAuth what a user may do."""
    return user.role


def make_app(blueprint: Blueprint) -> Flask:
    """Make a host of a blueprint."""
    app = Flask(blueprint.name)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    db.init_app(app)
    app.register_blueprint(blueprint)
    return app
