"""What a browser does to text changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest

from tests.browser.states import press
from tests.support.chromium import Site, Visit
from tests.support.hosts import OCTOCAT

pytestmark = pytest.mark.browser

#: What browsers change on the way, and what else goes wrong on it.
TEXTS = [
    "a\rb",
    "a\r\nb",
    "a\nb\r\nc\rd",
    "\nleading",
    "\r\nleading",
    "\n",
    "\r",
    "trailing  ",
    "trailing\n\n",
    "  leading\t",
    "\ttab\tin\ttext",
    "\0",
    "a\0b\nc\0",
    "e\u0301 é 👩‍👩‍👧‍👦 🏳️‍🌈",
    "\u202etxet\u202c \u2066x\u2069 \u200b\ufeff",
    "\x01\x08\x0b\x0c\x1b[31m\x7f\x85\x9f",
    "\u2028line\u2029paragraph",
    "\ufffd\ufffe\uffff\U0001fffe",
    "&amp; &#13;&#10; &lt;",
    "\"'`=<>",
    "</textarea><b>",
    "x" * 130 + "\r\n",
    "",
]

#: The members that are text, and are not NULL.
MEMBERS = [
    name
    for name, value in OCTOCAT.items()
    if isinstance(value, str) and name not in ("status", "host", "deploy")
]


def rows() -> Iterator[dict[str, Any]]:
    """Return builds that have each of the texts in turn, and NULL where it may be."""
    texts = cycle(TEXTS)
    for number, deploy in enumerate([None, "\n", "a\r\nb\0"], start=1):
        members = {name: next(texts) for name in MEMBERS}
        yield OCTOCAT | members | {"id": number, "number": number, "deploy": deploy}


def test_an_untouched_form_stores_nothing(make_site: Callable[..., Site], visit: Visit) -> None:
    site = make_site(rows=rows())
    page = visit(site)
    for row in rows():
        page.goto(site.url(f"/{row['id']}/edit"))
        press(page, "Preview")
        page.get_by_text("Nothing is changed yet.").wait_for()
        # Once more, from the form with what was typed.
        page.fill("[name='member.host']", "worker-8")
        press(page, "Preview")
        press(page, "Store")
        page.get_by_text("Stored as revision").wait_for()
        assert {**site.host.row(row["id"])} == row | {"host": "worker-8"}
    assert site.changed() == [{"host": "worker-8"}] * row["id"]


@pytest.mark.parametrize("word", ["worker ", "работник "], ids=["ASCII", "Cyrillic"])
def test_a_message_of_256_kib_is_changed_exactly(
    make_site: Callable[..., Site], visit: Visit, word: str
) -> None:
    size = len(word.encode())
    text = "\n".join([word * 10] * (262_144 // (10 * size + 1)))
    text += "x" * (262_144 - len(text.encode()))
    site = make_site(rows=[OCTOCAT | {"message": text}], max_content_length=1 << 20)
    page = visit(site, "/1/edit")
    page.click("summary")
    page.focus("[name='member.message']")
    page.keyboard.press("Control+Home")
    page.keyboard.type(">")
    page.keyboard.press("Control+End")
    page.keyboard.type(" <")
    press(page, "Preview")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    assert site.changed() == [{"message": f">{text} <"}]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_text_keeps_its_ends_of_lines(
    make_site: Callable[..., Site], visit: Visit, ends: str
) -> None:
    site = make_site(rows=[OCTOCAT | {"message": f"a{ends}b"}])
    page = visit(site, "/1/edit")
    page.click("summary")
    page.focus("[name='member.message']")
    page.keyboard.press("Control+End")
    page.keyboard.press("Enter")
    page.keyboard.type("c")
    press(page, "Preview")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    assert site.changed() == [{"message": f"a{ends}b{ends}c"}]
