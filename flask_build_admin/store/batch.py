"""Many changes at once: each in a transaction of its own, so one that fails leaves the others."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import uuid4

from ..exceptions import (
    BuildAdminError,
    BuildConflict,
    BuildNotFound,
    ConfigurationError,
    DatabaseUnavailable,
    one_line,
)
from .change import ChangeOptions, ChangeResult
from .dberrors import describe
from .history import Revision
from .transactions import log

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

    #: The id of the build, as the member ``id`` has it.
    build_id: Any
    #: Makes the change. It raises ``BuildNotFound`` if there is nothing to change any more.
    change: Callable[[ChangeOptions], ChangeResult]
    #: The revision that is undone, if any.
    revision_id: int | None = None


def run_batch(
    items: Iterable[BatchItem],
    options: ChangeOptions,
    *,
    gone: bool,
    on_progress: Callable[[], None] | None,
) -> BatchResult:
    """Make changes one by one, whatever becomes of the others.

    :param gone: whether a build that is not found is a failure, and not simply left alone.
    :param on_progress: called after each.
    :raises ConfigurationError: as of any change; those before it are made.
    """
    batch = options.batch or str(uuid4())
    options = replace(options, batch=batch)
    result = BatchResult(batch, [], [])
    unavailable = 0
    for item in items:
        if unavailable == _MAX_UNAVAILABLE:
            return result._replace(more=True)
        available = True
        try:
            revision = item.change(options).revision
            if revision.changes:
                result.changed.append(revision)
        except ConfigurationError:
            raise
        except BuildNotFound as error:
            if gone:
                result.failed.append(BatchFailure(item.build_id, error, item.revision_id))
        except Exception as error:  # noqa: BLE001 (a receiver of the host's refuses by any)
            available = not isinstance(error, DatabaseUnavailable)
            log.warning("build %r is not changed: %s", item.build_id, describe(error))
            result.failed.append(BatchFailure(item.build_id, error, item.revision_id))
        unavailable = 0 if available else unavailable + 1
        if on_progress is not None:
            on_progress()
    return result
