"""One update of one build: locked, compared, overwritten, recorded, and committed or taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import extract_tb
from typing import Any, NamedTuple, TypedDict

from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from .body import Document, Representation
from .change import assign, changes, require_same_id, reread, settle
from .codec import BuildCodec, Incoming
from .deferred import constraints_checked
from .faults import cause
from .history import BuildHistory
from .query import Bind, BuildQuery
from .record import record
from .revision import Revision
from .signals import build_updated, build_updating, receivers, tell
from .transaction import begin, log, rollback, unended

#: Sees the build as it is, under the lock, and raises if it is not the one expected.
Precondition = Callable[[Document], None]


class Terms(TypedDict, total=False):
    """On which terms a build is changed; all of them may be left out."""

    #: Called with the build as it is, under the lock; it raises to refuse.
    precondition: Precondition | None
    #: The sender of the signals.
    sender: Any
    #: Who is acting, for the signals, the log and the history.
    actor: Any
    #: Why, for the same.
    reason: str | None
    #: Whether everything is done but the commit: a preview.
    dry_run: bool


class Change(NamedTuple):
    """What has become of a build; of a preview, what would have."""

    #: The build as stored.
    build: Representation
    #: What was changed, by whom and why.
    revision: Revision


class Update:
    """The way of one build from what it is to what it is to be, within one transaction.

    :param session: the host's current session.
    :param bind: where it finds the builds.
    :param query: finds and locks the build.
    :param codec: translates between documents and the model, on this database.
    :param history: records the change; None: nothing is recorded.

    The others are the terms of the change, see ``Terms``.
    """

    #: The build itself, once it is locked.
    build: Any
    #: … as it was then, in JSON.
    before: Document
    #: … and as the history keeps it, if there is one.
    recorded: Document

    def __init__(
        self,
        session: Session,
        bind: Bind,
        query: BuildQuery,
        codec: BuildCodec,
        history: BuildHistory | None,
        *,
        precondition: Precondition | None = None,
        sender: Any = None,
        actor: Any = None,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> None:
        self.codec = codec
        self._session = session
        self._bind = bind
        self._query = query
        self._history = history
        self._precondition = precondition
        self._sender = sender
        self._actor = actor
        self.reason = reason
        self._dry_run = dry_run

    @property
    def connection(self) -> Connection:
        """The one on which the build is changed."""
        return self._session.connection({"bind": self._bind})

    def lock(self, build_id: Any, member: Any) -> None:
        """Find the build, and let nobody else change it.

        :param build_id: as the model has it.
        :param member: … and as the member ``id`` does.
        :raises BuildNotFound: there is none.
        """
        begin(self._session)
        self.build = self._query.lock(self._session, self._bind, build_id)
        self._id = build_id
        self.before = self.codec.show(self.build)
        require_same_id(self.before, member)
        if self._history is not None:
            self.recorded = record(self.codec, self.build, self.before)

    def require(self) -> None:
        """Evaluate the precondition; it raises if the build is not the one expected."""
        if self._precondition is not None:
            self._precondition(self.before)

    def apply(self, members: list[str], incoming: Incoming) -> Change:
        """Overwrite some members of the build, and commit, unless it is a preview.

        :param members: those that are to be another.
        :param incoming: what the build is to be.
        """
        if self._dry_run:
            with constraints_checked(self.connection):
                change = self._write(members, incoming)
            rollback(self._session)
            return change._replace(revision=change.revision._replace(id=None, at=None))
        change = self._write(members, incoming)
        # All that may fail, and all that may ask the database, comes before the commit.
        self._session.commit()
        if change.revision.changes:
            self._announce(change)
        return change

    def _write(self, members: list[str], incoming: Incoming) -> Change:
        assigned = assign(self.codec, self.build, members, incoming)
        after = settle(self._session, self.codec, self.build, assigned)
        differences = changes(self.before, after)
        if differences:
            for receiver in receivers(build_updating, self._sender):
                with unended(self._session):
                    self._tell(receiver, after)
                after = reread(self._session, self.codec, self.build)
                differences = changes(self.before, after)
        revision = Revision(after["id"], _name_of(self._actor), self.reason, differences)
        if self._history is not None and differences:
            recorded = record(self.codec, self.build, after)
            revision = self._history.add(
                self.connection, self._id, revision, self.recorded, recorded
            )
        return Change(Representation.of(after), revision)

    def _announce(self, change: Change) -> None:
        told = change.revision
        by = "" if told.actor is None else f" by {told.actor!r}"
        why = "" if told.reason is None else f" because of {told.reason!r}"
        log.info("build %r updated%s%s: %s", told.build_id, by, why, ", ".join(told.changes))
        for receiver in receivers(build_updated, self._sender):
            with _ignored(self._session):
                self._tell(receiver, change.build.document)

    def _tell(self, receiver: Callable[..., Any], after: Document) -> None:
        told = {"actor": self._actor, "reason": self.reason}
        tell(receiver, self._sender, self.build, self.before, after, **told)


def _name_of(actor: Any) -> str | None:
    if actor is None:
        return None
    # An administrator whose name no database holds may repair a build all the same.
    return str(actor).replace("\0", r"\x00").encode(errors="backslashreplace").decode()


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
