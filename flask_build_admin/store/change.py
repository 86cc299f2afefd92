"""One change of one build in one transaction: lock, compare, assign, flush, record, commit."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from traceback import extract_tb
from typing import Any, NamedTuple

from blinker import Signal
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import flag_modified, instance_dict, instance_state

from ..exceptions import (
    BuildConflict,
    ImpossibleBuild,
    InvalidBuild,
    InvalidParameter,
    PreconditionFailed,
    one_line,
)
from ..representation import Document, Representation, changes_between, same
from ..signals import build_updated, build_updating
from .codec import BuildCodec, LoadedBuild
from .dberrors import describe, refuse_character
from .history import BuildHistory
from .locking import BuildQuery, Database
from .revisions import Revision
from .servers import commit
from .snapshots import snapshot
from .transactions import forget_changes, kept_open, log, rollback
from .warnings import BuildWarning, WarningRules

#: Called with the build as it is, under the lock. It raises to refuse the change.
Precondition = Callable[[Document], None]


class UnchangedSince:
    """A precondition: the build still has this entity tag.

    So a change can be previewed, and then made to the same build only.

    :param tag: None: that of the build with which it is first called.
    :param protected: members that do not count: nobody can change them here, and a property may
        have another value each second.
    """

    def __init__(self, tag: str | None = None, protected: Collection[str] = ()) -> None:
        self.tag = tag
        self._protected = protected
        #: The build as it was found last.
        self.found: Document = {}

    def __call__(self, document: Document) -> None:
        """Raise ``PreconditionFailed`` if the build has changed."""
        self.found = document
        tag = tag_without(document, self._protected)
        if self.tag not in (None, tag):
            raise PreconditionFailed
        self.tag = tag


class EachUnchanged:
    """A precondition of many builds: each still has the entity tag with which it is first found.

    :param tags: by the ids as text: of the builds that were found before.
    :param protected: members that do not count.
    """

    def __init__(
        self, protected: Collection[str] = (), tags: Mapping[str, str] | None = None
    ) -> None:
        #: By the ids as text.
        self.tags: dict[str, str] = {**(tags or {})}
        self._protected = protected

    def __call__(self, document: Document) -> None:
        """Raise ``PreconditionFailed`` if the build has changed."""
        tag = tag_without(document, self._protected)
        if self.tags.setdefault(str(document["id"]), tag) != tag:
            raise PreconditionFailed("Changed since it was shown: look at it again.")


def tag_without(document: Document, members: Collection[str]) -> str:
    """Return the entity tag that a build would have without some members."""
    left = {key: value for key, value in document.items() if key not in members}
    return Representation.of(left).tag


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """How a build is changed, and on whose behalf."""

    #: Called with the build as it is, under the lock. It raises to refuse the change.
    precondition: Precondition | None = None
    #: The sender of the signals.
    sender: Any = None
    #: Who changes the build, for the signals, the log and the history.
    actor: Any = None
    #: Why, for the same.
    reason: str | None = None
    #: Whether to do everything but commit: a preview.
    dry_run: bool = False
    #: What the revisions of several changes have in common; None: it is a change of its own.
    batch: str | None = None
    #: Whether to store what has warnings, where the host refuses that. The reason says so.
    force: bool = False


class ChangeRules(NamedTuple):
    """What all changes of one store have in common."""

    query: BuildQuery
    #: Records the changes; None: nothing is recorded.
    history: BuildHistory | None
    #: Finds the contradictions in a build.
    warnings: WarningRules
    #: Whether a change that brings a warning is refused.
    refuse_warnings: bool
    #: Raises ``InvalidParameter`` if a reason cannot be stored on a database.
    check_reason: Callable[[str | None, Dialect], None]


class ChangeResult(NamedTuple):
    """What became of a build; for a preview, what would become of it."""

    #: The build as stored.
    build: Representation
    #: What was changed, by whom and why.
    revision: Revision


class BuildChange:
    """A change of one build, within one transaction. The build is locked from here on.

    :param build_id: as the model has it.
    :param build: the build, if it is locked already; None: it is locked now.
    :raises BuildNotFound: there is no such build.
    """

    def __init__(
        self,
        database: Database,
        rules: ChangeRules,
        build_id: Any,
        options: ChangeOptions,
        build: Any = None,
    ) -> None:
        self.database = database
        self.codec: BuildCodec = database.codec
        self._rules = rules
        self.id = build_id
        self._options = options
        #: The build, and the document of it as it was before the change.
        self.build: Any
        self.before: Document
        if build is None:
            self.build, self.before = rules.query.lock(database, build_id)
        else:
            self.build, self.before = build, rules.query.dump_locked(database, build, build_id)
        #: The snapshot of the same, if there is a history.
        self.snapshot: Document = self._snapshot(self.before)

    def check_precondition(self) -> None:
        """Call the precondition, which raises if the build is not the expected one."""
        if self._options.precondition is not None:
            self._options.precondition(self.before)

    def apply(self, members: list[str], loaded: LoadedBuild) -> ChangeResult:
        """Overwrite some members of the build, and commit, or roll back a preview.

        :param members: the members whose values change.
        :param loaded: the values.
        :raises InvalidBuild: a member cannot be changed, or is not stored as sent.
        :raises InvalidParameter: the database cannot store the reason.
        """
        result = self.write(members, loaded)
        end_changes(self.database, self._options)
        self.announce(result)
        return result

    def write(self, members: list[str], loaded: LoadedBuild) -> ChangeResult:
        """Overwrite some members of the build, and neither commit nor roll back."""
        try:
            result = self._write(members, loaded)
        except (UnicodeEncodeError, DBAPIError) as error:
            changed = {key: loaded.document[key] for key in members}
            options = self._options
            refuse_character(error, changed, options.reason, _name_of(options.actor))
            raise
        if self._options.dry_run:
            return result._replace(revision=result.revision._replace(id=None, at=None))
        return result

    def announce(self, result: ChangeResult) -> None:
        """Log a change that is committed, and send the signal."""
        if result.revision.changes and not self._options.dry_run:
            self._announce(result)

    def _write(self, members: list[str], loaded: LoadedBuild) -> ChangeResult:
        forget_changes(self.database.session)
        self._assign(members, loaded)
        after = self._flush_and_dump() if members else self.before
        self._check_stored(members, after, loaded.document)
        options = self._options
        if members and build_updating.has_receivers_for(options.sender):
            with kept_open(self.database.session):
                self._send(build_updating, after)
            after = self._flush_and_dump(reread=True)
            if not same(after["id"], self.before["id"]):
                raise RuntimeError("A receiver of build_updating must not change the id.")
        changes = changes_between(self.before, after)
        reason, warnings = options.reason, self._warnings(after)
        if self._rules.refuse_warnings:
            reason = self._reason_to_force([one for one in warnings if {*one.members} & {*changes}])
        actor = _name_of(options.actor)
        revision = Revision(
            after["id"], actor, reason, changes, batch=options.batch, warnings=tuple(warnings)
        )
        history = self._rules.history
        if history is not None and changes:
            recorded = self._snapshot(after)
            revision = history.add(self.database, self.id, revision, self.snapshot, recorded)
        return ChangeResult(Representation.of(after), revision)

    def _warnings(self, after: Document) -> list[BuildWarning]:
        """Return the contradictions in the changed build, as far as anybody asks."""
        asked = self._options.dry_run or self._rules.refuse_warnings
        return self._rules.warnings.of(after) if asked else []

    def _reason_to_force(self, warnings: list[BuildWarning]) -> str | None:
        """Return the reason of a change that brings warnings, which says that it was forced.

        :raises ImpossibleBuild: it is not forced.
        :raises InvalidParameter: the column has no room for the word.
        """
        reason = self._options.reason
        if not warnings:
            return reason
        if not self._options.force:
            raise ImpossibleBuild(warnings)
        given = "" if reason is None else f"{reason} "
        dialect = self.database.bind.dialect
        in_full = f"{given}(forced: {'; '.join(one.warning for one in warnings)})"
        with suppress(InvalidParameter):
            self._rules.check_reason(in_full, dialect)
            return in_full
        self._rules.check_reason(in_short := f"{given}(forced)", dialect)
        return in_short

    def _assign(self, members: list[str], loaded: LoadedBuild) -> None:
        """Assign the members to the build, and nothing else."""
        problems = {**loaded.problems}
        for key in members:
            attribute = self.codec.attributes.get(key, "")
            if key in problems or attribute not in loaded.values:
                continue
            value = loaded.values[attribute]
            # An undo assigns None where no PUT does, and a @validates may not expect it.
            refusals = (ValueError, TypeError, AttributeError) if value is None else (ValueError,)
            name = self.codec.properties.get(key, "")
            old = instance_dict(self.build).get(name)
            try:
                setattr(self.build, attribute, value)
            except refusals as error:
                # A ValueError is written for whoever sent the value, and the other two are not.
                sentence = one_line(str(error)) if isinstance(error, ValueError) else ""
                problems[key] = [sentence or "refused by the model"]
                continue
            # SQLAlchemy takes 1 and True for equal, also in JSON, and would keep one for the other.
            if name and old == value:
                flag_modified(self.build, name)
        if problems:
            raise InvalidBuild(problems)

    def _check_stored(self, members: list[str], after: Document, wanted: Document) -> None:
        """Check that no setter, validator or column has made another value of a member."""
        problems = {
            key: ["not stored as sent"]
            for key in members
            if not same(after.get(key), wanted[key])
            # A hook may dump it otherwise.
            and not same(self.codec.dump_member(self.build, key), wanted[key])
        }
        if problems:
            raise InvalidBuild(problems)

    def _flush_and_dump(self, *, reread: bool = False) -> Document:
        """Write what has changed, and return the build as the database has it.

        :param reread: whether statements of others may have changed the row.
        :raises BuildConflict: a value does not fit into its column.
        """
        session, _, codec = self.database
        mapper = instance_state(self.build).mapper
        # Listeners of other objects may write, too.
        others = [one for one in (*session.new, *session.dirty) if one is not self.build]
        # What a listener writes after the flush is unknown to the session.
        every = reread or others or session.deleted or _written_after(session, mapper)
        try:
            session.flush()
        except OverflowError as error:  # what SQLite's driver raises for more than 64 bits
            raise BuildConflict from error
        if every and self._rules.query.reads_more:
            session.expire_all()
        held = instance_dict(self.build)
        names = held if every else codec.needs_refresh
        if stale := [name for name in names if name in held and name in mapper.attrs]:
            session.expire(self.build, stale)
        return self._rules.query.dump_locked(self.database, self.build, self.id)

    def _snapshot(self, document: Document) -> Document:
        if self._rules.history is None:
            return document
        with self.database.session.no_autoflush:  # a getter that writes is no change
            return snapshot(self.codec, self.build, document)

    def _announce(self, result: ChangeResult) -> None:
        revision = result.revision
        by = "" if revision.actor is None else f" by {revision.actor!r}"
        why = "" if revision.reason is None else f" because of {revision.reason!r}"
        members = ", ".join(revision.changes)
        log.info("build %r updated%s%s: %s", revision.build_id, by, why, members)
        try:
            self._send(build_updated, result.build.document)
        except Exception as error:  # noqa: BLE001 (no failure may deny the change any more)
            rollback(self.database.session)
            at = extract_tb(error.__traceback__)[-1]
            message = "a receiver of build_updated failed in %s, line %s: %s"
            log.error(message, at.name, at.lineno, describe(error))

    def _send(self, signal: Signal, after: Document) -> None:
        options = self._options
        if signal.has_receivers_for(options.sender):
            signal.send(
                options.sender,
                build=self.build,
                before=deepcopy(self.before),
                after=deepcopy(after),
                actor=options.actor,
                reason=options.reason,
            )


def end_changes(database: Database, options: ChangeOptions) -> None:
    """Commit the changes of a transaction, or roll back their preview."""
    session, bind, _ = database
    of_postgresql = bind.dialect.name == "postgresql"
    if options.dry_run:
        if of_postgresql:
            # A preview has no commit, which would check the deferred constraints.
            database.connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        rollback(session)
        return
    forget_changes(session)
    # Everything that may fail, and everything that asks the database, comes before the commit.
    if of_postgresql:
        commit(session, database.connection)
    else:
        session.commit()


def others_write(session: Session, mapper: Mapper[Any], options: ChangeOptions) -> bool:
    """Check whether receivers or listeners of the host's may write in the transaction, too."""
    receivers = build_updating.has_receivers_for(options.sender)
    before = mapper.dispatch.before_update or session.dispatch.before_flush
    return bool(receivers or before) or _written_after(session, mapper)


def _written_after(session: Session, mapper: Mapper[Any]) -> bool:
    listeners = session.dispatch
    return bool(
        mapper.dispatch.after_update or listeners.after_flush or listeners.after_flush_postexec
    )


def _name_of(actor: Any) -> str | None:
    if actor is None:
        return None
    # An administrator whose name no database holds may still repair a build.
    return str(actor).replace("\0", r"\x00").encode(errors="backslashreplace").decode()
