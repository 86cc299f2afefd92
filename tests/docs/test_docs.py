"""Every block of the README and the pages is tested, and every link of theirs leads somewhere."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.pages import BLOCKS, PAGES, ROOT, TESTED, prose

LINKS = [
    pytest.param(page, target, id=f"{page}: {target}")
    for page in PAGES
    for target in re.findall(r"\]\(([^)]*)\)", prose(page))
]


def anchors(text: str) -> set[str]:
    """Name the headings as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_block_is_given_to_a_test() -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        if "support.pages import" in path.read_text():
            import_module(f"{__package__}.{path.stem}")
    assert [one for one in BLOCKS if one not in TESTED] == []


def test_every_block_is_one_of_code() -> None:
    assert {one.language for one in BLOCKS} <= {"console", "json", "python", "sh", "sql"}
    assert len(BLOCKS) == sum(text.count("\n```") for text in PAGES.values()) / 2


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_a_link_leads_somewhere(page: str, target: str) -> None:
    if target.startswith("https://"):
        return  # not ours
    path, _, anchor = target.partition("#")
    found = (ROOT / page).parent / path if path else ROOT / page
    assert found.exists()
    if anchor:
        assert anchor in anchors(prose(str(found.resolve().relative_to(ROOT))))


def test_the_readme_leads_to_every_page() -> None:
    for page in PAGES:
        assert page == "README.md" or f"]({page})" in PAGES["README.md"]
