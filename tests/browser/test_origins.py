"""A form is accepted from the pages themselves only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from tests.browser.states import BUILD, ROWS, press, stored
from tests.support.chromium import Site, Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

FORM = """<!doctype html><title>elsewhere</title>
<meta name="referrer" content="%s">
<form method="post" enctype="multipart/form-data" action="%s">
<input name="revision" value="1"><input name="repair" value="Lost its worker"><button>x</button>
</form>"""


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site(rows=ROWS)


@pytest.fixture
def elsewhere(serve: Callable[[Flask], int]) -> tuple[Flask, int]:
    """A server of somebody else, on which no page is a form yet."""
    app = Flask("elsewhere")
    return app, serve(app)


def attack(chromium: Browser, page: str, target: str) -> tuple[int, dict[str, str]]:
    """Press the button on somebody's page; return the answer's status and what was sent."""
    context = chromium.new_context()
    try:
        tab = context.new_page()
        tab.goto(page)
        with tab.expect_response(target) as answer:
            tab.click("button")
        return answer.value.status, answer.value.request.all_headers()
    finally:
        context.close()


@pytest.mark.parametrize("path", [f"/{BUILD}/preview", f"/{BUILD}/undo", "/clean", "/history/undo"])
def test_a_form_of_another_site_is_refused(
    site: Site, chromium: Browser, elsewhere: tuple[Flask, int], path: str
) -> None:
    app, port = elsewhere
    target = site.url(path, "127.0.0.1")
    app.add_url_rule("/", "form", lambda: FORM % ("unsafe-url", target))
    status, sent = attack(chromium, f"http://elsewhere.localhost:{port}/", target)
    assert (status, sent["sec-fetch-site"]) == (403, "cross-site")
    assert site.changed() == []


@pytest.mark.parametrize(
    ("own", "other", "is_of"),
    [
        ("a.localhost", "b.localhost", "same-site"),  # a sibling
        ("localhost", "localhost", "same-site"),  # another port
        ("ci.test", "evil.test", None),  # plain HTTP
        ("ci.test", "ci.test", None),  # plain HTTP, another port
    ],
)
def test_a_form_of_a_neighbour_is_refused(
    site: Site,
    chromium: Browser,
    elsewhere: tuple[Flask, int],
    own: str,
    other: str,
    is_of: str | None,
) -> None:
    app, port = elsewhere
    target = site.url(f"/{BUILD}/preview", own)
    app.add_url_rule("/<referrer>", "form", lambda referrer: FORM % (referrer, target))
    for referrer in ("unsafe-url", "no-referrer"):
        status, sent = attack(chromium, f"http://{other}:{port}/{referrer}", target)
        # Chromium knows no site without a public suffix, and may call it foreign.
        assert sent.get("sec-fetch-site") in ({None} if is_of is None else {is_of, "cross-site"})
        assert status == 403


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "a.localhost", "ci.test"])
def test_a_form_of_its_own_is_accepted(site: Site, visit: Visit, name: str) -> None:
    page = visit(site, f"/{BUILD}/edit", name=name)
    page.fill("[name='member.error']", "it hung")
    press(page, "Preview")
    with page.expect_response("**/change") as answer:
        press(page, "Store")
    sent = answer.value.request.all_headers()
    assert sent.get("sec-fetch-site") == (None if name == "ci.test" else "same-origin")
    page.get_by_text("Stored as revision 1").wait_for()
    assert site.changed() == [{"error": "it hung"}]


def test_nobody_frames_a_page(site: Site, chromium: Browser, elsewhere: tuple[Flask, int]) -> None:
    app, port = elsewhere
    app.add_url_rule("/", "frame", lambda: f"<iframe src='{site.url()}'></iframe>")
    context = chromium.new_context()
    page = context.new_page()
    lines: list[str] = []
    page.on("console", lambda message: lines.append(message.text))
    page.goto(f"http://localhost:{port}/")
    page.wait_for_timeout(200)
    context.close()
    assert any("frame-ancestors" in line for line in lines), lines


def test_nothing_is_undone_by_an_address(site: Site, visit: Visit) -> None:
    page = visit(site)
    stored(page, site)
    page.get_by_text("Stored as revision 1").wait_for()
    for path in (f"/{BUILD}/undo?revision=1", f"/{BUILD}/change", "/clean?all=1&store=1"):
        page.goto(site.url(path))
        assert page.url in (site.url(f"/{BUILD}"), site.url("/"))
    assert len(site.changed()) == 1
