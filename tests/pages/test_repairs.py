"""The repairs of one click, and the mistakes in them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from time import time
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import fields

from flask_build_admin import BuildPages, BuildSchema, Text, UnixTime
from flask_build_admin.exceptions import ConfigurationError
from tests.support.browsers import Browser
from tests.support.hosts import OCTOCAT, Host, anybody, history_of, model_of, row_of, stuck

Paged = Callable[..., tuple[Host, Browser]]


class Status(enum.Enum):
    RUNNING = "running"
    GONE = "gone"


def labels(browser: Browser) -> list[str]:
    buttons = browser.get("/1").find("button", name="repair")
    return [one.attributes["value"] for one in buttons]


def test_a_build_whose_worker_is_lost(paged: Paged) -> None:
    host, browser = paged(rows=[stuck(1)])
    page = browser.get("/1")
    before = int(time())
    preview = browser.submit(page.form("/preview"), {}, "Lost its worker…")
    assert "3 members would change:" in preview.text
    assert host.row()["status"] == "running"
    assert browser.store(preview).status == 303
    row = host.row()
    assert (row["status"], row["error"]) == ("error", "worker lost")
    assert before <= row["finished"] <= time()
    # Once more: only the time is another.
    again = browser.submit(browser.get("/1").form("/preview"), {}, "Lost its worker")
    assert "1 member would change" in again.text or "nothing would change" in again.text


def test_the_default_is_what_the_schema_has(paged: Paged) -> None:
    class Schema(BuildSchema):
        error = Text(dump_only=True)

        class Meta:
            exclude = ("finished",)

    model = model_of("finished")
    host, browser = paged(
        model=model,
        schema=Schema,
        rows=[row_of("finished", status="running")],
        history=history_of(model),
    )
    preview = browser.submit(browser.get("/1").form("/preview"), {}, "Lost its worker")
    assert "1 member would change: status becomes error." in preview.text
    assert browser.store(preview).status == 303
    assert host.row()["status"] == "error"


def test_the_default_is_the_clean_status(paged: Paged) -> None:
    class Schema(BuildSchema):
        status = fields.Enum(Status, by_value=True, required=True)
        finished = UnixTime()

    model = model_of(
        "status", "finished", status=sa.Column(sa.Enum(Status)), finished=sa.Column(sa.DateTime)
    )
    row = row_of("finished", status=Status.RUNNING)
    options = {
        "model": model, "schema": Schema, "rows": [row], "history": history_of(model),
        "queue_statuses": ("running",),
    }  # fmt: skip
    host, browser = paged(clean_status="gone", **options)
    preview = browser.submit(browser.get("/1").form("/preview"), {}, "Lost its worker")
    assert "status becomes gone, error becomes worker lost, finished becomes" in preview.text
    assert browser.store(preview).status == 303
    assert host.row()["status"] is Status.GONE


def test_a_host_without_such_a_status_has_no_default(paged: Paged) -> None:
    class Schema(BuildSchema):
        status = fields.Enum(Status, by_value=True, required=True)

    model = model_of("status", status=sa.Column(sa.Enum(Status)))
    options: dict[str, Any] = {
        "rows": [row_of(status=Status.RUNNING)],
        "history": history_of(model),
    }
    host, browser = paged(model=model, schema=Schema, **options)
    assert host.blueprint.store.clean_problem is not None
    assert labels(browser) == []
    page = browser.get("/")
    assert "/admin/builds/1" in page.links.values()
    assert not page.find("input", type="checkbox")
    assert not [one for one in page.forms if one.method == "post"]
    assert browser.post("/clean", [("all", "1")]).status == 405


@pytest.mark.parametrize("queue_statuses", [("running",), ()])
def test_a_column_without_such_a_status_has_no_default(
    paged: Paged, queue_statuses: tuple[str, ...]
) -> None:
    model = model_of(status=sa.Column(sa.Enum("running", "failure", name="statuses")))
    options: dict[str, Any] = {
        "model": model,
        "history": history_of(model),
        "queue_statuses": queue_statuses,
        "rows": [row_of(status="running")],
    }
    _, browser = paged(**options)
    assert labels(browser) == []
    with pytest.raises(ConfigurationError, match="'Lost': status takes no 'error'"):
        paged({"repairs": {"Lost": {"status": "error"}}}, **options)


def test_a_host_without_any_status_has_no_default(paged: Paged) -> None:
    class WithoutStatus(BuildSchema):
        class Meta:
            exclude = ("status",)

    _, browser = paged(
        schema=WithoutStatus, model=model_of("status"), rows=[row_of("status")], history=None
    )
    assert labels(browser) == []


def test_repairs_of_the_host(paged: Paged) -> None:
    repairs: dict[str, dict[str, Any]] = {
        "Wrong <host>": {"host": "worker-1", "deploy": ""},
        "Never began": {"started": 0, "finished": "now"},
        "Called now": {"title": "now"},
    }
    host, browser = paged({"repairs": repairs}, rows=[stuck(1)])
    repairs["Wrong <host>"]["host"] = "changed later"
    assert labels(browser) == ["Wrong <host>", "Never began", "Called now"]
    for label, row in (
        ("Wrong", {"host": "worker-1"}),
        ("Never", {"started": 0}),
        ("Called", {"title": "now"}),
    ):
        preview = browser.submit(browser.get("/1").form("/preview"), {}, label)
        assert browser.store(preview).status == 303
        assert row.items() <= host.row().items()
    assert abs(host.row()["finished"] - time()) < 60


def test_no_repairs_at_all(paged: Paged) -> None:
    _, browser = paged({"repairs": {}})
    assert labels(browser) == []
    page = browser.post("/1/preview", [("repair", "Lost its worker")])
    assert page.status == 400
    assert "There is no such repair." in page.text
    assert browser.post("/7/preview", [("repair", "Lost its worker")]).status == 400


def test_a_repair_of_a_build_that_is_gone(paged: Paged) -> None:
    _, browser = paged()
    page = browser.post("/7/preview", [("repair", "Lost its worker")])
    assert page.status == 404
    assert "There is no such build." in page.text


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({}, "'R': it changes no member"),
        ({"nothing": 1}, "'R': nothing is no member that can be changed"),
        ({"id": 2}, "'R': id is no member that can be changed"),
        ({"sender": "x"}, "'R': sender is no member that can be changed"),
        ({"status": ""}, "'R': status takes no ''"),
        ({"status": "now"}, None),
        ({"number": "now"}, "'R': number takes no 'now'"),
        ({"finished": "later"}, "'R': finished takes no 'later'"),
        ({"finished": -1, "host": 5}, "'R': finished takes no -1; 'R': host takes no 5"),
    ],
)
def test_repairs_that_cannot_be(paged: Paged, members: dict[str, Any], problem: str | None) -> None:
    class Schema(BuildSchema):
        sender = Text(dump_only=True)

    host, _ = paged(schema=Schema)
    if problem is None:
        BuildPages(host.blueprint, anybody, repairs={"R": members}, name="second")
        return
    with pytest.raises(ConfigurationError) as raised:
        BuildPages(host.blueprint, anybody, repairs={"R": members, "good": {"host": "x"}})
    assert f"cannot all be made: {problem}. Pass the members" in str(raised.value)
    assert OCTOCAT["sender"]
