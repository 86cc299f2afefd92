"""The tests of docs/testing.md pass on a host, and fail where it admits everybody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_build_admin import BuildAdmin, BuildPages, BuildRevisionMixin, BuildSchema
from tests.support.ci_servers import token_auth
from tests.support.hosts import anybody
from tests.support.pages import ROOT, block


class Base(DeclarativeBase):
    pass


class Build(Base):
    __tablename__ = "builds"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str]
    error: Mapped[str] = mapped_column(default="")


class BuildRevision(BuildRevisionMixin, Base):
    __tablename__ = "build_revisions"


class OurBuildSchema(BuildSchema):
    class Meta:
        fields = ("id", "status", "error")


db = SQLAlchemy(model_class=Base)


def create_app(config: Mapping[str, Any]) -> Flask:
    """Make the reader's app; anybody is admitted if OPEN is set."""
    app = Flask("ci")
    app.config.update(config)
    db.init_app(app)
    auth = token_auth()
    admin_required = anybody if "OPEN" in os.environ else auth.login_required(role="admin")
    build_admin = BuildAdmin(
        Build,
        db.session,
        admin_required,
        schema=OurBuildSchema,
        history=BuildRevision,
        actor=lambda: auth.current_user().name,
    )
    app.register_blueprint(build_admin)
    app.register_blueprint(BuildPages(build_admin, admin_required))
    return app


PAGE = "docs/testing.md"
MARKS = ["def client(", "only_admin", "goes_back", "a_repair", "the_terminal", "the_page", "heard"]
CODE = "\n\n".join(block(PAGE, mark) for mark in MARKS)


@pytest.mark.parametrize(
    ("environment", "code", "told"), [({}, 0, "8 passed"), ({"OPEN": "1"}, 1, "== 401")]
)
def test_the_tests_of_the_page(
    tmp_path: Path, environment: dict[str, str], code: int, told: str
) -> None:
    (tmp_path / "ci_server.py").write_text(f"from {__name__} import Build, create_app, db\n")
    (tmp_path / "test_build_admin.py").write_text(CODE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, told in done.stdout) == (code, True), done.stdout
