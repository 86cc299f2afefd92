"""``BuildStore``: find, overwrite, clean, undo and list builds, without HTTP."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from time import sleep
from typing import Any

from marshmallow import ValidationError, fields
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session, scoped_session

from ..exceptions import (
    BuildNotFound,
    ConfigurationError,
    InvalidBuild,
    InvalidParameter,
    RevisionNotFound,
)
from ..options import require_bool
from ..representation import Document, Representation, changed_members, same
from ..schema import AnyField, BuildSchema, Member, members_of
from .batch import BatchFailure, BatchItem, BatchResult, run_batch
from .change import (
    BuildChange,
    ChangeOptions,
    ChangeResult,
    ChangeRules,
    Precondition,
    end_changes,
    others_write,
)
from .clean import CLEAN_MESSAGE, CLEAN_STATUS, clean_problem, cleaned_members
from .codec import BuildCodec, LoadedBuild
from .databases import Databases, require_session
from .dberrors import Unreadable, converting_values
from .filters import BuildFilter
from .history import BuildHistory
from .limits import add_limits, limited_field, not_blank
from .locking import BuildQuery, Database
from .mapping import column_of, mapper_of, member_of
from .misfits import check_declared, check_members
from .outside import OutsideChanges
from .portions import FIRST_BUILDS
from .queue import MAX_BUILDS, UNFINISHED, BuildQueue, QueuePage
from .revisions import BATCH, DEFAULT_REVISIONS, INVALID_BATCH, Revision, RevisionFilter
from .snapshots import load_restored, members_to_restore
from .transactions import FlushRouting
from .warnings import BuildWarning, WarningRules

#: How many revisions one transaction deletes. Others may wait for it.
_PRUNED = 1000

#: How long SQLite has no transaction of a prune then, in seconds: who waits for the lock looks for
#: it every tenth of a second.
_PAUSE = 0.11

_NO_OPTIONS = ChangeOptions()

_ALL = BuildFilter()


class BuildStore:
    """The builds of the host: its model, in its session, by the schema.

    The options are those of ``BuildAdmin``, which is a store behind HTTP. In its methods
    ``build_id`` is the id as text, as in a path or on a command line. Each of them may raise
    ``BuildNotFound``, and ``DatabaseUnavailable`` if the database cannot answer now.

    :raises ConfigurationError: an option is invalid, or they do not fit each other.
    """

    def __init__(
        self,
        model: type[Any],
        session: Callable[[], Session | scoped_session[Any]],
        schema: type[BuildSchema] = BuildSchema,
        *,
        history: type[Any] | None = None,
        require_reason: bool = False,
        queue_statuses: Collection[str] = UNFINISHED,
        clean_status: str = CLEAN_STATUS,
        refuse_warnings: bool = False,
    ) -> None:
        require_session(session)
        if not isinstance(schema, type) or not issubclass(schema, BuildSchema):
            raise ConfigurationError(
                f"schema={schema!r} is not a subclass of BuildSchema: pass the class itself, not an"
                " instance."
            )
        self._mapper = mapper_of(model)
        if len(self._mapper.primary_key) > 1:
            raise ConfigurationError(
                f"{model.__name__} has a composite primary key, so its id names no row: give the"
                " model a primary key of one column."
            )
        for option, value in {
            "require_reason": require_reason,
            "refuse_warnings": refuse_warnings,
        }.items():
            require_bool(option, value)
        check_declared(model, schema)
        instance = schema()
        check_members(model, instance)
        #: The members that nobody can change here.
        self.protected: list[str] = [
            key for key, one in members_of(instance).items() if one.protected
        ]
        self._query = BuildQuery(model, instance)
        self._history: BuildHistory | None = None
        if history is not None:
            if getattr(history, "__table__", None) is self._mapper.local_table:
                raise ConfigurationError(
                    f"history={history.__name__} is the table of the builds: pass a model of its"
                    " own, class BuildRevision(BuildRevisionMixin, Base)."
                )
            id_column = column_of(model, member_of(instance, "id").attribute)
            self._history = BuildHistory(history, id_column)
        self._reason_column = None if history is None else column_of(history, "reason")
        self._require_reason = require_reason
        self._queue: BuildQueue | None = None
        #: Why there is no queue, although the host has not chosen to have none.
        self.queue_problem: str | None = None
        if queue_statuses:
            try:
                self._queue = BuildQueue(model, instance, self._query, queue_statuses)
            except ConfigurationError as error:
                # By default: a host need not have a status that a query can filter by.
                if queue_statuses is not UNFINISHED:
                    raise
                self.queue_problem = str(error)
        #: The status that a clean gives a build.
        self.clean_status = clean_status
        #: Why the unfinished builds cannot be cleaned, although there are some.
        self.clean_problem: str | None = None
        if self._queue is not None:
            self.clean_problem = clean_problem(model, instance, clean_status, self._queue.statuses)
        self._rules = ChangeRules(
            self._query,
            self._history,
            WarningRules(instance, self.unfinished),
            refuse_warnings,
            self._check_reason,
        )
        self._databases = Databases(session, model, schema, self._query, self._history)
        self.schema = schema
        self._reasons: dict[str, fields.String] = {}

    def find(self, build_id: str, precondition: Precondition | None = None) -> Representation:
        """Return one build.

        :param precondition: called with the build; it raises to refuse.
        """
        with self._databases.reading() as database:
            _, document = self._query.find(database, database.codec.load_id(build_id))
            if precondition is not None:
                precondition(document)
            return Representation.of(document)

    def overwrite(self, document: Document, options: ChangeOptions = _NO_OPTIONS) -> ChangeResult:
        """Overwrite the build that has the id of the document, and commit.

        Only members that differ from the row are assigned, so a NULL or a fraction of a second that
        is dumped as the document has it is kept. Any exception rolls the session back.

        :param document: the whole build.
        :returns: the build as stored, and what was changed.
        :raises InvalidBuild: the document is no build that the host can store.
        :raises InvalidParameter: the reason is missing, or cannot be stored.
        :raises BuildConflict: the database refuses the row.
        """
        with self._databases.changing() as database:
            self._check_options(options, database)
            loaded = database.codec.load(document)
            change = BuildChange(database, self._rules, loaded.id, options)
            change.check_precondition()
            loaded = database.codec.load_values(loaded, change.build, change.before)
            return change.apply(changed_members(change.before, loaded.document), loaded)

    def undo(
        self, build_id: str, revision_id: int, options: ChangeOptions = _NO_OPTIONS
    ) -> ChangeResult:
        """Restore what one revision of a build has changed, and commit.

        Members that the revision has not changed, and protected ones, stay as they are. An undo is
        a change like any other: validated, recorded, and it can be undone.

        :param revision_id: the ``id`` of the revision.
        :raises RevisionNotFound: the build has no such revision.
        :raises UndoConflict: a member no longer has the value that the revision gave it.

        and what ``overwrite`` raises.
        """
        history = self._require_history()
        with self._databases.changing() as database:
            self._check_options(options, database)
            value = database.codec.load_id(build_id)
            change = BuildChange(database, self._rules, value, options)
            return change.apply(*_prepare_undo(change, history, revision_id))

    def update(
        self, build_id: str, members: Document, options: ChangeOptions = _NO_OPTIONS
    ) -> ChangeResult:
        """Give some members of a build other values, and commit. The others stay as they are.

        :param members: their JSON values.
        :raises: what ``overwrite`` raises.
        """
        with self._databases.changing() as database:
            self._check_options(options, database)
            value = database.codec.load_id(build_id)
            change = BuildChange(database, self._rules, value, options)
            return change.apply(*_prepare_set(members, change))

    def set(
        self,
        build_ids: Iterable[str],
        members: Document,
        options: ChangeOptions = _NO_OPTIONS,
        *,
        on_progress: Callable[[], None] | None = None,
    ) -> BatchResult:
        """Give some members of several builds the same values, each build by a change of its own.

        One that is refused leaves the others changed. The revisions are a batch.

        :param members: their JSON values.
        :param on_progress: called after each build.
        :raises InvalidParameter: the reason is missing, or cannot be stored.
        """
        with self._databases.reading(primary=True, discard=options.dry_run) as database:
            self._check_options(options, database)
            codec = database.codec
        items, unknown = [], []
        for text in build_ids:
            try:
                items.append(BatchItem(codec.load_id(text), partial(_prepare_set, members)))
            except BuildNotFound as error:
                unknown.append(BatchFailure(text, error))
        result = self._run(items, options, codec, on_progress=on_progress)
        result.failed.extend(unknown)
        return result

    def clean(
        self,
        wanted: BuildFilter = _ALL,
        options: ChangeOptions = _NO_OPTIONS,
        *,
        message: str = CLEAN_MESSAGE,
        finished: int | None = None,
        limit: int = MAX_BUILDS,
        build_ids: Iterable[str] | None = None,
        on_progress: Callable[[], None] | None = None,
    ) -> BatchResult:
        """Finish unfinished builds, the oldest first, each by a change of its own.

        Its ``status`` becomes the ``clean_status``, its ``error`` the message, its ``finished`` the
        current second, as far as the schema has these members. A build that the filter does not fit
        any more once it is locked is left alone. The revisions are a batch.

        :param finished: another UNIX epoch second than the current one.
        :param limit: the most builds.
        :param build_ids: only these of them.
        :param on_progress: called after each build.
        :raises InvalidParameter: the builds cannot be filtered so, or as ``overwrite``.
        :raises InvalidBuild: the message cannot be stored.
        """
        queue = self._require_queue()
        if self.clean_problem is not None:
            raise ConfigurationError(f"No build can be cleaned: {self.clean_problem}")
        with self._databases.reading(primary=True, discard=options.dry_run) as database:
            self._check_options(options, database)
            codec = database.codec
            database.begin()
            conditions = queue.conditions(database, wanted)
            members = cleaned_members(codec, self.clean_status, message, finished)
            ids: Sequence[Any]
            if build_ids is None:
                with FlushRouting(database.session):  # a replica may be late
                    ids = queue.ids(database, wanted, QueuePage(limit + 1, oldest=True))
            else:
                ids = [codec.load_id(text) for text in build_ids]

        prepare = partial(_prepare_set, members)
        items = [BatchItem(one, prepare) for one in ids[:limit]]
        result = self._run(
            items, options, codec, conditions=conditions, gone=False, on_progress=on_progress
        )
        return result._replace(more=result.more or len(ids) > limit)

    def undo_batch(
        self,
        batch: str,
        options: ChangeOptions = _NO_OPTIONS,
        *,
        on_progress: Callable[[], None] | None = None,
    ) -> BatchResult:
        """Undo each revision of a batch, the newest first.

        A revision whose members have other values now is left alone.

        :param batch: of the revisions; that of the undo is another.
        :param on_progress: called after each revision.
        :raises RevisionNotFound: there is no such batch.
        :raises InvalidParameter: the reason is missing, or cannot be stored.
        """
        history = self._require_history()
        with self._databases.reading(primary=True, discard=options.dry_run) as database:
            self._check_options(options, database)
            codec = database.codec
            database.begin()
            revisions = history.in_batch(database, batch)
            if not revisions:
                raise RevisionNotFound("There is no such batch.")
        items = [
            BatchItem(one, partial(_prepare_undo, history=history, revision_id=its), its)
            for its, one in revisions
        ]
        return self._run(items, options, codec, on_progress=on_progress)

    def revisions(
        self,
        build_id: str | None = None,
        *,
        deleted: bool = False,
        batch: str | None = None,
        actor: str | None = None,
        after: int | None = None,
        before: int | None = None,
        below: int | None = None,
        overwritten: bool = False,
        limit: int = DEFAULT_REVISIONS,
        take: Callable[[Revision], bool] | None = None,
    ) -> list[Revision]:
        """Return revisions, the newest first, each with what was changed outside after it.

        :param build_id: only those of this build; None: of all builds, deleted ones included.
        :param deleted: whether this build may be deleted, too.
        :param batch: only those of this batch.
        :param actor: only those of this actor.
        :param after: only those made later than this UNIX epoch second.
        :param before: only those made earlier than this UNIX epoch second.
        :param below: only those with a lesser id.
        :param overwritten: only those that do not stand any more: a member that they were the last
            to change has another value now. All revisions after ``after`` are read for it.
        :param limit: the most revisions to return.
        :param take: called with each revision instead of returning it, until it returns False. So
            no more than a few of them are in memory at once.
        """
        history = self._require_history()
        with self._databases.reading() as database:
            value = None
            if build_id is not None:
                value = database.codec.load_id(build_id)
                if not deleted:
                    self._query.find(database, value)
            database.begin()
            wanted = RevisionFilter(value, batch, actor, after, before)
            outside = OutsideChanges(database, self._query, history)
            if overwritten:
                moved = outside.overwritten(wanted, below)
                found: Iterator[Revision] = islice(outside.after_each(moved), limit)
            else:
                found = outside.after_each(history.newest(database, wanted, limit, below))
            revisions = []
            for revision in found:
                if take is None:
                    revisions.append(revision)
                elif not take(revision):
                    break
            return revisions

    def prune(
        self,
        before: int,
        *,
        dry_run: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> int:
        """Delete revisions that were made earlier, in many transactions, and return how many.

        The newest revision of each build stays. So no id of a revision is used again.

        :param before: UNIX epoch second.
        :param dry_run: whether only to count them.
        :param on_progress: called after each transaction with the number of revisions in it.
        """
        history, count, last = self._require_history(), 0, 0
        while True:
            with self._databases.reading(primary=True) as database:
                database.begin()
                ids = history.old(database, before, last, _PRUNED)
            if not ids:
                return count
            number, last = len(ids), ids[-1]
            if not dry_run:
                with self._databases.changing() as database:
                    database.begin()
                    number = history.delete(database, ids)
                    database.session.commit()
                if database.bind.dialect.name == "sqlite":
                    sleep(_PAUSE)
            count += number
            if on_progress is not None:
                on_progress(number)

    @property
    def has_history(self) -> bool:
        """Whether changes are recorded."""
        return self._history is not None

    @property
    def refuses_warnings(self) -> bool:
        """Whether a change that brings a warning must be forced."""
        return self._rules.refuse_warnings

    @property
    def has_queue(self) -> bool:
        """Whether the unfinished builds can be listed."""
        return self._queue is not None

    @property
    def unfinished(self) -> list[str]:
        """The statuses of unfinished builds; empty: there is no queue."""
        return [] if self._queue is None else self._queue.statuses

    @property
    def filters(self) -> Mapping[str, AnyField]:
        """The members that a filter of the queue may name, with their fields."""
        return {} if self._queue is None else self._queue.filters.fields

    def queue(
        self,
        wanted: BuildFilter = _ALL,
        *,
        limit: int = MAX_BUILDS,
        below: str | None = None,
        offset: int = 0,
        oldest: bool = False,
        at_once: int = FIRST_BUILDS,
        members: Collection[str] = (),
        on_unreadable: Callable[[Any, str], None] | None = None,
        take: Callable[[Document | None, Any], bool] | None = None,
    ) -> list[Document]:
        """Return the unfinished builds, the last created first.

        :param wanted: only these.
        :param limit: the most builds to return, those that cannot be read included.
        :param below: only builds that stand below the build with this id, as text.
        :param offset: how many builds to leave out first.
        :param oldest: whether the first created come first.
        :param at_once: how many builds the first statement reads. The others read as many as fit
            into a few megabytes, if they are like the first ones.
        :param members: what is read of each build at least; nothing: all members.
        :param on_unreadable: called with the id of a build that cannot be read, and what is wrong.
            The list lacks it, and the log has a line.
        :param take: called with each build and its id instead of returning it, until it returns
            False; with None if it cannot be read, or is no longer meant. So no more than a few
            of them are in memory at once.
        :raises InvalidParameter: the builds cannot be filtered so.
        """
        queue = self._require_queue()
        with self._databases.reading() as database:
            start = None if below is None else self._start(database, below)
            database.begin()
            documents = []
            page = QueuePage(limit, start, offset, oldest, at_once)
            found = queue.read(database, wanted, page, on_unreadable, members)
            for dumped_id, document in found:
                if take is not None:
                    if not take(document, dumped_id):
                        break
                elif document is not None:
                    documents.append(document)
            return documents

    def count_unfinished(
        self, members: Sequence[str], most: int
    ) -> dict[str, list[tuple[Any, int]]]:
        """Count the unfinished builds by each of some members, which are ``filters``.

        :param most: how many values of each member, the most frequent ones.
        """
        queue = self._require_queue()
        with self._databases.reading() as database:
            database.begin()
            return queue.count(database, members, most)

    def _start(self, database: Database, below: str) -> Any:
        """Return the id of the build below which a list goes on, as the model has it."""
        try:
            return database.codec.load_id(below)
        except BuildNotFound:
            # The list also has the builds whose ids the schema refuses.
            start = database.codec.load_id(below, validate=False)
            with suppress(Unreadable), converting_values:  # it is there, even if it is unreadable
                self._query.find(database, start)
            return start

    def warnings_of(self, document: Document) -> list[BuildWarning]:
        """Return the contradictions in a build, such as an end before the start."""
        return self._rules.warnings.of(document)

    def limited_schema(self) -> BuildSchema:
        """Return the schema with the limits of the columns, on the database in use."""
        return self._databases.find(self._databases.session()).codec.schema

    def limited_field(self, member: Member) -> AnyField:
        """Return the field of a member with the limits that its column has on any database."""
        return limited_field(self._mapper.class_, member)

    def reason_field(self) -> fields.String:
        """Return the field that validates a reason, with the limits of its column likewise."""
        database = self._databases.find(self._databases.session())
        return self._reason_field(database.bind.dialect)

    def rollback(self) -> None:
        """Leave the current session without a transaction, whatever its state."""
        self._databases.rollback()

    def _run(
        self,
        items: Sequence[BatchItem],
        options: ChangeOptions,
        codec: BuildCodec,
        *,
        conditions: Sequence[ColumnElement[bool]] = (),
        **batch: Any,
    ) -> BatchResult:
        def change_all(
            items: Sequence[BatchItem], options: ChangeOptions
        ) -> list[ChangeResult | None]:
            return self._change_all(items, options, conditions)

        if others_write(self._databases.session(), self._mapper, options):
            batch["size"] = 1  # they may write to the builds that come next
        return run_batch(items, options, change_all, codec.dump_id, **batch)

    def _change_all(
        self,
        items: Sequence[BatchItem],
        options: ChangeOptions,
        conditions: Sequence[ColumnElement[bool]],
    ) -> list[ChangeResult | None]:
        """Make some changes in one transaction; None: the build is not found."""
        results: list[ChangeResult | None] = []
        changes: list[tuple[BuildChange, ChangeResult]] = []
        with self._databases.changing() as database:
            self._check_options(options, database)
            builds = self._query.lock_all(database, [one.build_id for one in items], conditions)
            for item in items:
                results.append(None)
                if (build := builds.get(item.build_id)) is None:
                    continue
                change = BuildChange(database, self._rules, item.build_id, options, build)
                results[-1] = result = change.write(*item.prepare(change))
                changes.append((change, result))
            end_changes(database, options)
            for change, result in changes:
                change.announce(result)
        return results

    def _require_queue(self) -> BuildQueue:
        if self._queue is None:
            problem = self.queue_problem or "pass queue_statuses=."
            raise ConfigurationError(f"There is no queue: {problem}")
        return self._queue

    def _check_options(self, options: ChangeOptions, database: Database) -> None:
        self._check_reason(options.reason, database.bind.dialect)
        if options.batch is not None and not re.fullmatch(BATCH, options.batch):
            raise InvalidParameter({"batch": [INVALID_BATCH]})

    def _require_history(self) -> BuildHistory:
        if self._history is None:
            raise ConfigurationError("No history is kept: pass history=, a model of revisions.")
        return self._history

    def _check_reason(self, reason: str | None, dialect: Dialect) -> None:
        if reason is None:
            if self._require_reason:
                raise InvalidParameter({"reason": ["missing: a change needs one"]})
            return
        try:
            self._reason_field(dialect).deserialize(reason)
        except ValidationError as error:
            raise InvalidParameter({"reason": [str(one) for one in error.messages]}) from error

    def _reason_field(self, dialect: Dialect) -> fields.String:
        if dialect.name not in self._reasons:
            field = fields.String(required=self._require_reason, validate=not_blank)
            add_limits(field, self._reason_column, dialect)
            self._reasons[dialect.name] = field
        return self._reasons[dialect.name]


def _prepare_set(members: Document, change: BuildChange) -> tuple[list[str], LoadedBuild]:
    codec = change.codec
    change.check_precondition()
    loaded = codec.load(change.before | members)
    # Not as it was sent: a UUID may be written in two ways.
    if "id" in members and not same(codec.dump_id(loaded.id), change.before["id"]):
        raise InvalidBuild({"id": ["cannot be changed"]})
    loaded = codec.load_values(loaded, change.build, change.before)
    return changed_members(change.before, loaded.document), loaded


def _prepare_undo(
    change: BuildChange, history: BuildHistory, revision_id: int
) -> tuple[list[str], LoadedBuild]:
    codec = change.codec
    before, after = history.find(change.database, change.id, revision_id)
    change.check_precondition()
    members = members_to_restore(codec, change.before, change.snapshot, before, after)
    loaded = load_restored(codec, change.build, change.before, before, members)
    known = [key for key in members if key in codec.members]
    if len(known) < len(members):  # hooks may make members of the others
        known = [*dict.fromkeys(known + changed_members(change.before, loaded.document))]
    return known, loaded
