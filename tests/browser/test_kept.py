"""Everything typed is kept: by every refusal, an expired session and the back button."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import redirect, request
from marshmallow import fields, validate

from flask_build_admin import BuildSchema
from tests.browser.states import BUILD, ROWS, edit, press
from tests.support.chromium import Site, Visit, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

TYPED = {
    "status": "error",
    "error": "it hung\tfor two hours",
    "finished.at": "2026-11-28T03:00:00Z",
    "title": "A title  ",
}


def members(page: Any) -> dict[str, str]:
    """Read what stands in the form."""
    return {name: page.input_value(f"[name='member.{name}']") for name in TYPED}


def back(page: Any) -> None:
    """Go back from an answer that may be none: the connection is closed before all is sent."""
    from playwright.sync_api import Error

    for _ in range(50):
        with suppress(Error):
            page.go_back()
            return
        page.wait_for_timeout(100)
    raise AssertionError(page.url)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site(rows=ROWS)


def test_back_keeps_it(site: Site, visit: Visit) -> None:
    """Where the browser fetches the form once more."""
    page = visit(site)
    edit(page, site, **TYPED)
    press(page, "Preview")
    page.get_by_text("Nothing is stored yet").wait_for()
    page.go_back()
    assert members(page) == TYPED
    press(page, "Preview")
    page.get_by_text("Nothing is stored yet. 4 members").wait_for()


def test_back_keeps_it_where_the_browser_keeps_the_page(site: Site, chromium: Browser) -> None:
    with launched(
        chromium.browser_type, ignore_default_args=["--disable-back-forward-cache"]
    ) as browser:
        page = browser.new_page()
        edit(page, site, **TYPED)
        press(page, "Preview")
        page.get_by_text("Nothing is stored yet").wait_for()
        site.host.execute(f"UPDATE builds SET host = 'worker-9' WHERE id = {BUILD}")
        page.go_back(wait_until="commit")
        assert members(page) == TYPED
        press(page, "Preview")
        page.get_by_text("carried over").wait_for()
        press(page, "Store")
        page.get_by_text("Stored as revision 1").wait_for()
    assert site.host.row(BUILD)["host"] == "worker-9"


class ChoiceSchema(BuildSchema):
    event = fields.String(required=True, validate=validate.OneOf(["push", "tag", "deployment"]))
    status = fields.String(required=True, validate=validate.OneOf(["running", "error", "success"]))
    deploy = fields.String(required=True, allow_none=True)


def test_back_sets_nothing_back_that_somebody_else_has_changed(
    make_site: Callable[..., Site], visit: Visit
) -> None:
    """The browser chooses again what was chosen in a list, touched or not."""
    site = make_site(rows=ROWS, schema=ChoiceSchema)
    page = visit(site, f"/{BUILD}/edit")
    page.fill("[name='member.title']", "A title")
    page.click("summary")
    page.select_option("#field-event", '"tag"')
    press(page, "Preview")
    page.get_by_text("Nothing is stored yet").wait_for()
    site.host.execute(f"UPDATE builds SET status = 'error', deploy = NULL WHERE id = {BUILD}")
    page.go_back()
    assert page.input_value("#field-title") == "A title"
    assert page.input_value("#field-event") == '"tag"'
    assert page.input_value("#field-status") == '"error"'
    press(page, "Preview")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    assert site.changed() == [{"title": "A title", "event": "tag"}]


def test_a_refused_value_keeps_it(site: Site, visit: Visit) -> None:
    page = visit(site)
    edit(page, site, **TYPED | {"started.at": "yesterday"})
    press(page, "Preview")
    page.get_by_text("This cannot be stored").wait_for()
    assert members(page) == TYPED
    assert page.input_value("[name='member.started.at']") == "yesterday"
    edit(page, site, **TYPED | {"title": "x" * 251})
    press(page, "Preview")
    page.get_by_text("title").first.wait_for()
    assert page.locator("#errors").is_visible()
    assert page.input_value("[name='member.title']") == "x" * 251
    assert page.input_value("[name='member.error']") == TYPED["error"]


def test_a_conflict_in_the_database_keeps_it(site: Site, visit: Visit) -> None:
    page = visit(site)
    edit(page, site, **TYPED)
    page.click("summary")
    page.fill("[name='member.number']", "3")
    press(page, "Preview")
    page.locator("#errors").wait_for()
    assert page.evaluate("document.title") == f"Edit build {BUILD}"
    assert page.input_value("[name='member.number']") == "3"
    assert page.input_value("[name='member.error']") == TYPED["error"]


def test_a_form_that_is_too_long_keeps_it(make_site: Callable[..., Site], visit: Visit) -> None:
    site = make_site(rows=ROWS, max_content_length=4096)
    page = visit(site)
    edit(page, site, **TYPED)
    page.click("summary")
    page.fill("[name='member.message']", "x" * 4096)
    press(page, "Preview")
    page.get_by_text("The build is longer than 4096 bytes.").wait_for()
    assert page.input_value("[name='member.message']") == "x" * 4096
    assert page.input_value("[name='member.error']") == TYPED["error"]


def test_a_form_that_is_refused_whole_is_kept_by_the_browser(
    make_site: Callable[..., Site], visit: Visit
) -> None:
    site = make_site(rows=ROWS, max_content_length=4096)
    page = visit(site)
    edit(page, site, **TYPED)
    page.click("summary")
    page.fill("[name='member.message']", "x" * 400_000)
    with page.expect_response("**/preview") as answer:
        press(page, "Preview")
    assert answer.value.status == 413
    back(page)
    assert members(page) == TYPED
    assert page.input_value("[name='member.message']") == "x" * 400_000


@pytest.mark.parametrize("when", ["the preview", "the change"])
def test_a_database_that_is_busy_keeps_it(
    make_site: Callable[..., Site], tmp_path: Path, visit: Visit, when: str
) -> None:
    url = f"sqlite:///{tmp_path / 'ci.db'}?timeout=0.1"
    site = make_site(url=url, rows=ROWS)
    with site.host.engine.connect() as other:
        page = visit(site)
        edit(page, site, **TYPED)
        if when == "the change":
            press(page, "Preview")
            page.fill("#reason", "it hung")
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with page.expect_response(lambda one: one.request.method == "POST") as answer:
            press(page, "Preview" if when == "the preview" else "Store")
        assert answer.value.status == 503
        other.rollback()
        page.locator("#field-error").wait_for()
        assert page.input_value("[name='member.error']") == TYPED["error"]
        assert page.input_value("[name='member.title']") == TYPED["title"]
        press(page, "Preview")
        press(page, "Store")
        page.get_by_text("Stored as revision 1").wait_for()


def test_an_expired_session_keeps_it(make_site: Callable[..., Site], visit: Visit) -> None:
    """The browser lands on the login page. After it, Back leads to what was typed."""

    def login_required(view: Callable[..., Any]) -> Callable[..., Any]:
        def checked(**values: Any) -> Any:
            if request.cookies.get("session") != "of-mona":
                return redirect("/login")
            return view(**values)

        return checked

    def login() -> Any:
        if request.method == "GET":
            return "<title>Login</title><form method=post><button>Log in</button></form>"
        response = redirect("/welcome")
        response.set_cookie("session", "of-mona")
        return response

    site = make_site({"auth": login_required}, rows=ROWS)
    app = site.host.app
    app.add_url_rule("/login", "login", login, methods=["GET", "POST"])
    app.add_url_rule("/welcome", "welcome", lambda: "<title>Welcome</title>")
    page = visit(site, "/")
    page.click("button")
    page.wait_for_url("**/welcome")
    edit(page, site, **TYPED)
    page.context.clear_cookies()
    press(page, "Preview")
    page.wait_for_url("**/login")
    page.click("button")
    page.wait_for_url("**/welcome")
    while not page.url.endswith("/edit"):
        page.go_back()
    assert members(page) == TYPED
    press(page, "Preview")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()


def test_change_something_leads_back_to_what_was_typed(site: Site, visit: Visit) -> None:
    page = visit(site)
    edit(page, site, **TYPED)
    press(page, "Preview")
    press(page, "Change something")
    page.locator("#field-error").wait_for()
    assert page.input_value("#field-error") == TYPED["error"]
    assert page.input_value("#field-title") == TYPED["title"]
    assert page.input_value("[name='member.finished.at']") == "1795834800"
