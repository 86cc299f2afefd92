"""``Choice``: words in JSON for the values of a column, NULL among them."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from flask_build_admin import BuildSchema, Choice, Flag
from flask_build_admin.exceptions import ConfigurationError
from tests.support.hosts import OCTOCAT, Host, history_of, model_of, row_of

MakeHost = Callable[..., Host]


class Schema(BuildSchema):
    status = Choice({"pending": 0, "running": None, "failed": 3})


def of_numbers(make_host: MakeHost, url: str, *statuses: int | None, **options: Any) -> Host:
    """Make a host with a build of each status, which the model has as a number."""
    model = model_of(status=sa.Column(sa.SmallInteger))
    rows = [row_of(id=at, number=at, status=status) for at, status in enumerate(statuses, 1)]
    options = {"schema": Schema, "history": history_of(model)} | options
    return make_host(url, model=model, rows=rows, **options)


def test_a_word_stands_for_a_number_or_null(make_host: MakeHost, database_url: str) -> None:
    host = of_numbers(make_host, database_url, 0)
    document = host.get().json
    assert document["status"] == "pending"
    for word, value in (("failed", 3), ("running", None), ("pending", 0)):
        assert host.put(OCTOCAT | {"status": word}).json["status"] == word
        assert host.row()["status"] == value
    [_, of_null, of_zero] = host.revisions().json[::-1]
    assert of_null["changes"] == {"status": {"before": "failed", "after": "running"}}
    assert host.undo(of_zero["id"]).json["status"] == "running"
    assert host.row()["status"] is None


@pytest.mark.parametrize("sent", ["lost", "", "Failed", 0, None, True, ["failed"]])
def test_any_other_value_is_refused(make_host: MakeHost, sqlite_url: str, sent: object) -> None:
    host = of_numbers(make_host, sqlite_url, 0)
    problem = "null" if sent is None else "not one of pending, running, failed"
    refused = host.put(OCTOCAT | {"status": sent})
    assert (refused.status_code, refused.json["fields"]) == (400, {"status": [problem]})
    assert host.row()["status"] == 0


def test_the_queue_asks_for_the_values(make_host: MakeHost, database_url: str) -> None:
    host = of_numbers(make_host, database_url, 0, 3, None, 7)
    queue = host.blueprint.store.queue()
    assert [(one["id"], one["status"]) for one in queue] == [(3, "running"), (1, "pending")]
    host = of_numbers(make_host, database_url, 0, 3, None, queue_statuses=["running"])
    assert [one["id"] for one in host.blueprint.store.queue()] == [3]
    host = of_numbers(make_host, database_url, 0, 3, None, queue_statuses=["failed"])
    assert [one["id"] for one in host.blueprint.store.queue()] == [2]


def test_a_value_without_a_word_is_shown_and_can_be_repaired(
    make_host: MakeHost, database_url: str
) -> None:
    host = of_numbers(make_host, database_url, 7)
    assert host.get().json["status"] == "7"
    assert host.put(OCTOCAT | {"status": "8"}).status_code == 400
    assert host.put(OCTOCAT | {"status": "failed"}).json["status"] == "failed"
    assert host.row()["status"] == 3


def test_the_terminal_sets_a_word(make_host: MakeHost, sqlite_url: str) -> None:
    class Numbers(BuildSchema):
        status = Choice({"1": 0, "true": 1})

    host = of_numbers(make_host, sqlite_url, 0, schema=Numbers)
    run = host.app.test_cli_runner().invoke
    assert run(args=["build-admin", "set", "1", "status=true", "--yes"]).exit_code == 0
    assert host.row()["status"] == 1
    assert run(args=["build-admin", "set", "1", "status=1", "--yes"]).exit_code == 0
    assert host.row()["status"] == 0


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        (Choice({"on": 1}), None, ""),
        (Choice({"on": 1}, allow_none=True), None, None),
        (Choice({"on": 1, "off": None}, allow_none=True), None, "off"),
        (Choice({"on": 1}), [1], "[1]"),
        (Flag(), None, False),
        (Flag(allow_none=True), None, None),
        (Flag(), True, True),
        (Flag(), 0, False),
    ],
)
def test_what_the_column_has_is_shown(field: Any, value: object, shown: object) -> None:
    assert (
        field.serialize("x", {"x": value}) is shown or field.serialize("x", {"x": value}) == shown
    )


@pytest.mark.parametrize("choices", [{}, {1: 0}, {"one": 1, "true": True}, {"a": None, "b": None}])
def test_choices_that_cannot_be_told_apart_are_refused(choices: Any) -> None:
    with pytest.raises(ConfigurationError, match="one value for each"):
        Choice(choices)


class Flagged(BuildSchema):
    parent = Flag()


def test_a_flag_is_true_or_false(make_host: MakeHost, database_url: str) -> None:
    model = model_of(parent=sa.Column(sa.Boolean))
    rows = [row_of(parent=None), row_of(id=2, number=2, parent=True)]
    host = make_host(database_url, model=model, schema=Flagged, rows=rows)
    assert host.get(2).json["parent"] is True
    assert host.put(data=host.get().data).json["parent"] is False
    assert host.row()["parent"] is None
    assert host.put(OCTOCAT | {"parent": True}).json["parent"] is True
    assert host.put(OCTOCAT | {"parent": False}).json["parent"] is False
    assert host.row()["parent"] in {False}
    for sent in ("yes", "true", 1, 0, 1.0):
        refused = host.put(OCTOCAT | {"parent": sent})
        assert refused.json["fields"] == {"parent": ["not true or false"]}
    set_ = ["build-admin", "set", "1", "parent=true", "--yes"]
    assert host.app.test_cli_runner().invoke(args=set_).exit_code == 0
    assert host.get().json["parent"] is True
