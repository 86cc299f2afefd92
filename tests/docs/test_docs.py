"""Every block of the README and the pages is tested, and every link of theirs leads somewhere."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import metadata, version
from pathlib import Path

import pytest

from tests.support.pages import BLOCKS, PAGES, ROOT, TESTED, prose

LINKS = [
    pytest.param(page, target, id=f"{page}: {target}")
    for page in PAGES
    for target in re.findall(r"\]\(([^)]*)\)", prose(page))
]


#: What the README's addresses stand for: on PyPI, relative ones lead nowhere.
OURS = {
    "https://flask-build-admin.readthedocs.io/en/latest/": "docs/",
    "https://github.com/flask-build-admin/flask-build-admin/blob/main/": "",
    "https://raw.githubusercontent.com/flask-build-admin/flask-build-admin/main/": "",
}


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
    assert {one.language for one in BLOCKS} <= {"console", "html", "json", "python", "sh", "sql"}
    fences = sum(text.count("\n```") - 2 * text.count("\n```{") for text in PAGES.values())
    assert len(BLOCKS) == fences / 2


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_a_link_leads_somewhere(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    if target.startswith("https://"):
        prefix = next((one for one in OURS if target.startswith(one)), None)
        if prefix is None:
            return  # not ours
        found = ROOT / OURS[prefix] / path.removeprefix(prefix).replace(".html", ".md")
    else:
        assert page != "README.md"
        found = (ROOT / page).parent / path if path else ROOT / page
    assert found.exists()
    if anchor:
        assert anchor in anchors(prose(str(found.resolve().relative_to(ROOT))))


def test_the_addresses_are_those_of_the_package() -> None:
    told = metadata("Flask-Build-Admin").get_all("Project-URL") or []
    urls = dict(one.split(", ") for one in told)
    site, files, images = OURS
    assert site == f"{urls['Documentation']}/en/latest/"
    assert files == f"{urls['Source']}/blob/main/"
    assert images == f"{urls['Source'].replace('//github', '//raw.githubusercontent')}/main/"


def test_the_newest_of_the_changes_is_this_version() -> None:
    versions = re.findall(
        r"^## \[([0-9.]+)\] - 20\d\d-\d\d-\d\d$", (ROOT / "CHANGES.md").read_text(), re.MULTILINE
    )
    assert versions[0] == version("Flask-Build-Admin")


def test_the_readme_leads_to_every_page() -> None:
    site, *_ = OURS
    for page in PAGES:
        name = Path(page).stem
        assert name in ("README", "index") or f"]({site}{name}.html)" in PAGES["README.md"]
