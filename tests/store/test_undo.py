"""An undo puts back what one revision has changed, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from flask import abort
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    RAISE,
    ValidationError,
    fields,
    post_dump,
    pre_load,
    validates_schema,
)
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import synonym, validates

from flask_build_admin import (
    BuildSchema,
    BuildStore,
    Text,
    WholeNumber,
    build_updated,
    build_updating,
)
from flask_build_admin.exceptions import InvalidBuild, RevisionNotFound, UndoConflict
from flask_build_admin.store import ChangeOptions
from tests.support.hosts import (
    ADMIN,
    OCTOCAT,
    URL,
    BuildRevision,
    Host,
    history_of,
    model_of,
    row_of,
)
from tests.support.statements import LOCK, outline

MakeHost = Callable[..., Host]

CHANGED = OCTOCAT | {"status": "error", "finished": 1563474099}


@pytest.fixture
def kept(make_host: MakeHost, database_url: str) -> Host:
    """A host that keeps history, on each database in turn."""
    rows = [OCTOCAT | {"finished": None, "deploy": None}, OCTOCAT | {"id": 2, "number": 2}]
    return make_host(database_url, history=BuildRevision, rows=rows, actor=lambda: "mona")


def change(host: Host, **members: Any) -> Any:
    """Change some members of the build, and answer the id of the revision."""
    assert host.put(host.get().json | members).status_code == 200
    return host.recorded()[-1]["id"]


def assert_untouched(host: Host, row: dict[str, Any], revisions: int) -> None:
    assert host.row() == row
    assert len(host.recorded()) == revisions


def test_an_undo_puts_back_what_was_and_is_a_change_itself(kept: Host) -> None:
    row = kept.row()
    first = change(kept, status="error", finished=1563474099, deploy="x")
    changed = kept.row()
    answer = kept.undo(first, query_string={"reason": "it was not lost"})
    assert answer.status_code == 200
    assert answer.json == OCTOCAT
    assert list(answer.json) == list(OCTOCAT)
    assert answer.headers["Content-Location"] == f"{URL}/1"
    assert answer.headers["ETag"] == kept.get().headers["ETag"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert kept.row() == row
    second = kept.recorded()[-1]["id"]
    [undone, _] = kept.revisions().json
    assert undone["id"] == second
    assert undone["reason"] == "it was not lost"
    assert undone["changes"] == {
        "status": {"before": "error", "after": "created"},
        "finished": {"before": 1563474099, "after": 0},
        "deploy": {"before": "x", "after": ""},
    }
    assert kept.undo(second).json == OCTOCAT | changed
    assert kept.row() == changed
    third = kept.recorded()[-1]["id"]
    assert kept.undo(third).json == OCTOCAT
    assert kept.row() == row
    chain = kept.recorded()
    for former, latter in itertools.pairwise(chain):
        assert former["after"] == latter["before"]


def test_members_that_others_have_changed_since_stay(kept: Host) -> None:
    first = change(kept, status="error")
    change(kept, title="of another", finished=7)
    assert kept.undo(first).json == OCTOCAT | {"title": "of another", "finished": 7}
    assert kept.row() == OCTOCAT | {"title": "of another", "finished": 7, "deploy": None}


def test_an_undo_of_what_was_changed_since_names_it_and_does_nothing(kept: Host) -> None:
    first = change(kept, status="error", finished=5, title="x", message="y")
    change(kept, title="of another", finished=6)
    row = kept.row()
    refused = kept.undo(first)
    assert refused.status_code == 409
    assert refused.json["error"].startswith("Changed since that revision: finished, title. Undo ")
    assert_untouched(kept, row, 2)
    change(kept, title="x", finished=5)
    assert kept.undo(first).json == OCTOCAT


def test_a_zero_that_was_a_null_when_it_was_given_is_as_good(kept: Host) -> None:
    first = change(kept, finished=5)
    second = change(kept, finished=0)
    kept.execute("UPDATE builds SET finished = NULL WHERE id = 1")
    assert kept.undo(second).json["finished"] == 5
    assert kept.undo(first).json["finished"] == 0
    assert kept.row()["finished"] is None


def test_a_null_that_a_receiver_has_made_a_zero_comes_back(kept: Host) -> None:
    def fill(sender: Any, build: Any, **told: Any) -> None:
        build.finished = 0

    with build_updating.connected_to(fill, kept.app):
        first = change(kept, status="error")
    assert kept.row()["finished"] == 0
    assert kept.revisions().json[0]["changes"].keys() == {"status"}
    assert kept.undo(first).json == OCTOCAT
    assert kept.row()["finished"] is None


def test_an_undo_sends_what_a_put_sends_and_one_select_more(kept: Host, database: str) -> None:
    first = change(kept, status="error")
    with kept.statements() as sent:
        assert kept.undo(first).status_code == 200
    read = ["SELECT", "UPDATE", "INSERT", "COMMIT"]
    assert outline(sent) == ["BEGIN", *LOCK[database], *read]


REVISIONS = ["0", "-1", "01", "+1", "1.0", "999", "abc", "%00", "9" * 19, "9" * 400, str(2**63)]


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_that_is_none_is_404(kept: Host, revision: str) -> None:
    change(kept, status="error")
    row = kept.row()
    answer = kept.undo(revision)
    assert answer.status_code == 404
    assert answer.json == {"error": "The build has no such revision."}
    assert_untouched(kept, row, 1)


def test_a_revision_of_another_build_is_404(kept: Host) -> None:
    first = change(kept, status="error")
    row = kept.row()
    answer = kept.undo(first, build_id=2)
    assert answer.status_code == 404
    assert answer.json == {"error": "The build has no such revision."}
    for build_id in (3, "abc", 0, 10**30):
        answer = kept.undo(first, build_id=build_id)
        assert answer.status_code == 404
        assert answer.json == {"error": "There is no such build."}
    assert_untouched(kept, row, 1)


def test_preconditions_are_heeded(kept: Host) -> None:
    tag = kept.get().headers["ETag"]
    first = change(kept, status="error")
    row = kept.row()
    assert kept.undo(first, headers={"If-Match": tag}).status_code == 412
    assert kept.undo(first, headers={"If-None-Match": "*"}).status_code == 412
    assert kept.undo(999, headers={"If-Match": tag}).status_code == 404
    assert_untouched(kept, row, 1)
    tag = kept.get().headers["ETag"]
    assert kept.undo(first, headers={"If-Match": tag}).json == OCTOCAT


def test_a_stale_tag_is_told_before_what_changed_since(kept: Host) -> None:
    first = change(kept, status="error")
    change(kept, status="killed")
    assert kept.undo(first, headers={"If-Match": '"stale"'}).status_code == 412
    assert kept.undo(first).status_code == 409


def test_if_match_may_be_demanded(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, history=BuildRevision, require_if_match=True)
    host.put(CHANGED, headers={"If-Match": "*"})
    assert host.undo(1).status_code == 428
    assert host.undo(1, query_string={"dry_run": "true"}).status_code == 428
    assert host.undo(1, headers={"If-Match": "*"}).json == OCTOCAT


BODIES: dict[str, tuple[dict[str, Any], int]] = {
    "none": ({}, 200),
    "an_empty_object": ({"json": {}}, 200),
    "nothing_of_type_json": ({"content_type": "application/json"}, 200),
    "a_reason": ({"json": {"reason": "lost"}}, 400),
    "an_array": ({"json": []}, 400),
    "half_an_object": ({"data": "{", "content_type": "application/json"}, 400),
    "text": ({"data": "{}", "content_type": "text/plain"}, 415),
    "no_type": ({"data": "{}"}, 415),
    "nothing_of_a_form": ({"content_type": "application/x-www-form-urlencoded"}, 415),
    "encoded": ({"headers": {"Content-Encoding": "gzip"}}, 415),
    "chunked": (
        {"input_stream": BytesIO(b"{}"), "environ_overrides": {"wsgi.input_terminated": True}},
        415,
    ),
    "too_long": ({"data": b" " * 262_145, "content_type": "application/json"}, 413),
    "too_long_and_of_no_type": ({"data": b" " * 999_999}, 415),
    "from_a_page": ({"headers": {"Origin": "https://evil.test"}}, 415),
    "from_a_page_that_was_allowed": ({"headers": {"Origin": "https://ci.test"}, "json": {}}, 200),
    "from_another_site": ({"headers": {"Sec-Fetch-Site": "cross-site"}, "json": {}}, 401),
    "from_a_sibling": ({"headers": {"Sec-Fetch-Site": "same-site"}}, 401),
    "from_the_same_origin": ({"headers": {"Sec-Fetch-Site": "same-origin"}, "json": {}}, 200),
    "typed_by_a_person": ({"headers": {"Sec-Fetch-Site": "none"}}, 200),
}


@pytest.mark.parametrize(("sent", "status"), BODIES.values(), ids=BODIES)
def test_an_undo_has_no_body_to_speak_of(kept: Host, sent: dict[str, Any], status: int) -> None:
    first = change(kept, status="error")
    row = kept.row()
    answer = kept.undo(first, **sent)
    assert answer.status_code == status
    if status != 200:
        assert isinstance(answer.json["error"], str)
        assert_untouched(kept, row, 1)


def test_the_database_judges_an_undo_as_any_change(kept: Host) -> None:
    first = change(kept, number=3)
    other = OCTOCAT | {"id": 2, "number": 1}
    assert kept.put(other).status_code == 200
    row = kept.row()
    refused = kept.undo(first)
    assert refused.status_code == 409
    assert "rules" in refused.json["error"]
    assert_untouched(kept, row, 2)


def test_the_schema_judges_an_undo_as_any_change(make_host: MakeHost, database_url: str) -> None:
    class Schema(BuildSchema):
        status = Text(empty=False)

        @validates_schema
        def finished_ends_running(self, data: Any, **kwargs: Any) -> None:
            if data["finished"] and data["status"] == "running":
                raise ValidationError("is finished", "status")

    model = model_of()
    history = history_of(model)
    rows = [OCTOCAT | {"status": "", "number": 0}]
    host = make_host(database_url, model=model, schema=Schema, history=history, rows=rows)
    first = change(host, status="running", number=1)
    second = change(host, status="error")
    change(host, finished=5)
    row = host.row()
    refused = host.undo(second)
    assert refused.json == {
        "error": "status: is finished",
        "fields": {"status": ["is finished"]},
    }
    change(host, finished=0)
    assert host.undo(second).status_code == 200
    refused = host.undo(first)  # what nobody could have put is not put back
    assert refused.status_code == 400
    assert refused.json["fields"] == {"number": ["less than 1"], "status": ["empty"]}
    assert host.row() == row | {"status": "running", "finished": 0}


def test_a_column_that_has_shrunk_since_refuses_what_it_cannot_hold(
    make_host: MakeHost, server_url: str
) -> None:
    wide = model_of(title=sa.Column(sa.String(250)))
    host = make_host(server_url, model=wide, history=history_of(wide))
    change(host, title="short")
    narrow = model_of(title=sa.Column(sa.String(10)))
    store = BuildStore(narrow, host.session, history=history_of(narrow))
    with pytest.raises(InvalidBuild, match="title: longer than 10 characters"):
        store.undo("1", host.recorded()[0]["id"])


class Wrapped(sa.types.TypeDecorator[Any]):
    """A type of the host's own that is JSON underneath."""

    impl = sa.JSON
    cache_ok = True


#: Columns of JSON, and whether they store None as NULL.
JSON_COLUMNS: dict[str, tuple[Callable[[], Any], bool]] = {
    "plain": (lambda: sa.Column(sa.JSON), False),
    "without_a_null_of_json": (lambda: sa.Column(sa.JSON(none_as_null=True)), True),
    "mutable": (lambda: sa.Column(MutableDict.as_mutable(sa.JSON)), False),
    "wrapped": (lambda: sa.Column(Wrapped), False),
    "not_nullable": (lambda: sa.Column(sa.JSON, nullable=False), False),
}


@pytest.mark.parametrize(("make_column", "null"), JSON_COLUMNS.values(), ids=JSON_COLUMNS)
def test_the_column_says_which_null_comes_back_into_json(
    make_host: MakeHost, database_url: str, make_column: Callable[[], Any], null: bool
) -> None:
    class Schema(BuildSchema):
        labels = fields.Raw(required=True, allow_none=True, attribute="tags")

    def short(self: Any, key: str, value: Any) -> Any:
        if value is not None and len(value) > 5:
            raise ValueError
        return value

    model = model_of(labels=make_column(), tags=synonym("labels"), short=validates("labels")(short))
    rows = [row_of(labels=None)]
    host = make_host(database_url, model=model, schema=Schema, history=history_of(model), rows=rows)
    first = change(host, labels={"a": [1, True]})
    undone = host.undo(first)
    assert (undone.status_code, undone.json["labels"]) == (200, None)
    assert undone.data == host.get().data
    with host.engine.connect() as connection:
        column = model.__table__.c.labels
        assert connection.scalar(sa.select(column.is_(sa.null()))) == null
    assert host.undo(host.recorded()[-1]["id"]).json["labels"] == {"a": [1, True]}


def test_what_a_receiver_changes_in_place_is_put_back(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        labels = fields.Raw(required=True)

    def fix(sender: Any, build: Any, **told: Any) -> None:
        build.labels["fixed"] = True

    model = model_of(labels=sa.Column(MutableDict.as_mutable(sa.JSON)))
    rows = [row_of(labels={"a": 1})]
    host = make_host(database_url, model=model, schema=Schema, history=history_of(model), rows=rows)
    with build_updating.connected_to(fix, host.app):
        first = change(host, status="error")
    assert host.revisions().json[0]["changes"] == {
        "status": {"before": "created", "after": "error"},
        "labels": {"before": {"a": 1}, "after": {"a": 1, "fixed": True}},
    }
    assert host.undo(first).json == OCTOCAT | {"labels": {"a": 1}}


def test_a_model_that_stumbles_over_none_refuses_it(make_host: MakeHost, database_url: str) -> None:
    def strip(self: Any, key: str, value: str) -> str:
        return value.strip()

    model = model_of(strip=validates("deploy")(strip))
    history = history_of(model)
    host = make_host(database_url, model=model, history=history, rows=[row_of()])
    host.execute("UPDATE builds SET deploy = NULL")
    first = change(host, deploy="x")
    refused = host.undo(first)
    assert refused.status_code == 400
    assert refused.json["fields"] == {"deploy": ["refused by the model"]}
    assert host.row()["deploy"] == "x"


class Sentinel(fields.Integer):
    """A number of which -1 is shown as null."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return None if value == -1 else value

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return -1 if value is None else super().deserialize(value, *args, **kwargs)


def test_a_null_that_is_none_of_the_column_is_the_schemas_to_read(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        slot = Sentinel(required=True, allow_none=True)

    model = model_of(slot=sa.Column(sa.Integer, nullable=False))
    rows = [row_of(slot=-1)]
    host = make_host(database_url, model=model, schema=Schema, history=history_of(model), rows=rows)
    first = change(host, slot=5)
    assert host.undo(first).json["slot"] is None
    assert host.row()["slot"] == -1
    assert host.undo(host.recorded()[-1]["id"]).json["slot"] == 5


def test_hooks_may_have_a_zero_of_their_own(make_host: MakeHost, database_url: str) -> None:
    class Schema(BuildSchema):
        @post_dump
        def none(self, data: Any, **kwargs: Any) -> Any:
            return data | {"deploy": data["deploy"] or "none"}

        @pre_load
        def empty(self, data: Any, **kwargs: Any) -> Any:
            return data | {"deploy": "" if data["deploy"] == "none" else data["deploy"]}

    model = model_of()
    host = make_host(database_url, model=model, schema=Schema, history=history_of(model))
    host.execute("UPDATE builds SET deploy = NULL")
    first = change(host, deploy="x")
    assert host.undo(first).json["deploy"] == "none"
    assert host.row()["deploy"] is None
    assert host.undo(host.recorded()[-1]["id"]).json["deploy"] == "x"


@pytest.mark.parametrize("unknown", [EXCLUDE, RAISE, INCLUDE])
def test_what_hooks_rename_is_put_back(make_host: MakeHost, sqlite_url: str, unknown: Any) -> None:
    def renamed(data: dict[str, Any], old: str, new: str) -> dict[str, Any]:
        return {(new if key == old else key): value for key, value in data.items()}

    class Schema(BuildSchema):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options, unknown=unknown)

        @post_dump
        def show(self, data: Any, **kwargs: Any) -> Any:
            return renamed(data, "status", "state")

        @pre_load
        def accept(self, data: Any, **kwargs: Any) -> Any:
            return renamed(data, "state", "status")

    host = make_host(sqlite_url, schema=Schema, history=BuildRevision)
    first = change(host, state="running")
    second = change(host, state="error", title="x")
    assert host.row() == OCTOCAT | {"status": "error", "title": "x"}
    refused = host.undo(first)
    assert refused.status_code == 409
    assert "state" in refused.json["error"]
    assert host.undo(second).status_code == 200
    assert host.row() == OCTOCAT | {"status": "running"}
    assert host.undo(first).status_code == 200
    assert host.row() == OCTOCAT


@pytest.mark.parametrize("how", [EXCLUDE, INCLUDE])
def test_a_member_that_the_schema_no_longer_has_is_left_out(
    make_host: MakeHost, sqlite_url: str, how: str
) -> None:
    class Schema(BuildSchema):
        class Meta:
            unknown = how

    host = make_host(sqlite_url, schema=Schema, history=BuildRevision)
    before = {"id": 1, "priority": 1.5, "label": None, "status": "created"}
    after = before | {"priority": 2, "label": "x", "status": "error"}
    row = {"build_id": 1, "at": datetime.now(UTC), "before": before, "after": after}
    with host.engine.begin() as connection:
        connection.execute(sa.insert(BuildRevision), [row])
    host.execute("UPDATE builds SET status = 'error'")
    assert host.undo(1).json == host.row() == OCTOCAT


def test_protected_members_are_neither_put_back_nor_in_the_way(
    make_host: MakeHost, database_url: str
) -> None:
    class Schema(BuildSchema):
        version = WholeNumber(dump_only=True)
        label = fields.Function(lambda build: f"{build.status}!", dump_only=True)

    version = sa.Column(sa.Integer, nullable=False)
    model = model_of(version=version, __mapper_args__={"version_id_col": version})
    host = make_host(
        database_url, model=model, schema=Schema, history=history_of(model), rows=[row_of()]
    )
    first = change(host, status="error")
    change(host, title="x")
    shown = host.revisions().json[-1]["changes"]
    assert shown.keys() == {"status", "version", "label"}
    undone = host.undo(first)
    assert undone.json == OCTOCAT | {"title": "x", "version": 4, "label": "created!"}


def test_an_undo_that_has_nothing_to_put_back_changes_nothing(
    make_host: MakeHost, sqlite_url: str
) -> None:
    class Open(BuildSchema):
        pass

    class Closed(BuildSchema):
        status = Text(dump_only=True)

    host = make_host(sqlite_url, history=BuildRevision, schema=Open)
    change(host, status="error")
    closed = BuildStore(host.model, host.session, Closed, history=BuildRevision)
    undone = closed.undo("1", 1)
    assert undone.build.document["status"] == "error"
    assert undone.revision.changes == {}
    assert len(host.recorded()) == 1


def test_receivers_hear_of_an_undo_as_of_any_change(kept: Host) -> None:
    heard: list[Any] = []

    def receive(sender: Any, build: Any, **told: Any) -> None:
        heard.append((sender, build.id, told))

    first = change(kept, status="error")
    with build_updating.connected_to(receive), build_updated.connected_to(receive):
        assert kept.undo(first, query_string={"reason": "why"}).status_code == 200
    told = {
        "before": OCTOCAT | {"status": "error"},
        "after": OCTOCAT,
        "actor": "mona",
        "reason": "why",
    }
    assert heard == [(kept.app, 1, told)] * 2


def test_a_receiver_may_refuse_an_undo(kept: Host) -> None:
    first = change(kept, status="error")
    row = kept.row()
    refuse: Any = lambda sender, **told: abort(409, "Frozen.")  # noqa: E731
    with build_updating.connected_to(refuse):
        assert kept.undo(first).json == {"error": "Frozen."}
    assert_untouched(kept, row, 1)


def test_below_a_prefix_and_a_script_root(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, history=BuildRevision)
    host.app.register_blueprint(host.blueprint, name="again", url_prefix="/o p/s")
    change(host, status="error")
    undo = "/o p/s/build/1/revisions/1/undo/"
    environ = {"SCRIPT_NAME": "/ci"}
    answer = host.client.post(undo, headers=ADMIN, environ_overrides=environ)
    assert answer.headers["Content-Location"] == "/ci/o%20p/s/build/1"


def test_the_store_undoes_without_flask(make_host: MakeHost, sqlite_url: str) -> None:
    host = make_host(sqlite_url, history=BuildRevision)
    store = BuildStore(host.model, host.session, history=BuildRevision)
    options = ChangeOptions(actor="mona", reason="lost")
    preview = store.overwrite(CHANGED, replace(options, dry_run=True))
    assert not host.session().in_transaction()
    assert host.row() == OCTOCAT
    changed = store.overwrite(CHANGED, options)
    assert not host.session().in_transaction()
    assert changed.revision._replace(id=None, at=None) == preview.revision
    assert preview.revision.document == {
        "build_id": 1,
        "actor": "mona",
        "reason": "lost",
        "changes": {
            "status": {"before": "created", "after": "error"},
            "finished": {"before": 0, "after": 1563474099},
        },
        "warnings": [],
    }
    [revision] = store.revisions("1")
    assert revision == changed.revision._replace(changed_outside={})
    assert isinstance(revision.id, int)
    assert store.undo("1", revision.id, ChangeOptions(dry_run=True)).revision.id is None
    assert store.undo("1", changed.revision.id or 0).build.document == OCTOCAT
    assert [one.id for one in store.revisions("1", limit=1)] == [2]
    assert [one.id for one in store.revisions("1", below=2)] == [1]
    with pytest.raises(UndoConflict) as caught:
        store.undo("1", changed.revision.id or 0)
    assert caught.value.members == ["status", "finished"]
    with pytest.raises(RevisionNotFound):
        store.undo("1", 3)
