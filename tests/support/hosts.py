"""A CI server as small as can be, to register the blueprint on."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_httpauth import HTTPTokenAuth
from sqlalchemy import BigInteger, String, Text, UniqueConstraint
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from flask_build_admin import BuildAdmin, BuildRevisionMixin

#: The contract's sample, member by member in the documented order.
OCTOCAT: dict[str, Any] = json.loads(Path(__file__).parents[2].joinpath("octocat.json").read_text())

#: When the stuck builds were created.
LONG_AGO = 1_700_000_000

URL = "/api/v1/admin/build"
ADMIN = {"Authorization": "Bearer of-the-admin"}
WORKER = {"Authorization": "Bearer of-a-worker"}


class Base(DeclarativeBase):
    pass


class Build(Base):
    """The plainest model: every member a column of its own name."""

    __tablename__ = "builds"
    __table_args__ = (UniqueConstraint("repo_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    repo_id: Mapped[int]
    number: Mapped[int]
    parent: Mapped[int]
    event: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    error: Mapped[str] = mapped_column(Text)
    enqueued: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
    started: Mapped[int] = mapped_column(BigInteger)
    finished: Mapped[int | None] = mapped_column(BigInteger)
    deploy: Mapped[str | None] = mapped_column(String(250))
    clone: Mapped[str] = mapped_column(String(250))
    source: Mapped[str] = mapped_column(String(250))
    title: Mapped[str] = mapped_column(String(250))
    message: Mapped[str] = mapped_column(Text)
    commit: Mapped[str] = mapped_column(String(40))
    sender: Mapped[str] = mapped_column(String(250))
    author: Mapped[str] = mapped_column(String(250))
    branch: Mapped[str] = mapped_column(String(250))
    ref: Mapped[str] = mapped_column(String(250))
    base_ref: Mapped[str] = mapped_column(String(250))
    host: Mapped[str] = mapped_column(String(250))
    runtime: Mapped[str] = mapped_column(String(250))
    distribution: Mapped[str] = mapped_column(String(250))


class HistoryBase(DeclarativeBase):
    """Of its own, so that no host has the table that does not need it."""


class BuildRevision(BuildRevisionMixin, HistoryBase):
    """The plainest table of revisions."""

    __tablename__ = "build_revisions"


class Status(enum.Enum):
    """A type for a host's column of its own."""

    CREATED = "created"
    RUNNING = "running"
    ERROR = "error"


def model_of(*left_out: str, **attributes: Any) -> type[Any]:
    """Make a model with a column for each member but those left out, and what is added."""

    class Base(DeclarativeBase):
        pass

    columns: dict[str, Any] = {
        name: sa.Column(sa.BigInteger if isinstance(value, int) else sa.String(250))
        for name, value in OCTOCAT.items()
        if name not in {"id", *left_out}
    }
    columns["id"] = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    return type("Build", (Base,), {"__tablename__": "builds", **columns, **attributes})


def history_of(model: type[Any], **attributes: Any) -> type[Any]:
    """Make a model of revisions beside one of builds."""
    named = {"__tablename__": f"{model.__tablename__}_revisions"}
    return type("BuildRevision", (BuildRevisionMixin, model.__mro__[1]), named | attributes)


def row_of(*left_out: str, **added: Any) -> dict[str, Any]:
    """Keyword arguments for a row of such a model."""
    return {name: value for name, value in OCTOCAT.items() if name not in left_out} | added


def stuck(build_id: int, **members: Any) -> dict[str, Any]:
    """A row of the plainest model whose worker has died."""
    return OCTOCAT | {
        "id": build_id,
        "number": build_id,
        "status": "running",
        "created": LONG_AGO,
        "started": LONG_AGO,
        "finished": 0,
        "error": "",
        **members,
    }


def anybody(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let everybody in, for what is not about auth."""
    return lambda **values: view(**values)


def token_auth() -> HTTPTokenAuth:
    """Two users, of whom one is an administrator."""
    auth = HTTPTokenAuth()
    users = {"of-the-admin": "octokitty", "of-a-worker": "worker"}
    auth.verify_token(users.get)
    auth.get_user_roles(lambda user: "admin" if user == "octokitty" else "worker")
    return auth


class Host:
    """A Flask app on a database of plain SQLAlchemy, with the blueprint registered.

    :param url: of the database; all tables of the model's metadata are made in it.
    :param model: the host's mapped class.
    :param rows: builds to begin with: keyword arguments of the model, or objects.
    :param session: of the host; by default one on ``url``.
    :param admin: keyword arguments of ``BuildAdmin`` beside these.
    :param configure: is given the app before the blueprint is registered.
    :param fresh: whether the tables are made; or else they are there, and stay.
    :param replace: whether another host has made the tables: they are made anew.
    """

    def __init__(
        self,
        url: str,
        *,
        model: type[Any] = Build,
        rows: Iterable[Any] | None = None,
        session: scoped_session[Any] | None = None,
        configure: Callable[[Flask], Any] = lambda app: None,
        fresh: bool = True,
        replace: bool = False,
        **admin: Any,
    ) -> None:
        self.model = model
        self._fresh = fresh
        self.engine = sa.create_engine(url)
        self.session: scoped_session[Any] = session or scoped_session(sessionmaker(self.engine))
        self.history: type[Any] | None = admin.get("history")
        self.metadata: set[sa.MetaData] = {model.metadata}
        if self.history is not None:
            self.metadata.add(self.history.metadata)
        self.app = Flask("host")
        self.app.teardown_appcontext(lambda error: self.session.remove())
        configure(self.app)
        admin = {"auth": token_auth().login_required(role="admin")} | admin
        self.blueprint = BuildAdmin(model, self.session, **admin)
        self.app.register_blueprint(self.blueprint)
        self.client: FlaskClient = self.app.test_client()
        # Last: a blueprint that is refused leaves no tables.
        if fresh:
            if replace:
                self.drop_tables()
            self.create_tables()
            self._insert([OCTOCAT] if rows is None else rows)

    def close(self) -> None:
        self.session.remove()
        if self._fresh:
            self.drop_tables()
        self.engine.dispose()

    def refill(self, rows: Iterable[Any]) -> None:
        """Put other rows into the tables, for the next test on this host."""
        with self.engine.begin() as connection:
            for metadata in self.metadata:
                for table in reversed(metadata.sorted_tables):
                    connection.execute(sa.delete(table))
        self._insert(rows)

    def _insert(self, rows: Iterable[Any]) -> None:
        with Session(self.engine) as new, new.begin():
            new.add_all(self.model(**row) if isinstance(row, Mapping) else row for row in rows)

    def create_tables(self) -> None:
        for metadata in self.metadata:
            metadata.create_all(self.engine)

    def drop_tables(self) -> None:
        for metadata in self.metadata:
            metadata.drop_all(self.engine)

    def get(self, build_id: object = 1, **options: Any) -> Any:
        """Fetch a build as the administrator."""
        headers = ADMIN | options.pop("headers", {})
        return self.client.get(f"{URL}/{build_id}", headers=headers, **options)

    def put(self, document: object = None, **options: Any) -> Any:
        """Put a document, or any other ``data=``, as the administrator."""
        headers = ADMIN | options.pop("headers", {})
        if "data" in options:
            options.setdefault("content_type", "application/json")
        else:
            options["json"] = document
        return self.client.put(URL, headers=headers, **options)

    def undo(self, revision: object, build_id: object = 1, **options: Any) -> Any:
        """Undo a revision as the administrator."""
        headers = ADMIN | options.pop("headers", {})
        url = f"{URL}/{build_id}/revisions/{revision}/undo"
        return self.client.post(url, headers=headers, **options)

    def revisions(self, build_id: object = 1, **options: Any) -> Any:
        """List the revisions of a build as the administrator."""
        return self.get(f"{build_id}/revisions", **options)

    def recorded(self) -> list[dict[str, Any]]:
        """Read all revisions behind the blueprint's back, the oldest first."""
        assert self.history is not None
        table = self.history.__table__
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.id)).all()
        return [dict(row._mapping) for row in rows]

    def row(self, build_id: object = 1) -> dict[str, Any]:
        """Read a row behind the blueprint's back, as the database has it."""
        table = self.model.__table__
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(table).where(table.c.id == build_id)).one()
        return dict(found._mapping)

    def execute(self, statement: str, **values: Any) -> None:
        """Change the database behind the blueprint's back."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collect what is sent to the database, transaction control included."""
        sent: list[str] = []

        def execute(conn: Any, cursor: Any, statement: str, *args: Any) -> None:
            sent.append(" ".join(statement.split()))

        listeners: dict[str, Callable[..., None]] = {
            "before_cursor_execute": execute,
            "begin": lambda conn: sent.append("BEGIN"),
            "commit": lambda conn: sent.append("COMMIT"),
            "rollback": lambda conn: sent.append("ROLLBACK"),
        }
        for name, listener in listeners.items():
            sa.event.listen(self.engine, name, listener)
        try:
            yield sent
        finally:
            for name, listener in listeners.items():
                sa.event.remove(self.engine, name, listener)
