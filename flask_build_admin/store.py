"""Where builds are found, overwritten and taken back; it knows no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, NamedTuple, Unpack

from marshmallow import fields
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from .body import Document, Representation
from .change import changed, require_same_id
from .codec import BuildCodec
from .errors import ConfigurationError
from .history import PAGE, BuildHistory
from .model import attribute_of, check_members, column_of, mapper_of
from .query import Bind, BuildQuery
from .reason import Reasons
from .revision import Revision
from .schema import BuildSchema
from .transaction import begin, reading, rollback, transaction
from .undo import restore, reverted
from .update import Change, Precondition, Terms, Update
from .waiting import QUEUE, UNFINISHED, BuildQueue


class Contract(NamedTuple):
    """What the host takes, as fields that have the limits of its columns on one database."""

    build: BuildSchema
    reason: fields.String


class BuildStore:
    """The builds of the host: its model, in its session, seen through the schema.

    :param model: the host's mapped class.
    :param session: answers the current ``Session``; a ``scoped_session`` is one such callable.
    :param schema: what a build looks like in JSON.
    :param history: the host's mapped class of revisions; None: changes are not recorded.
    :param require_reason: whether a change without a reason is refused.
    :param queue_statuses: of the builds that wait or run, as the member ``status`` has them.
    :raises ConfigurationError: one of these is not what it must be, or they do not fit each other.
    """

    def __init__(
        self,
        model: type[Any],
        session: Callable[[], Session],
        schema: type[BuildSchema] = BuildSchema,
        *,
        history: type[Any] | None = None,
        require_reason: bool = False,
        queue_statuses: Collection[str] = UNFINISHED,
    ) -> None:
        if not callable(session) or isinstance(session, sessionmaker | type):
            raise ConfigurationError(
                f"session={session!r} does not answer the current Session: pass a scoped_session"
                " such as Flask-SQLAlchemy's db.session, or a function, lambda: db.session."
            )
        if not isinstance(schema, type) or not issubclass(schema, BuildSchema):
            raise ConfigurationError(
                f"schema={schema!r} is no BuildSchema: pass a subclass of it, not an instance."
            )
        self._mapper = mapper_of(model)
        contract = schema()
        members = [attribute_of(name, field) for name, field in contract.fields.items()]
        id_attribute = check_members(model, contract)
        self._query = BuildQuery(model, id_attribute, members)
        self._history: BuildHistory | None = None
        if history is not None:
            self._history = BuildHistory(history, column_of(model, id_attribute))
        self._reasons = Reasons(history, require_reason)
        self._queue: BuildQueue | None = None
        if queue_statuses is UNFINISHED:
            # Not every host has a status and a time that a query can ask for, or need have.
            with suppress(ConfigurationError):
                self._queue = BuildQueue(model, contract, self._query)
        elif queue_statuses:
            self._queue = BuildQueue(model, contract, self._query, queue_statuses)
        self._model = model
        self.schema = schema
        self._session = session
        self._codecs: dict[str, BuildCodec] = {}

    def find(self, build_id: str, precondition: Precondition | None = None) -> Representation:
        """Fetch one build.

        :param build_id: the id as text, as a path or a command line has it.
        :param precondition: called with the build; it raises to refuse.
        :raises BuildNotFound: there is none.
        :raises DatabaseUnavailable: the database cannot answer now.
        """
        session = self._current()
        with reading(session):
            bind, codec = self._database(session)
            document, _ = self._find(session, bind, codec, build_id)
            if precondition is not None:
                precondition(document)
            return Representation.of(document)

    def overwrite(self, document: Document, **terms: Unpack[Terms]) -> Change:
        """Put a whole build in the place of the one that has its id, and commit.

        Only what differs from the row is assigned, so a NULL or a fraction of a second that is
        shown as the document has it stays. On any exception the session is rolled back.

        :param document: the whole build.
        :param terms: see ``Terms``.
        :returns: the build as stored, and what was changed.
        :raises InvalidBuild: the document is no build that the host can store.
        :raises InvalidParameter: the reason is missing, or cannot be kept.
        :raises BuildNotFound: no build has its id.
        :raises BuildConflict: the database refuses the row.
        :raises DatabaseUnavailable: the database cannot answer now.
        """
        session = self._current()
        with transaction(session):
            update = self._update(session, **terms)
            incoming = update.codec.read(document)
            update.lock(incoming.id, incoming.document["id"])
            update.require()
            return update.apply(changed(update.before, incoming.document), incoming)

    def undo(self, build_id: str, revision_id: int, **terms: Unpack[Terms]) -> Change:
        """Put back what one revision of a build has changed, and commit.

        Members that the revision has not changed stay as they are, and so do protected ones. It
        is a change like any other: checked, recorded, and to be undone in its turn.

        :param build_id: the id as text, as a path or a command line has it.
        :param revision_id: the ``id`` of the revision.
        :param terms: see ``Terms``.
        :raises BuildNotFound: there is no such build.
        :raises RevisionNotFound: the build has no such revision.
        :raises ChangedSince: a member has not the value any more that the revision gave it.

        and what ``overwrite`` raises.
        """
        history = self._kept()
        session = self._current()
        with transaction(session):
            update = self._update(session, **terms)
            codec = update.codec
            value = codec.read_id(build_id)
            update.lock(value, codec.show_id(value))
            former, latter = history.find(update.connection, codec, value, revision_id)
            update.require()
            members = reverted(codec, update.before, update.recorded, former, latter)
            incoming = restore(codec, update.before, former, members)
            return update.apply(members, incoming)

    def revisions(
        self, build_id: str, *, limit: int = PAGE, before: int | None = None
    ) -> list[Revision]:
        """List what was changed of a build, the newest first.

        :param build_id: the id as text, as a path or a command line has it.
        :param limit: how many revisions at the most.
        :param before: the id that theirs must be less than.
        :raises BuildNotFound: there is no such build.
        :raises DatabaseUnavailable: the database cannot answer now.
        """
        history = self._kept()
        session = self._current()
        with reading(session):
            bind, codec = self._database(session)
            _, value = self._find(session, bind, codec, build_id)
            connection = session.connection({"bind": bind})
            return history.newest(connection, codec, value, limit, before)

    @property
    def has_history(self) -> bool:
        """Whether changes are recorded."""
        return self._history is not None

    @property
    def has_queue(self) -> bool:
        """Whether the builds that wait or run can be asked for."""
        return self._queue is not None

    def queue(
        self,
        *,
        limit: int = QUEUE,
        after: int | None = None,
        before: int | None = None,
        below: str | None = None,
    ) -> list[Document]:
        """List the builds that wait or run, those first that were created last.

        :param limit: how many at the most.
        :param after: the UNIX epoch second that they were created after.
        :param before: the UNIX epoch second that they were created before.
        :param below: the id, as text, of the build that they come after in this order.
        :raises BuildNotFound: there is no such build as ``below``.
        :raises DatabaseUnavailable: the database cannot answer now.
        """
        if self._queue is None:
            raise ConfigurationError("No queue can be asked for: pass queue_statuses=.")
        session = self._current()
        with reading(session):
            bind, codec = self._database(session)
            start = None if below is None else codec.read_id(below)
            begin(session)
            builds = self._queue.newest(
                session, bind, codec, limit, after=after, before=before, below=start
            )
            if not builds and below is not None:
                self._query.find(session, bind, start)  # or the list has only lost its place
            return builds

    def contract(self) -> Contract:
        """Answer what a build and a reason may be, on the database that is in use."""
        bind, codec = self._database(self._current())
        return Contract(codec.schema, self._reasons.field(bind.dialect))

    def rollback(self) -> None:
        """Leave the current session without a transaction, whatever state it is in."""
        if isinstance(self._session, scoped_session) and not self._session.registry.has():
            return  # no session, no transaction: none is made for nothing
        rollback(self._current())

    def _current(self) -> Session:
        session: Session | scoped_session[Session] = self._session()
        # lambda: db.session answers the one or the other, as Flask-SQLAlchemy-Lite or its elder.
        return session() if isinstance(session, scoped_session) else session

    def _update(self, session: Session, **terms: Unpack[Terms]) -> Update:
        bind, codec = self._database(session)
        update = Update(session, bind, self._query, codec, self._history, **terms)
        self._reasons.check(update.reason, bind.dialect)
        return update

    def _find(
        self, session: Session, bind: Bind, codec: BuildCodec, build_id: str
    ) -> tuple[Document, Any]:
        value = codec.read_id(build_id)
        begin(session)
        document = codec.show(self._query.find(session, bind, value))
        require_same_id(document, codec.show_id(value))
        return document, value

    def _kept(self) -> BuildHistory:
        if self._history is None:
            raise ConfigurationError("No history is kept: pass history=, a model of revisions.")
        return self._history

    def _database(self, session: Session) -> tuple[Bind, BuildCodec]:
        # One application may keep its builds in another database than the next.
        bind = session.get_bind(mapper=self._mapper)
        dialect = bind.dialect
        if dialect.name not in self._codecs:
            if self._history is not None:
                self._history.check_bind(session, bind)
            self._codecs[dialect.name] = BuildCodec(self.schema, self._model, dialect)
        return bind, self._codecs[dialect.name]
