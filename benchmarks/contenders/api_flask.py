"""APIFlask: its own token auth, ``input`` and ``output``."""

from __future__ import annotations

import os
from typing import Any

from apiflask import APIFlask, HTTPTokenAuth

from example_app import Build, db

from ..hosts import PATH, User, find_user
from .hand_written import BuildSchema

app = APIFlask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db.init_app(app)
auth = HTTPTokenAuth()


@auth.verify_token
def verify_token(token: str) -> User | None:
    """Find the user whose token it is."""
    return find_user(token)


@auth.get_user_roles
def get_user_roles(user: User) -> str:
    """Tell what a user may do."""
    return user.role


@app.put(PATH)
@app.auth_required(auth, roles=["admin"])
@app.input(BuildSchema)
@app.output(BuildSchema)
def overwrite(json_data: dict[str, Any]) -> Build:
    """Overwrite a build."""
    build = db.get_or_404(Build, json_data["id"])
    for name, value in json_data.items():
        setattr(build, name, value)
    db.session.commit()
    return build
