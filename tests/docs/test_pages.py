"""The pages of docs/pages.md: behind the auth, with the repairs and in the layout of a host."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, login_user

from example_app import Build, BuildRevision
from flask_build_admin import BuildAdmin, BuildPages
from tests.support.ci_servers import CiServer
from tests.support.hosts import OCTOCAT, anybody
from tests.support.pages import PAGES, from_page

PAGE = "docs/pages.md"
BUILDS = "/admin/builds"

SAME = {"Sec-Fetch-Site": "same-origin"}


def test_every_option_is_there() -> None:
    table = PAGES[PAGE].partition("| option |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE) == list(
        inspect.signature(BuildPages).parameters
    )


def test_every_page_is_there(server: CiServer) -> None:
    table = PAGES[PAGE].partition("| page |")[2].partition("\n\n")[0]
    told = {
        path.replace("<id>", "<build_id>") for path in re.findall(r"^\| `([^`]+)`", table, re.M)
    }
    app = pages_of(server)
    rules = {
        rule.rule.removeprefix(BUILDS)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("build_pages.") and "GET" in (rule.methods or ())
    }
    leading_back = {"/clean", "/history/undo"} | {
        f"/<build_id>/{form}" for form in ("preview", "change", "undo")
    }
    assert told == rules - {"/static/<path:filename>"} - leading_back


def pages_of(server: CiServer, pages: BuildPages | None = None, **row: Any) -> Flask:
    """Register pages on the app of the server, and add a build to its database."""
    if pages is None:
        admin = BuildAdmin(Build, server.db.session, anybody, history=BuildRevision)
        pages = BuildPages(admin, anybody)
    if "sqlalchemy" not in server.app.extensions:
        server.db.init_app(server.app)
    server.app.register_blueprint(pages)
    server.fill(**OCTOCAT | row)
    return server.app


@from_page(PAGE, code="actor=basic_auth.current_user")
def test_behind_basic(server: CiServer, code: str, tmp_path: Path) -> None:
    code = code.replace("sqlite:///ci.db", f"sqlite:///{tmp_path}/ci.db")
    app: Flask = server.run(code)["app"]
    server.fill()
    client = app.test_client()
    refused = client.get(f"{BUILDS}/1")
    assert (refused.status_code, refused.headers["WWW-Authenticate"][:5]) == (401, "Basic")
    assert client.get(f"{BUILDS}/1", auth=("hubot", "of-hubot")).status_code == 403
    assert "Build 1" in client.get(f"{BUILDS}/1", auth=("mona", "of-mona")).text


@from_page(PAGE, code="Canceled by its author")
def test_repairs_of_ones_own(server: CiServer, code: str) -> None:
    pages: BuildPages = server.run(code)["build_pages"]
    app = pages_of(server, pages, status="running")
    client, auth = app.test_client(), ("mona", "of-mona")
    shown = client.get(f"{BUILDS}/1", auth=auth).text
    assert "Worker lost…" in shown
    previewed = client.post(
        f"{BUILDS}/1/preview", auth=auth, headers=SAME, data={"repair": "Canceled by its author"}
    )
    assert "status</b> becomes" in previewed.text
    assert "canceled" in previewed.text


def build_admin_of(server: CiServer) -> BuildAdmin:
    """Make the blueprint whose builds the pages show."""
    return BuildAdmin(Build, server.db.session, anybody)


class Person(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str, role: str) -> None:
        self.id = self.name = name
        self.role = role


@from_page(PAGE, code="@login_required")
def test_behind_flask_login(server: CiServer, code: str) -> None:
    server.own(build_admin=build_admin_of(server))
    people = {"mona": Person("mona", "admin"), "hubot": Person("hubot", "worker")}
    manager = LoginManager(server.app)
    manager.user_loader(people.get)
    manager.login_view = "login"

    @server.app.get("/login/<name>")
    def enter(name: str) -> str:
        login_user(people[name])
        return "in"

    @server.app.get("/login")
    def login() -> str:
        return "Who are you?"

    app = pages_of(server, server.run(code)["build_pages"])
    client = app.test_client()
    away = client.get(f"{BUILDS}/1")
    assert (away.status_code, away.headers["Location"][:7]) == (302, "/login?")
    client.get("/login/hubot")
    assert client.get(f"{BUILDS}/1").status_code == 403
    client.get("/login/mona")
    assert client.get(f"{BUILDS}/1").status_code == 200


@from_page(PAGE, code="X-Forwarded-Email")
def test_behind_a_proxy_that_authenticates(server: CiServer, code: str) -> None:
    server.own(build_admin=build_admin_of(server))
    app = pages_of(server, server.run(code)["build_pages"])
    client = app.test_client()
    assert client.get(f"{BUILDS}/1").status_code == 403
    name = {"X-Forwarded-Email": "mona@example.com"}
    assert client.get(f"{BUILDS}/1", headers=name).status_code == 200


@from_page(PAGE, layout="<header>Our CI")
def test_in_a_layout_of_ones_own(server: CiServer, layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "build_pages"
    folder.mkdir(parents=True)
    (folder / "base.html").write_text(layout)
    server.app.template_folder = str(tmp_path / "templates")
    app = pages_of(server)
    shown = app.test_client().get(f"{BUILDS}/1").text
    assert "<title>Build 1 · Our CI</title>" in shown
    assert "<header>Our CI</header>" in shown
    assert "pages.css" in shown


@from_page(PAGE, layout="admin/master.html", code="from flask_admin import")
def test_inside_flask_admin(server: CiServer, layout: str, code: str, tmp_path: Path) -> None:
    server.own(build_admin=build_admin_of(server))
    app = server.inside_flask_admin(layout, code, tmp_path)
    client, auth = app.test_client(), ("mona", "of-mona")
    shown = client.get(f"{BUILDS}/1", auth=auth)
    assert "<title>Build 1</title>" in shown.text
    assert '<a class="navbar-brand" href="/admin">Our CI</a>' in shown.text
    assert f'href="{BUILDS}/"' in shown.text
    assert "font-src 'self'; img-src data: 'self'" in shown.headers["Content-Security-Policy"]
    assert client.get("/admin/").status_code == 200
