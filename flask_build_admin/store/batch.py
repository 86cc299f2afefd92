"""Many changes at once: one that fails leaves the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import uuid4

from ..exceptions import (
    BuildAdminError,
    BuildConflict,
    BuildNotFound,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidBuild,
    PreconditionFailed,
    UndoConflict,
    one_line,
)
from .change import BuildChange, ChangeOptions, ChangeResult
from .codec import LoadedBuild
from .dberrors import describe
from .revisions import Revision
from .transactions import log

#: How many changes one transaction has. A worker may wait for all of them.
_SIZE = 20

#: Refusals whose sentence says everything: the log has no line for them, as for a single change.
_EXPLAINED = (BuildNotFound, InvalidBuild, PreconditionFailed, UndoConflict)

#: After so many changes in a row that the database had no answer to, no more are tried.
_MAX_UNAVAILABLE = 3


class BatchFailure(NamedTuple):
    """A change of a batch that was refused."""

    #: The id of the build, as the member ``id`` has it.
    build_id: Any
    #: A ``BuildAdminError``, or what the host's own code has raised.
    error: Exception
    #: The revision that was to be undone, if any.
    revision_id: int | None = None

    @property
    def problem(self) -> str:
        """Why, in one plain sentence."""
        if type(self.error) is BuildConflict:
            return "refused by the database"
        if isinstance(self.error, BuildAdminError):
            return str(self.error)
        # An HTTPException, as abort() raises it, has a description for whoever sent the request.
        return one_line(getattr(self.error, "description", None) or BuildAdminError.sentence)


class BatchResult(NamedTuple):
    """What became of many builds; for a preview, what would become of them."""

    #: What the revisions have in common.
    batch: str
    #: What was changed, in the order of the changes.
    changed: list[Revision]
    #: What was refused.
    failed: list[BatchFailure]
    #: Whether there are others that were not tried.
    more: bool = False


class BatchItem(NamedTuple):
    """One change of a batch."""

    #: The id of the build, as the model has it.
    build_id: Any
    #: Says what is changed, once the build is locked: the members, and their values.
    prepare: Callable[[BuildChange], tuple[list[str], LoadedBuild]]
    #: The revision that is undone, if any.
    revision_id: int | None = None


#: Makes some changes in one transaction, all or none; None: the build is not found.
ChangeAll = Callable[[Sequence[BatchItem], ChangeOptions], list[ChangeResult | None]]


def run_batch(
    items: Sequence[BatchItem],
    options: ChangeOptions,
    change_all: ChangeAll,
    dump_id: Callable[[Any], Any],
    *,
    size: int = _SIZE,
    gone: bool = True,
    on_progress: Callable[[], None] | None = None,
) -> BatchResult:
    """Make changes, whatever becomes of the others.

    :param dump_id: returns the id of a build as the member ``id`` has it.
    :param size: how many changes one transaction has, if it has no fault.
    :param gone: whether a build that is not found is a failure, and not simply left alone.
    :param on_progress: called after each change.
    :raises ConfigurationError: as of any change; those before it are made.
    """
    batch = options.batch or str(uuid4())
    options = replace(options, batch=batch)
    result = BatchResult(batch, [], [])
    unavailable = 0
    for start in range(0, len(items), size):
        portion = items[start : start + size]
        for item, made in _make(portion, options, change_all):
            if isinstance(made, ConfigurationError):
                raise made
            if isinstance(made, Exception):
                if gone or not isinstance(made, BuildNotFound):
                    build_id = dump_id(item.build_id)
                    if not isinstance(made, _EXPLAINED):
                        log.warning("build %r is not changed: %s", build_id, describe(made))
                    result.failed.append(BatchFailure(build_id, made, item.revision_id))
            elif made.revision.changes:
                result.changed.append(made.revision)
            if on_progress is not None:
                on_progress()
            unavailable = unavailable + 1 if isinstance(made, DatabaseUnavailable) else 0
            if unavailable == _MAX_UNAVAILABLE:
                return result._replace(more=True)
    return result


def _make(
    items: Sequence[BatchItem], options: ChangeOptions, change_all: ChangeAll
) -> Iterator[tuple[BatchItem, ChangeResult | Exception]]:
    """Make some changes: in one transaction, which is faster, or else one by one."""
    try:
        results = change_all(items, options)
    except Exception as error:  # noqa: BLE001 (a receiver of the host's refuses by any)
        if len(items) == 1:
            yield items[0], error
            return
        for item in items:
            yield from _make([item], options, change_all)
        return
    for item, result in zip(items, results, strict=True):
        yield item, BuildNotFound() if result is None else result
