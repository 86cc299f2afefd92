"""A whole repair on hosts of all kinds."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Flask
from marshmallow import Schema, fields
from werkzeug.middleware.http_proxy import ProxyMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from example_app import Build
from flask_build_admin import BuildAdmin, BuildPages, BuildSchema, Choice, UnixTime
from tests.browser.states import press
from tests.support.chromium import Site, Visit, inline
from tests.support.ci_servers import CiServer
from tests.support.hosts import BuildRevision, Host, anybody, history_of, model_of, row_of, stuck
from tests.support.pages import from_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

ID = uuid.UUID("0a0b0c0d-0000-4000-8000-00000000000f")


class Status(enum.Enum):
    RUNNING = "running"
    ERROR = "error"


class Runner(Schema):
    name = fields.String()


class OddSchema(BuildSchema):
    id = fields.UUID(required=True)
    status = fields.Enum(Status, by_value=True, required=True)
    event = Choice({"push": 1, "deploy": 2})
    started = UnixTime()
    runtime = fields.Constant("docker", dump_only=True)
    host = fields.Nested(Runner, dump_only=True)
    labels = fields.List(fields.String(), required=True)


def odd_host(make_host: Callable[..., Host], url: str) -> Host:
    """A host with an Enum, a Choice, a UnixTime, a UUID, a Constant, a Nested and a 26th member."""
    odd = ("id", "status", "event", "started", "runtime", "host")
    model = model_of(
        *odd,
        id=sa.Column(sa.Uuid, primary_key=True),
        status=sa.Column(sa.Enum(Status)),
        event=sa.Column(sa.Integer),
        started=sa.Column(sa.DateTime),
        labels=sa.Column(sa.JSON),
        host=property(lambda self: {"name": "worker-7"}),
    )
    row = row_of(*odd, id=ID, status=Status.RUNNING, event=1, labels=["a"])
    row["started"] = datetime(2023, 11, 14, tzinfo=UTC).replace(tzinfo=None)
    history = history_of(model, build_id=sa.Column(sa.Uuid, nullable=False))
    return make_host(url, model=model, schema=OddSchema, rows=[row], history=history)


def repair(page: Page, address: str, typed: str = "worker lost") -> None:
    """Edit a build, and store it, with nothing inline on any page."""
    page.goto(address)
    assert inline(page) == []
    page.get_by_role("link", name="Edit", exact=True).click()
    assert inline(page) == []
    page.fill("[name='member.error']", typed)
    press(page, "Preview")
    assert inline(page) == []
    press(page, "Store")
    page.get_by_role("status").wait_for()
    assert inline(page) == []


def error_of(host: Host, build_id: object) -> Any:
    return host.blueprint.store.find(str(build_id)).document["error"]


def test_members_of_all_kinds(
    make_host: Callable[..., Host], sqlite_url: str, serve: Callable[[Flask], int], visit: Visit
) -> None:
    host = odd_host(make_host, sqlite_url)
    host.app.register_blueprint(BuildPages(host.blueprint, anybody))
    site = Site(host, serve(host.app))
    page = visit(site, "/")
    page.locator("td a").click()
    assert page.url == site.url(f"/{ID}")
    assert page.get_by_text('{"name": "worker-7"}').is_visible()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.select_option("[name^='member.status']", '"error"')
    page.select_option("[name='member.started']", "zero")
    page.click("summary")
    page.select_option("[name^='member.event']", '"deploy"')
    page.fill("[name='member.labels']", '["a", "b"]')
    assert page.locator("[name^='member.runtime'], [name^='member.host']").count() == 0
    press(page, "Preview")
    assert page.get_by_text("4 members would change").is_visible()
    press(page, "Store")
    page.get_by_role("status").wait_for()
    stored = host.blueprint.store.find(str(ID)).document
    expected = {"status": "error", "started": 0, "event": "deploy", "labels": ["a", "b"]}
    assert {key: stored[key] for key in expected} == expected
    press(page, "Undo")
    press(page, "Undo")
    page.get_by_role("status").wait_for()
    assert host.blueprint.store.find(str(ID)).document["status"] == "running"


def test_no_history_and_no_queue_below_another_prefix(
    make_host: Callable[..., Host], sqlite_url: str, serve: Callable[[Flask], int], visit: Visit
) -> None:
    host = make_host(sqlite_url, rows=[stuck(1)], queue_statuses=())
    host.app.register_blueprint(BuildPages(host.blueprint, anybody, url_prefix="/ops/ci"))
    site = Site(host, serve(host.app))
    page = visit(site)
    page.goto(f"http://localhost:{site.port}/ops/ci/")
    page.get_by_role("textbox", name="Build").fill("1")
    page.get_by_role("button", name="Go").click()
    repair(page, page.url)
    assert page.url.startswith(f"http://localhost:{site.port}/ops/ci/1")
    assert error_of(host, 1) == "worker lost"


def test_two_registrations_have_links_of_their_own(
    make_host: Callable[..., Host], sqlite_url: str, serve: Callable[[Flask], int], visit: Visit
) -> None:
    host = make_host(sqlite_url, rows=[stuck(1)], history=BuildRevision)
    pages = BuildPages(host.blueprint, anybody)
    host.app.register_blueprint(pages)
    host.app.register_blueprint(pages, name="second", url_prefix="/second")
    site = Site(host, serve(host.app))
    page = visit(site)
    for prefix in ("/admin/builds", "/second"):
        repair(page, f"http://localhost:{site.port}{prefix}/1", typed=prefix)
        assert page.url.startswith(f"http://localhost:{site.port}{prefix}/1")
        assert error_of(host, 1) == prefix
        addresses = page.eval_on_selector_all(
            "a, form, link, script",
            "all => all.map(one => one.getAttribute('action') || one.getAttribute('href')"
            " || one.getAttribute('src'))",
        )
        assert [one for one in addresses if not one.startswith((f"{prefix}/", "#", "http"))] == []


def test_behind_a_proxy(
    make_host: Callable[..., Host], sqlite_url: str, serve: Callable[[Flask], int], visit: Visit
) -> None:
    host = make_host(sqlite_url, rows=[stuck(1)], history=BuildRevision)
    host.app.register_blueprint(BuildPages(host.blueprint, anybody))
    host.app.wsgi_app = ProxyFix(host.app.wsgi_app, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    behind = Site(host, serve(host.app))
    headers = {"X-Forwarded-Prefix": "/ci", "X-Forwarded-Proto": "http"}
    target = {"target": f"http://127.0.0.1:{behind.port}", "remove_prefix": True}
    proxy = Flask("proxy")
    site = Site(host, serve(proxy))
    # ci.test: to this name Chromium sends no Sec-Fetch-Site, so that Origin must agree.
    for name in ("localhost", "ci.test"):
        headers["X-Forwarded-Host"] = f"{name}:{site.port}"
        proxy.wsgi_app = ProxyMiddleware(  # type: ignore[method-assign]
            Flask.wsgi_app.__get__(proxy), {"/ci/": target | {"headers": headers}}
        )
        repair(visit(site, name=name), f"http://{name}:{site.port}/ci/admin/builds/1", typed=name)
        assert error_of(host, 1) == name


@from_page("docs/pages.md", layout="admin/master.html", code="from flask_admin import")
def test_inside_flask_admin(
    server: CiServer,
    layout: str,
    code: str,
    tmp_path: Path,
    serve: Callable[[Flask], int],
    visit: Visit,
) -> None:
    server.own(build_admin=BuildAdmin(Build, server.db.session, anybody))
    app = server.inside_flask_admin(layout, code, tmp_path)
    port = serve(app)
    credentials = {"username": "mona", "password": "of-mona"}
    page = visit(SimpleNamespace(port=port), http_credentials=credentials)
    repair(page, f"http://localhost:{port}/admin/builds/1")
    assert page.locator("a.navbar-brand").inner_text() == "Our CI"
    assert page.get_by_text("worker lost").first.is_visible()
