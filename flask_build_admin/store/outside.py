"""What others changed after each revision, and which revisions they overwrote."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, takewhile
from sys import maxsize
from typing import Any, NamedTuple

from ..representation import Document, encode, same
from .dberrors import Unreadable, converting_values
from .history import BuildHistory
from .locking import BuildQuery, Database
from .revisions import RecordedChange, Revision, RevisionFilter

#: The greatest age of the repairs that are checked by default for whether they are overwritten, in
#: seconds, over HTTP and in the terminal.
OVERWRITTEN_AGE = 24 * 3600


class _Later(NamedTuple):
    """What is known of a build while its revisions are read, the newest first."""

    #: The id of its newest revision.
    newest: int
    #: The members that the revisions read so far have changed.
    members: set[str]


class OutsideChanges:
    """Find what others changed: each revision is compared with the next one, or with the build."""

    def __init__(self, database: Database, query: BuildQuery, history: BuildHistory) -> None:
        self._database = database
        self._query = query
        self._history = history

    def after_each(self, portions: Iterable[list[RecordedChange]]) -> Iterator[Revision]:
        """Return revisions with what was changed outside after each of them.

        :param portions: of ``BuildHistory.newest``, or of ``overwritten``.
        """
        last: dict[int, Document] = {}
        for changes in portions:
            following = self._following(changes, last)
            last = {one.id: one.before for one in changes[-1:]}
            while changes:  # so that no more than one is kept
                one = changes.pop(0)
                outside = _difference(one.after, following.pop(one.id, {}), one.after)
                yield one.revision._replace(changed_outside=outside)

    def overwritten(
        self, wanted: RevisionFilter, below: int | None
    ) -> Iterator[list[RecordedChange]]:
        """Return the revisions that do not stand any more, because of a change outside.

        Such a revision is the last to change a member which has another value now. All revisions
        after ``wanted.after`` are read, those of other people included.

        :param below: only revisions with a lesser id.
        """
        later: dict[Any, _Later] = {}
        every = RevisionFilter(wanted.build_id, after=wanted.after)
        for changes in self._history.newest(self._database, every, maxsize, None):
            candidates = []
            for one in changes:
                known = later.setdefault(one.build_id, _Later(one.id, set()))
                last = self._members(one) - known.members
                known.members.update(last)
                if last and (below is None or one.id < below) and wanted.fits(one.revision):
                    candidates.append((one, last))
            yield [*self._overwritten(candidates, later)]

    def _overwritten(
        self, candidates: Sequence[tuple[RecordedChange, set[str]]], later: Mapping[Any, _Later]
    ) -> Iterator[RecordedChange]:
        builds = self._builds([one.build_id for one, _ in candidates])
        for one, members in candidates:
            document = builds.get(one.build_id, {})
            if not (moved := _difference(one.after, document, members)):
                continue
            # What was committed while the builds were read is not outside.
            since = self._members_since(one.build_id, later[one.build_id].newest)
            if moved := {key: moved[key] for key in moved if key not in since}:
                yield one._replace(revision=one.revision._replace(overwritten=moved))

    def _members(self, change: RecordedChange) -> set[str]:
        """List the members that somebody has changed by a revision; hooks may change the others."""
        return change.revision.changes.keys() - {"id", *self._database.codec.protected}

    def _members_since(self, build_id: Any, revision_id: int) -> set[str]:
        """List the members that the revisions of a build after one of them have changed."""
        found: set[str] = set()
        newest = self._history.newest(self._database, RevisionFilter(build_id), maxsize, None)
        for one in takewhile(lambda one: one.id > revision_id, chain.from_iterable(newest)):
            found |= self._members(one)
        return found

    def _following(
        self, changes: Collection[RecordedChange], last: Mapping[int, Document]
    ) -> dict[int, Document]:
        """Return what the build was when its next change began, or is now, by the revision."""
        newest = {one.id: one.build_id for one in changes if one.next_id is None}
        builds = self._builds(newest.values())
        next_ids = {one.id: one.next_id for one in changes}
        # What was committed while the builds were read is not outside.
        next_ids |= self._history.next_ids(self._database, newest)
        before = {**last, **{one.id: one.before for one in changes}}
        wanted = {one for one in next_ids.values() if one is not None} - before.keys()
        before |= self._history.snapshots_before(self._database, wanted)
        found = {}
        for revision_id, next_id in next_ids.items():
            known = builds.get(newest[revision_id]) if next_id is None else before.get(next_id)
            if known is not None:  # the build is deleted, or the next revision cannot be read
                found[revision_id] = known
        return found

    def _builds(self, ids: Collection[Any]) -> dict[Any, Document]:
        return self._query.find_all(self._database, [*ids])[0] if ids else {}


def _difference(one: Document, other: Document, members: Iterable[str]) -> Document:
    """Return the two values of some members, where they differ and both documents have them."""
    # A member that the schema had not, or has no more, was changed by nobody.
    differing = [
        key for key in members if key in one and key in other and not same(one[key], other[key])
    ]
    found = {key: {"before": one[key], "after": other[key]} for key in one if key in differing}
    with suppress(Unreadable), converting_values:  # it may have what JSON cannot represent
        encode(found)
        return found
    return {}
