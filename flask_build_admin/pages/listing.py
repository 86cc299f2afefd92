"""The pages that list: the unfinished builds, and the changes."""

import json
from collections import Counter
from collections.abc import Mapping
from time import time
from typing import Any
from urllib.parse import urlencode

from flask import redirect, request

from ..exceptions import BuildNotFound, InvalidParameter
from ..representation import Document
from ..store import BuildFilter, BuildStore, Revision
from ..store.filters import value_from_text
from ..store.outside import OVERWRITTEN_AGE
from .controls import load_moment
from .views import Page, Views, filled, number

#: How many builds, and how many revisions, a page lists.
BUILDS, REVISIONS = 50, 20

#: The members that the list of builds shows, or makes its ages of.
LISTED = ("repo_id", "number", "status", "created", "enqueued", "started", "host", "title")

#: The members that builds are counted by, and how many values of each are shown.
COUNTED, COUNTS = ("status", "host"), 12

#: How long without a sign of life, in seconds, by what the filter calls it.
IDLE = {"10m": 600, "1h": 3600, "2h": 7200, "1d": 86_400}

#: The parameters of the queue that are no filter.
_OWN = frozenset({"id", "below"})


class ListingViews(Views):
    """The lists of builds and of changes."""

    def queue(self) -> Page:
        """List the unfinished builds, the oldest first."""
        if build_id := request.args.get("id", "").strip():
            return redirect(self._address_of(build_id))
        if not self._store.has_queue:
            return self.page("queue", builds=None, here="queue")
        given, now = filled(request.args.items()), int(time())
        filters = {key: given[key] for key in given if key not in _OWN}
        builds: list[Document] = []
        following = problem = None
        try:
            builds, last = self._unfinished(filters, given.get("below"))
            if last is not None:
                following = urlencode(given | {"below": last})
        except InvalidParameter as error:
            problem = str(error)
        except BuildNotFound:  # the last build of the page before is deleted
            return redirect(self.url("queue", **filters))
        members = [key for key in COUNTED if key in self._store.filters]
        return self.page(
            "queue",
            200 if problem is None else 400,
            here="queue",
            builds=builds,
            counts=self._counts(members),
            following=following,
            problem=problem,
            given=given,
            filtered=filters,
            idle=IDLE,
            now=now,
            members=members,
            filters=self._store.filters,
            can_clean=self._store.clean_problem is None,
        )

    def history(self, build_id: str) -> Page:
        """List the changes of one build."""
        document = self._store.find(build_id).document
        below = number(request.args.get("below", "")) or None
        found = self._store.revisions(build_id, below=below, limit=REVISIONS + 1)
        return self._changes(found, build=document)

    def changes(self) -> Page:
        """List the changes of all builds."""
        given = filled(request.args.items())
        overwritten = "overwritten" in given
        moments: dict[str, int | None] = {"after": None, "before": None}
        problem = None
        for name in moments.keys() & given.keys():
            try:
                moments[name] = load_moment(given[name])
            except ValueError as error:
                problem = f"{name}: {error}"
        if problem is not None:
            return self._changes([], 400, given=given, overwritten=overwritten, problem=problem)
        if overwritten and moments["after"] is None:
            moments["after"] = int(time()) - OVERWRITTEN_AGE
        try:
            found = self._store.revisions(
                given.get("build_id"),
                deleted=True,
                batch=given.get("batch"),
                actor=given.get("actor"),
                after=moments["after"],
                before=moments["before"],
                below=number(given.get("below", "")) or None,
                overwritten=overwritten,
                limit=REVISIONS + 1,
            )
        except BuildNotFound:  # no build can have this id
            found = []
        return self._changes(found, given=given, overwritten=overwritten)

    def _address_of(self, build_id: str) -> str:
        if "/" in build_id or build_id in (".", ".."):
            raise BuildNotFound("No page has such an id. Look at the build in the terminal.")
        return self.url("build", build_id=build_id)

    def _unfinished(
        self, filters: Mapping[str, str], below: str | None
    ) -> tuple[list[Document], Any]:
        """Return the builds of a page, and the id of the last one if there are more.

        A build that cannot be read has nothing but its ``id`` and what is wrong, ``unreadable``.
        """
        listed: list[tuple[Any, Document | None]] = []
        unreadable: dict[str, str] = {}

        def take(document: Document | None, build_id: Any) -> bool:
            listed.append((build_id, document))
            return True

        # In one statement, because the page of a queue is what one waits for; and no more of it
        # than the page shows, because a build may be large.
        self._store.queue(
            filter_of(self._store, filters),
            limit=BUILDS + 1,
            below=below,
            oldest=True,
            at_once=BUILDS + 1,
            members=LISTED,
            on_unreadable=lambda build_id, problem: unreadable.update({str(build_id): problem}),
            take=take,
        )
        last = listed[BUILDS - 1][0] if len(listed) > BUILDS else None
        builds = []
        for build_id, document in listed[:BUILDS]:
            if document is not None:
                builds.append(document)
            elif str(build_id) in unreadable:
                builds.append({"id": build_id, "unreadable": unreadable[str(build_id)]})
        return builds, last

    def _counts(self, members: list[str]) -> dict[str, list[tuple[str, int]]]:
        """Count the unfinished builds by each member, the most frequent values first."""
        counts = {}
        for member, found in self._store.count_unfinished(members, COUNTS).items():
            texts: Counter[str] = Counter()  # NULL and an empty text are both none
            for value, count in found:
                text = value if isinstance(value, str) else json.dumps(value)
                texts["" if value is None else text] += count
            order = sorted(texts, key=lambda text: (-texts[text], not text, text))
            counts[member] = [(text, texts[text]) for text in order]
        return counts

    def _changes(self, found: list[Revision], status: int = 200, **values: Any) -> Page:
        following = None
        if len(found) > REVISIONS:
            below = {"below": found[REVISIONS - 1].id}
            following = urlencode(filled(request.args.items()) | below)
        here = "overwritten" if values.get("overwritten") else "history"
        revisions = found[:REVISIONS]
        return self.page(
            "history", status, here=here, revisions=revisions, following=following, **values
        )


def filter_of(store: BuildStore, given: Mapping[str, str]) -> BuildFilter:
    """Return the filter that a form or a query means.

    :raises InvalidParameter: it names no member, or an unknown time.
    """
    problems = {key: ["no member that builds are found by"] for key in given if key != "idle"}
    members = {}
    for key in problems.keys() & store.filters.keys():
        del problems[key]
        members[key] = value_from_text(store.filters[key], given[key])
    since = None
    if "idle" in given:
        if given["idle"] in IDLE:
            since = int(time()) - IDLE[given["idle"]]
        else:
            problems["idle"] = [f"not one of {', '.join(IDLE)}"]
    if problems:
        raise InvalidParameter(problems)
    return BuildFilter(idle_before=since, members=members)
