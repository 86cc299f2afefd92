"""What is stored in a build is displayed, and never runs, leads away or hides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.states import BUILD, ELEMENTS, PAYLOAD, ROWS, press
from tests.support.chromium import Site, Visit, inline
from tests.support.hosts import OCTOCAT

pytestmark = pytest.mark.browser


def test_nothing_runs_that_a_person_has_typed(hostile_site: Site, visit: Visit) -> None:
    page = visit(hostile_site, "/1/edit")
    for name in ("status", "error", "title"):
        page.fill(f"[name='member.{name}']", f"{PAYLOAD}{name}")
    page.click("summary")
    page.fill("[name='member.message']", f"{PAYLOAD}message")
    page.fill("[name='member.started.at']", PAYLOAD)
    press(page, "Preview")
    page.get_by_text("This cannot be stored").wait_for()
    assert page.locator(ELEMENTS).count() == 0
    page.fill("[name='member.started.at']", "")
    page.fill("[name='member.status']", "error")
    page.fill("[name='member.title']", PAYLOAD[:250])
    press(page, "Preview")
    page.fill("#reason", PAYLOAD)
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    press(page, PAYLOAD[:20])  # the repair
    page.get_by_text("Nothing is stored yet").wait_for()
    assert page.locator(ELEMENTS).count() == 0
    assert inline(page) == []
    page.goto(hostile_site.url("/1/history"))
    assert page.locator("q").inner_text().strip("“”\"'") == PAYLOAD
    assert page.locator(ELEMENTS).count() == 0
    page.goto(hostile_site.url("/4"))
    assert page.get_by_text(PAYLOAD[:40]).count() > 5
    assert page.locator(ELEMENTS).count() == 0
    page.goto(hostile_site.url(f"/?host={PAYLOAD.replace('#', '').replace('&', '')}&idle=1h"))
    assert page.locator(ELEMENTS).count() == 0


def test_only_an_address_of_the_web_is_a_link(make_site: Callable[..., Site], visit: Visit) -> None:
    addresses = [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "https://example.com\n",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "//example.com/x",
        "https:example.com",
        "http://[",
        "https://example.com/\u202egpj",
    ]
    site = make_site(
        rows=[
            OCTOCAT | {"id": at, "number": at, "clone": one, "source": "https://example.com/x"}
            for at, one in enumerate(addresses, start=1)
        ]
    )
    page = visit(site)
    for at, one in enumerate(addresses, start=1):
        page.goto(site.url(f"/{at}"))
        links = page.locator("main dd a").evaluate_all("all => all.map(one => one.href)")
        assert links == ["https://example.com/x"], one


#: What nobody sees, or what turns the text around.
UNSEEN = "\u202e\u2066\u200b\ufeff\xad\x1b\x07\x85\U000e0041"


def test_what_nobody_sees_is_displayed(make_site: Callable[..., Site], visit: Visit) -> None:
    rows = [row | dict.fromkeys(("host", "title"), f"a{UNSEEN}b") for row in ROWS]
    site = make_site(rows=rows, actor=lambda: f"c{UNSEEN}d")
    seen = UNSEEN.encode("unicode_escape").decode()
    page = visit(site, "/")
    assert page.locator("td").get_by_text(f"a{seen}b").count() == 2 * 3
    assert page.locator(".counts").get_by_text(f"a{seen}b").count() == 1
    page.goto(site.url(f"/{BUILD}"))
    assert page.locator("dd").get_by_text(f"a{seen}b").count() == 2
    page.goto(site.url(f"/{BUILD}/edit"))
    page.fill("[name='member.error']", "x")
    press(page, "Preview")
    page.fill("#reason", f"e{UNSEEN}f")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    assert page.locator(".who").get_by_text(f"c{seen}d").count() == 1
    assert page.locator(".who").get_by_text(f"e{seen}f").count() == 1
    assert not {*UNSEEN} & {*page.locator("body").inner_text()}
