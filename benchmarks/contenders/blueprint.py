"""This blueprint, without its history and with it."""

from __future__ import annotations

from example_app import Build, BuildRevision, db
from flask_build_admin import BuildAdmin

from .flask_host import make_app, token_auth


def make_blueprint(history: type[BuildRevision] | None = None) -> BuildAdmin:
    """Make the blueprint as the README does."""
    return BuildAdmin(
        model=Build,
        session=db.session,
        auth=token_auth.login_required(role="admin"),
        history=history,
        actor=lambda: token_auth.current_user().name,
    )


app = make_app(make_blueprint())
app_with_history = make_app(make_blueprint(BuildRevision))
