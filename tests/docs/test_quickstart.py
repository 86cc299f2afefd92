"""The quickstart, followed from an empty folder: a server, its migrations, and two repairs."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from flask import Flask

from tests.docs.test_terminal import assert_session
from tests.support.browsers import Browser
from tests.support.pages import from_page

PAGE = "docs/quickstart.md"


def load_app(file: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """Import the reader's ``app.py``."""
    spec = spec_from_file_location("app", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "app", module)
    spec.loader.exec_module(module)
    app: Flask = module.app
    return app


@from_page(
    PAGE,
    install="pip install",
    host="class Build(Base)",
    first="flask db init",
    blueprints="class BuildRevision",
    second='-m "Revisions of builds"',
    serve="flask run",
    console="flask build-admin queue",
)
def test_from_an_empty_folder_to_a_repaired_build(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    install: str,
    host: str,
    first: str,
    blueprints: str,
    second: str,
    serve: str,
    console: str,
) -> None:
    def paste(commands: str) -> None:
        flask = f'set -e\nflask() {{ {sys.executable} -m flask "$@"; }}\n'
        subprocess.run(["bash", "-c", flask + commands], cwd=tmp_path, check=True)

    assert install.endswith(
        "pip install Flask-Build-Admin Flask-SQLAlchemy Flask-Login Flask-Migrate\n"
    )
    file = tmp_path / "app.py"
    file.write_text(host)
    paste(first)
    file.write_text(f"{host}\n\n{blueprints}")
    paste(second)
    paste(serve.replace("run", "routes"))

    app = load_app(file, monkeypatch)
    client = app.test_client()
    browser = Browser(client)
    assert "/login?" in browser.get("/").location
    wrong, right = ({"name": "mona", "password": one} for one in ("x", "octocat"))
    assert client.post("/login", data=wrong).status_code == 200
    assert client.post("/login", data=right).location == "/admin/builds/"
    queue = browser.get("/")
    assert "worker-7" in queue.text
    assert f"{browser.prefix}/1" in queue.links.values()
    preview = browser.submit(browser.get("/1").form("/preview"), button="Lost its worker…")
    build = browser.follow(browser.store(preview))
    assert "worker lost" in build.text
    assert "mona" in build.text
    undo = browser.submit(build.form("/undo"), button="Undo…")
    build = browser.follow(browser.submit(undo.form("/undo"), button="Undo"))
    assert "running" in build.text
    assert_session(app, console, 0, 0, 0)
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
