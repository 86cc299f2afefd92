"""Where builds are found, locked, compared, overwritten and committed; it knows no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import extract_tb
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from .body import Document, Representation
from .change import assign, changed, reread, same, settle
from .codec import BuildCodec
from .errors import BuildNotFound, ConfigurationError
from .faults import cause
from .model import attribute_of, check_members, mapper_of
from .query import BuildQuery
from .schema import BuildSchema
from .signals import build_updated, build_updating, receivers, tell
from .transaction import begin, log, rollback, transaction

#: Sees the build as it is, under the lock, and raises if it is not the one expected.
Precondition = Callable[[Document], None]


class BuildStore:
    """The builds of the host: its model, in its session, seen through the schema.

    :param model: the host's mapped class.
    :param session: answers the current ``Session``; a ``scoped_session`` is one such callable.
    :param schema: what a build looks like in JSON.
    :raises ConfigurationError: one of these is not what it must be, or they do not fit each other.
    """

    def __init__(
        self,
        model: type[Any],
        session: Callable[[], Session],
        schema: type[BuildSchema] = BuildSchema,
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
        self._query = BuildQuery(model, check_members(model, contract), members)
        self._model = model
        self._schema = schema
        self._session = session
        self._codecs: dict[str, BuildCodec] = {}

    def find(self, build_id: str) -> Representation:
        """Fetch one build.

        :param build_id: the id as text, as a path or a command line has it.
        :raises BuildNotFound: there is none.
        :raises DatabaseUnavailable: the database cannot answer now.
        """
        session = self._session()
        with transaction(session):
            bind = session.get_bind(mapper=self._mapper)
            codec = self._codec(bind.dialect)
            value = codec.read_id(build_id)
            begin(session)
            document = codec.show(self._query.find(session, bind, value))
            _require_same_id(document, codec.show_id(value))
            return Representation.of(document)

    def overwrite(
        self,
        document: Document,
        *,
        precondition: Precondition | None = None,
        sender: Any = None,
        actor: Any = None,
    ) -> Representation:
        """Put a whole build in the place of the one that has its id, and commit.

        Only what differs from the row is assigned, so a NULL or a fraction of a second that is
        shown as the document has it stays. On any exception the session is rolled back.

        :param document: the whole build.
        :param precondition: called with the build as it is, under the lock; it raises to refuse.
        :param sender: of the signals.
        :param actor: who is acting, for the signals and the log.
        :returns: the build as stored.
        :raises InvalidBuild: the document is no build that the host can store.
        :raises BuildNotFound: no build has its id.
        :raises BuildConflict: the database refuses the row.
        :raises DatabaseUnavailable: the database cannot answer now.
        """
        session = self._session()
        with transaction(session):
            bind = session.get_bind(mapper=self._mapper)
            codec = self._codec(bind.dialect)
            incoming = codec.read(document)
            begin(session)
            build = self._query.lock(session, bind, incoming.id)
            before = codec.show(build)
            _require_same_id(before, incoming.document["id"])
            if precondition is not None:
                precondition(before)
            after = settle(session, codec, build, assign(codec, build, before, incoming))
            names = changed(before, after)
            if names:
                for receiver in receivers(build_updating, sender):
                    tell(receiver, sender, build, before, after, actor)
                    after = reread(session, codec, build)
                    names = changed(before, after)
            stored = Representation.of(after)
            # All that may fail, and all that may ask the database, comes before the commit.
            by = "" if actor is None or not names else f" by {str(actor)!r}"
            session.commit()
        if names:
            log.info("build %r updated%s: %s", after["id"], by, ", ".join(names))
            for receiver in receivers(build_updated, sender):
                with _ignored(session):
                    tell(receiver, sender, build, before, after, actor)
        return stored

    def rollback(self) -> None:
        """Leave the current session without a transaction, whatever state it is in."""
        if isinstance(self._session, scoped_session) and not self._session.registry.has():
            return  # no session, no transaction: none is made for nothing
        rollback(self._session())

    def _codec(self, dialect: Dialect) -> BuildCodec:
        # One application may keep its builds in another database than the next.
        if dialect.name not in self._codecs:
            self._codecs[dialect.name] = BuildCodec(self._schema, self._model, dialect)
        return self._codecs[dialect.name]


@contextmanager
def _ignored(session: Session) -> Iterator[None]:
    """Log what a receiver raises after the commit: no failure may deny the change any more."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is)
        rollback(session)
        at = extract_tb(error.__traceback__)[-1]
        message = "a receiver of build_updated failed in %s, line %s: %s"
        log.error(message, at.name, at.lineno, cause(error))


def _require_same_id(document: Document, build_id: Any) -> None:
    # A database may find the build "abc" for "ABC".
    if not same(document["id"], build_id):
        raise BuildNotFound
