"""Six hosts, each with the shape of a real one: fetched, put back, changed, undone and listed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from marshmallow import fields
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Session,
    object_session,
    relationship,
    scoped_session,
    sessionmaker,
)

from flask_build_admin import BuildRevisionMixin, BuildSchema, Text, UnixTime, WholeNumber
from tests.support.databases import impatient_engine
from tests.support.hosts import Host
from tests.support.repairs import (
    changes_of,
    command,
    differing,
    fetch,
    named,
    put_back,
    queue_of,
    queued,
    raw_row,
    undo_newest,
)

Document = dict[str, Any]


class Shape(NamedTuple):
    """A host, and what is expected of it.

    :param build_id: the id of the build that is repaired, as a path has it.
    :param document: that build, as it is fetched.
    :param change: members that a put changes.
    :param written: columns of the build's own table that differ after it.
    :param beside: members that the model changes besides.
    :param queue: the ids of the builds in the queue, the newest first.
    :param refused: members that a put cannot change so.
    """

    host: Host
    build_id: Any
    document: Document
    change: Document
    written: Document
    queue: list[Any]
    refused: Document
    beside: Document = {}


def revisions_of(base: type[Any], **columns: Any) -> type[Any]:
    named_ = {"__tablename__": "build_revisions"} | columns
    return type("BuildRevision", (BuildRevisionMixin, base), named_)


def status_as_a_number(url: str) -> Shape:
    """The status is a number, or NULL while the build runs; so is the end."""

    class Base(DeclarativeBase):
        pass

    class Build(Base):
        __tablename__ = "builds"

        id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        pkg = sa.Column(sa.String(50), nullable=False)
        state = sa.Column(sa.SmallInteger)
        submitted_on = sa.Column(sa.Integer)
        ended_on = sa.Column(sa.Integer)

    class Schema(BuildSchema):
        class Meta:
            fields = ("id", "title", "status", "created", "finished")

        title = Text(attribute="pkg")
        # By its name, as long as the package does not have it yet.
        status = import_module("flask_build_admin").Choice(
            {"pending": 0, "running": None, "failed": 3}, attribute="state"
        )
        created = WholeNumber(attribute="submitted_on")
        finished = WholeNumber(attribute="ended_on")

    rows = [
        Build(id=1, pkg="kernel", state=None, submitted_on=100, ended_on=None),
        Build(id=2, pkg="bash", state=0, submitted_on=200, ended_on=None),
        Build(id=3, pkg="perl", state=3, submitted_on=300, ended_on=400),
    ]
    return Shape(
        Host(url, model=Build, schema=Schema, rows=rows, history=revisions_of(Base)),
        build_id=1,
        document={"id": 1, "title": "kernel", "status": "running", "created": 100, "finished": 0},
        change={"status": "failed", "finished": 150},
        written={"state": 3, "ended_on": 150},
        queue=[2, 1],
        refused={"status": "lost"},
    )


def history_of_states(url: str) -> Shape:
    """The status is the newest of a build's states; setting it adds one."""

    class Base(DeclarativeBase):
        __allow_unmapped__ = True

    class State(Base):
        __tablename__ = "states"

        id = sa.Column(sa.Integer, primary_key=True)
        request_id = sa.Column(sa.Integer)
        name = sa.Column(sa.String(20), nullable=False)

    class Request(Base):
        __tablename__ = "requests"

        id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        created = sa.Column(sa.Integer, nullable=False)
        finished: Any = sa.Column(sa.Integer)
        request_state_id: Any = sa.Column(sa.ForeignKey("states.id"))
        state: Any = relationship(State)

        @hybrid_property
        def status(self) -> Any:
            return self.state.name

        @status.inplace.setter
        def _add_state(self, name: str) -> None:
            session = object_session(self)
            assert session is not None
            state = State(request_id=self.id, name=name)
            session.add(state)
            session.flush()
            self.request_state_id = state.id
            self.finished = 500 if name == "failed" else None

        @status.inplace.expression
        @classmethod
        def _status(cls) -> Any:
            newest: Any = sa.select(State.name).where(State.id == cls.request_state_id)
            return newest.scalar_subquery()

    class Schema(BuildSchema):
        class Meta:
            fields = ("id", "status", "created", "finished")

    rows = [
        Request(id=number, created=number, state=State(request_id=number, name=name))
        for number, name in enumerate(("running", "failed", "pending"), 1)
    ]
    return Shape(
        Host(url, model=Request, schema=Schema, rows=rows, history=revisions_of(Base)),
        build_id=1,
        document={"id": 1, "status": "running", "created": 1, "finished": 0},
        change={"status": "failed"},
        written={"request_state_id": ..., "finished": 500},
        queue=[3, 1],
        refused={"created": -1},
        beside={"finished": 500},
    )


def ids_and_json(url: str) -> Shape:
    """The id is a UUID, and a part of the build is JSON."""

    class Base(DeclarativeBase):
        pass

    class BuildSet(Base):
        __tablename__ = "buildsets"

        id = sa.Column(sa.Uuid, primary_key=True)
        result = sa.Column(sa.String(20))
        start_time = sa.Column(sa.DateTime)
        zone = sa.Column(sa.JSON)
        tags = sa.Column(sa.JSON)

    class Schema(BuildSchema):
        class Meta:
            fields = ("id", "status", "created", "zone", "tags")

        id = fields.UUID(required=True)
        status = Text(attribute="result", empty=False)
        created = UnixTime(attribute="start_time")
        zone = fields.Dict(required=True, allow_none=True)
        tags = fields.List(fields.String(), required=True, allow_none=True)

    ids = [uuid.UUID(int=number) for number in (1, 2, 3)]
    first = datetime(2024, 2, 29, 12)
    rows = [
        BuildSet(
            id=one,
            result=result,
            start_time=first + timedelta(seconds=number),
            zone={"a": {"b": [1, True, None]}},
            tags=["x", "é"],
        )
        for number, (one, result) in enumerate(
            zip(ids, ("running", "success", "pending"), strict=True)
        )
    ]
    revisions = revisions_of(Base, build_id=sa.Column(sa.Uuid, index=True, nullable=False))
    document = {
        "id": str(ids[0]),
        "status": "running",
        "created": 1_709_208_000,
        "zone": {"a": {"b": [1, True, None]}},
        "tags": ["x", "é"],
    }
    return Shape(
        Host(url, model=BuildSet, schema=Schema, rows=rows, history=revisions),
        build_id=ids[0],
        document=document,
        change={"status": "error", "zone": {"a": {"b": [True, 1, None]}}, "tags": []},
        written={"result": ..., "zone": ..., "tags": ...},
        queue=[str(ids[2]), str(ids[0])],
        refused={"zone": ["no", "object"]},
    )


def joined_inheritance(url: str) -> Shape:
    """A build is a kind of task: its row is in two tables."""

    class Base(DeclarativeBase):
        pass

    class Task(Base):
        __tablename__ = "tasks"

        id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        kind = sa.Column(sa.String(20))
        created = sa.Column(sa.Integer)
        status = sa.Column(sa.String(20))
        __mapper_args__: Any = {"polymorphic_on": kind, "polymorphic_identity": "task"}

    class Build(Task):
        __tablename__ = "builds"

        id = sa.Column(sa.ForeignKey("tasks.id"), primary_key=True)
        finished = sa.Column(sa.Integer)
        branch = sa.Column(sa.String(50))
        __mapper_args__: Any = {"polymorphic_identity": "build"}

    class Schema(BuildSchema):
        class Meta:
            fields = ("id", "kind", "status", "created", "finished", "branch")

        kind = Text(dump_only=True)

    rows = [
        Build(id=1, created=100, status="running", branch="main"),
        Build(id=2, created=200, status="success", branch="main", finished=300),
        Build(id=3, created=300, status="pending", branch="next"),
        Task(id=4, created=400, status="running"),
    ]
    return Shape(
        Host(url, model=Build, schema=Schema, rows=rows, history=revisions_of(Base)),
        build_id=1,
        document={
            "id": 1,
            "kind": "build",
            "status": "running",
            "created": 100,
            "finished": 0,
            "branch": "main",
        },
        change={"status": "error", "finished": 150, "branch": "next"},
        written={"finished": 150, "branch": "next"},
        queue=[3, 1],
        refused={"kind": "task"},
    )


def derived_status(url: str) -> Shape:
    """The status follows from whether the build is complete, and its result."""

    class Base(DeclarativeBase):
        pass

    class Build(Base):
        __tablename__ = "builds"

        id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        number = sa.Column(sa.Integer, nullable=False)
        started_at = sa.Column(sa.Integer)
        complete_at = sa.Column(sa.Integer)
        results = sa.Column(sa.Integer)

        @hybrid_property
        def status(self) -> Any:
            if self.started_at is None:
                return "pending"
            if self.complete_at is None:
                return "running"
            return "success" if self.results == 0 else "failure"

        @status.inplace.expression
        @classmethod
        def _status(cls) -> Any:
            return sa.case(
                (cls.started_at.is_(None), "pending"),
                (cls.complete_at.is_(None), "running"),
                (cls.results == 0, "success"),
                else_="failure",
            )

    class Schema(BuildSchema):
        class Meta:
            fields = ("id", "number", "status", "created", "finished", "results")

        status = Text(dump_only=True)
        created = WholeNumber(attribute="started_at")
        finished = WholeNumber(attribute="complete_at")
        results = WholeNumber(allow_none=True)

    rows = [
        Build(id=1, number=1, started_at=100),
        Build(id=2, number=2, started_at=200, complete_at=300, results=0),
        Build(id=3, number=3, started_at=300, complete_at=400, results=2),
        Build(id=4, number=4),
    ]
    return Shape(
        Host(url, model=Build, schema=Schema, rows=rows, history=revisions_of(Base)),
        build_id=1,
        document={
            "id": 1,
            "number": 1,
            "status": "running",
            "created": 100,
            "finished": 0,
            "results": None,
        },
        change={"finished": 150, "results": 2},
        written={"complete_at": 150, "results": 2},
        queue=[1, 4],
        refused={"status": "success"},
        beside={"status": "failure"},
    )


class RoutedHost(Host):
    """A host with engines of its session's own."""

    engines: tuple[sa.Engine, ...] = ()

    def close(self) -> None:
        self.session.remove()
        for engine in self.engines:
            engine.dispose()
        super().close()


def routing_session(url: str) -> Shape:
    """What is read comes from one engine, and what is written goes to another."""
    primary, replica = impatient_engine(url), impatient_engine(url)

    class RoutingSession(Session):
        def get_bind(  # type: ignore[override]
            self, mapper: Any = None, clause: Any = None
        ) -> sa.Engine:
            written = self._flushing or isinstance(clause, sa.Update | sa.Delete | sa.Insert)
            return primary if written else replica

    class Base(DeclarativeBase):
        pass

    class Build(Base):
        __tablename__ = "builds"

        id = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
        status = sa.Column(sa.String(20), nullable=False)
        created = sa.Column(sa.Integer, nullable=False)
        error = sa.Column(sa.String(50))

    class Schema(BuildSchema):
        class Meta:
            fields = ("id", "status", "created", "error")

    rows = [
        Build(id=number, status=status, created=number)
        for number, status in enumerate(("running", "success", "pending"), 1)
    ]
    host = RoutedHost(
        url,
        model=Build,
        schema=Schema,
        rows=rows,
        history=revisions_of(Base),
        session=scoped_session(sessionmaker(class_=RoutingSession)),
    )
    host.engines = (primary, replica)
    return Shape(
        host,
        build_id=1,
        document={"id": 1, "status": "running", "created": 1, "error": ""},
        change={"status": "error", "error": "worker lost"},
        written={"status": "error", "error": "worker lost"},
        queue=[3, 1],
        refused={"status": ""},
    )


SHAPES: list[Callable[[str], Shape]] = [
    status_as_a_number,
    history_of_states,
    ids_and_json,
    joined_inheritance,
    derived_status,
    routing_session,
]


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest, database_url: str) -> Iterator[Shape]:
    """Each host in turn, on each database."""
    made = request.param(database_url)
    yield made
    made.host.close()


def row_of(shape: Shape) -> dict[str, Any]:
    """Read the build's own row behind the blueprint's back."""
    return raw_row(shape.host, shape.build_id)


def test_a_build_is_fetched(shape: Shape) -> None:
    assert fetch(shape.host, shape.build_id) == shape.document


def test_the_same_document_writes_nothing(shape: Shape) -> None:
    before = row_of(shape)
    answer = shape.host.put(shape.document)
    assert (answer.status_code, answer.json) == (200, shape.document)
    assert differing(before, row_of(shape)) == set()
    assert shape.host.recorded() == []


def test_a_change_is_stored_recorded_and_undone(shape: Shape) -> None:
    host, build_id, document = shape.host, shape.build_id, shape.document
    before = row_of(shape)
    expected = document | shape.change | shape.beside
    changes = {
        name: {"before": document[name], "after": expected[name]}
        for name in expected
        if expected[name] != document[name] or name in shape.change
    }
    headers = {"If-Match": host.get(build_id).headers["ETag"]}
    preview = host.put(document | shape.change, headers=headers, query_string={"dry_run": "true"})
    assert (preview.status_code, preview.json["changes"]) == (200, changes)
    assert differing(before, row_of(shape)) == set()

    answer = host.put(document | shape.change, headers=headers)
    assert (answer.status_code, answer.json) == (200, expected)
    assert fetch(host, build_id) == expected
    now = row_of(shape)
    assert differing(before, now) == {*shape.written}
    for column, value in shape.written.items():
        assert value is ... or now[column] == value
    assert changes_of(host, build_id) == [changes]
    assert host.put(document, headers=headers).status_code == 412

    undone = undo_newest(host, build_id)
    assert (undone.status_code, undone.json) == (200, document)
    assert fetch(host, build_id) == document
    assert len(changes_of(host, build_id)) == 2


def test_an_undo_leaves_the_row_as_it_was(shape: Shape) -> None:
    before = row_of(shape)
    assert shape.host.put(shape.document | shape.change).status_code == 200
    assert undo_newest(shape.host, shape.build_id).status_code == 200
    # A state that was added stays: the build has a newer one.
    assert differing(before, row_of(shape)) <= {"request_state_id"}


def test_a_wrong_value_is_refused(shape: Shape) -> None:
    before = row_of(shape)
    answer = shape.host.put(shape.document | shape.change | shape.refused)
    assert named(answer) == (400, {*shape.refused})
    assert differing(before, row_of(shape)) == set()
    assert shape.host.recorded() == []


def test_the_queue_has_what_is_unfinished(shape: Shape) -> None:
    assert queued(shape.host) == shape.queue
    builds = {build["id"]: build for build in queue_of(shape.host)}
    assert builds[shape.document["id"]] == shape.document
    listed = command(shape.host, "queue", "--json")
    assert listed.code == 0, listed.errors
    assert shape.host.put(shape.document | shape.change).status_code == 200
    assert queued(shape.host) == [one for one in shape.queue if one != shape.document["id"]]


def test_a_build_in_the_terminal(shape: Shape) -> None:
    member, value = next(iter(shape.change.items()))
    done = command(shape.host, "set", str(shape.build_id), f"{member}={value}", "--yes")
    assert done.code == 0, done.errors
    assert fetch(shape.host, shape.build_id)[member] == value
    revision = str(shape.host.recorded()[-1]["id"])
    undone = command(shape.host, "undo", str(shape.build_id), revision, "--yes")
    assert undone.code == 0, undone.errors
    assert put_back(shape.host, shape.build_id) == shape.document
