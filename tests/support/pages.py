"""The README and the pages of ``docs/``, block by block, and which blocks a test has asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
README = "README.md"

#: Path to text, of every page.
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [ROOT / README, *sorted((ROOT / "docs").glob("*.md"))]
}

_FENCED = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)


class Block(NamedTuple):
    """A block of code on a page."""

    page: str
    language: str
    text: str


BLOCKS = [
    Block(page, *found)
    for page, text in PAGES.items()
    for found in _FENCED.findall(text)
    if not found[0].startswith("{")  # a directive of the site
]

#: Those that the tests imported so far have asked for.
TESTED: set[Block] = set()


def block(page: str, mark: str) -> str:
    """Find the one block of a page that has this text."""
    [found] = [one for one in BLOCKS if one.page == page and mark in one.text]
    TESTED.add(found)
    return found.text


def from_page(page: str, **marks: str) -> pytest.MarkDecorator:
    """Give a test blocks of a page, each as an argument, and found by a text that it alone has."""
    texts = [block(page, mark) for mark in marks.values()]
    return pytest.mark.parametrize(list(marks), [pytest.param(*texts, id=page)])


def prose(page: str) -> str:
    """Answer a page without its blocks."""
    return _FENCED.sub("", PAGES[page])
