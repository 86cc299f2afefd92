"""Somebody else changes the build, while a tab is open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.states import BUILD, ROWS, conflict, edit, press, preview, undo
from tests.support.chromium import Site, Visit

pytestmark = pytest.mark.browser


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site(rows=ROWS)


def set_build(site: Site, **values: object) -> None:
    """Change the build from elsewhere."""
    for name, value in values.items():
        site.host.execute(f"UPDATE builds SET {name} = :value WHERE id = {BUILD}", value=value)


def test_an_edit_of_other_members_is_carried_over(site: Site, visit: Visit) -> None:
    page = visit(site)
    edit(page, site, error="it hung")
    set_build(site, host="worker-9")
    press(page, "Preview")
    page.get_by_text("carried over").wait_for()
    assert site.changed() == []
    set_build(site, title="another")
    press(page, "Store")
    page.get_by_text("carried over").wait_for()  # nothing is stored unseen
    assert site.changed() == []
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    row = site.host.row(BUILD)
    assert (row["error"], row["host"], row["title"]) == ("it hung", "worker-9", "another")


@pytest.mark.parametrize(("choice", "status"), [("yours", "error"), ("now", "killed")])
def test_a_member_that_both_have_changed_is_chosen(
    site: Site, visit: Visit, choice: str, status: str
) -> None:
    page = visit(site)
    conflict(page, site)
    press(page, "Preview")
    # A radio button is required, so the browser does not send the form.
    assert page.title().startswith("Changed meanwhile")
    page.check(f"[name='choice.status'][value={choice}]")
    press(page, "Preview")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    row = site.host.row(BUILD)
    assert (row["status"], row["error"], row["number"]) == (status, "worker lost", 9)


def test_a_third_change_during_the_conflict_is_another_conflict(site: Site, visit: Visit) -> None:
    page = visit(site)
    conflict(page, site)
    page.check("[name='choice.status'][value=yours]")
    set_build(site, status="canceled")
    press(page, "Preview")
    page.get_by_text("canceled").first.wait_for()
    assert page.title().startswith("Changed meanwhile")
    page.check("[name='choice.status'][value=yours]")
    set_build(site, status="success")
    press(page, "Preview")
    page.get_by_text("success").first.wait_for()
    page.check("[name='choice.status'][value=yours]")
    press(page, "Preview")
    set_build(site, status="killed")
    press(page, "Store")
    page.get_by_text("killed").first.wait_for()
    assert page.title().startswith("Changed meanwhile")
    assert site.changed() == []
    assert site.host.row(BUILD)["status"] == "killed"


def test_what_is_wanted_already_is_a_success(site: Site, visit: Visit) -> None:
    page = visit(site)
    preview(page, site)
    set_build(site, status="error", error="worker lost", finished=1_700_007_200)
    press(page, "Store")
    page.get_by_text("The build is already as you wanted.").wait_for()
    assert site.changed() == []


def test_two_tabs_store_one_after_the_other(site: Site, visit: Visit) -> None:
    page = visit(site)
    edit(page, site, title="of the first")
    other = page.context.new_page()
    edit(other, site, error="of the second")
    for one in (page, other):
        press(one, "Preview")
    press(page, "Store")
    page.get_by_text("Stored as revision 1").wait_for()
    press(other, "Store")
    other.get_by_text("carried over").wait_for()
    press(other, "Store")
    other.get_by_text("Stored as revision 2").wait_for()
    assert site.changed() == [{"title": "of the first"}, {"error": "of the second"}]


def test_an_undo_of_a_build_that_changes_is_looked_at_again(site: Site, visit: Visit) -> None:
    page = visit(site)
    undo(page, site)
    page.get_by_text("This would be restored").wait_for()
    set_build(site, host="worker-9")
    press(page, "Undo")
    page.get_by_text("The build was changed meanwhile").wait_for()
    press(page, "Undo")
    page.get_by_text("Stored as revision 2").wait_for()
    assert site.host.row(BUILD)["host"] == "worker-9"
