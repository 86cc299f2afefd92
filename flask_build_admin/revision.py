"""A revision: what one change of a build has changed, and the table of the host's that keeps it."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import JSON, BigInteger, DateTime, Integer, String, Text
from sqlalchemy.orm import mapped_column

from .body import Document


class BuildRevisionMixin:
    """The columns of a table of revisions, for a model of the host's own.

    ``class BuildRevision(BuildRevisionMixin, Base): __tablename__ = "build_revisions"``

    The table belongs in the database of the builds. A host may add columns of its own that need no
    value, and declare any of these anew: ``build_id`` where the ids of its builds are no integers,
    ``reason`` with another length. Revisions are inserted as rows, so defaults of the columns hold
    and events of the mapper are not heard. None is ever changed or deleted.
    """

    # Not annotated as Mapped: a base of dataclasses would take them for fields of its own.

    #: Ascending in the order in which the changes of one build were made; before a host's columns.
    id = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, sort_order=-1
    )
    #: The id of the build, as its model has it. No foreign key: a revision outlives its build.
    build_id = mapped_column(BigInteger, index=True, nullable=False)
    #: When the change was made: UTC, in whole seconds.
    at = mapped_column(DateTime(timezone=True), nullable=False)
    #: What ``str()`` makes of the answer of ``BuildAdmin(actor=…)``; NULL where there is none.
    actor = mapped_column(Text, nullable=True)
    #: ``?reason=`` of the change. A longer one than the column holds is refused.
    reason = mapped_column(String(1000), nullable=True)
    #: The whole build before the change. A member whose attribute was None is null.
    before = mapped_column(JSON, nullable=False)
    #: The whole build after it.
    after = mapped_column(JSON, nullable=False)


class Revision(NamedTuple):
    """One change of one build, as it is shown."""

    #: The id of the build, as the member ``id`` has it.
    build_id: Any
    #: The name of who has made it; None: nobody is known.
    actor: str | None
    #: Why; None: nothing was said.
    reason: str | None
    #: The members that differ, each with its value ``before`` and ``after``.
    changes: Document
    #: None: a change that is not recorded, or only previewed.
    id: int | None = None
    #: When it was made: UNIX epoch, seconds.
    at: int | None = None

    @property
    def document(self) -> Document:
        """The revision as JSON has it; without ``id`` and ``at`` where it has none."""
        told = {
            "id": self.id,
            "build_id": self.build_id,
            "at": self.at,
            "actor": self.actor,
            "reason": self.reason,
            "changes": self.changes,
        }
        unknown = {"id", "at"} if self.id is None else set()
        return {name: value for name, value in told.items() if name not in unknown}
