"""The pages of one build: look at it, edit it, preview, store, and undo."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from time import time
from typing import Any

from flask import redirect, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response

from ..exceptions import (
    BuildAdminError,
    BuildNotFound,
    DatabaseError,
    ImpossibleBuild,
    InvalidParameter,
    PreconditionFailed,
)
from ..faults import announce
from ..representation import Document, encode
from ..store import ChangeResult, Revision
from ..store.change import UnchangedSince, tag_without
from .controls import TIMES
from .drafts import Draft
from .views import Page, Views, number, sentence_of, status_of, typed

#: How many revisions stand on the page of a build.
NEWEST = 3

#: What the page of a build says after a change that is no revision.
NOTES = {
    "stored": "The change is stored.",
    "already": "The build is already as you wanted.",
}


class EditingViews(Views):
    """The pages of one build."""

    def build(self, build_id: str) -> Page:
        """Show one build."""
        document = self._store.find(build_id).document
        revisions: list[Revision] | None = []
        if self._store.has_history:
            try:
                revisions = self._store.revisions(build_id, limit=NEWEST)
            except DatabaseError as error:  # a forgotten migration hides no build
                announce(error)
                revisions = None
        newest = (revisions or [])[:1]
        stored = next((one for one in newest if str(one.id) == request.args.get("stored")), None)
        now = int(time())
        warnings = self._store.warnings_of(document)
        impossible = {name for one in warnings for name in one.members}
        return self.page(
            "build",
            build=document,
            sentence=self._sentences.of_build(document, now),
            events=self._sentences.timeline(document, impossible, now),
            warnings=warnings,
            groups=self._sentences.groups(document),
            repairs=self._host.repairs.labels,
            revisions=revisions,
            stored=stored,
            note=NOTES.get(request.args.get("note", "")),
        )

    def edit(self, build_id: str) -> Page:
        """Show the form of a build: new, or once more with a draft."""
        if request.method == "POST":
            return self._form(build_id, self._draft(build_id), 200)
        document = self._store.find(build_id).document
        # An id may be written in several ways, a UUID for example.
        return self._form(str(document["id"]), Draft(document, {}), 200)

    def preview_change(self, build_id: str) -> Page:
        """Show what a change would change, by making it and rolling it back."""
        form = request.form
        if "repair" in form:
            changes = self._host.repairs.members(form["repair"])
            if changes is None:
                raise BadRequest("There is no such repair.")
            return self._preview(build_id, Draft(self._store.find(build_id).document, changes))
        draft = self._draft(build_id)
        if "changes" in form:
            chosen = {key for key in draft.changes if form.get(f"choice.{key}") != "now"}
            changes = {key: draft.changes[key] for key in draft.changes if key in chosen}
            return self._preview(build_id, draft._replace(changes=changes))
        changes, problems = self._controls.read(form, draft.original)
        draft = draft._replace(changes=changes)
        if problems:
            return self._form(build_id, draft, 400, problems, typed=form)
        if not changes:
            return self._form(build_id, draft, 200, note="Nothing is changed yet.")
        return self._preview(build_id, draft)

    def change(self, build_id: str) -> Page:
        """Store a change that was previewed."""
        draft = self._draft(build_id)
        unchanged = self._unchanged(draft)
        try:
            result = self._store.update(build_id, draft.changes, self.options(unchanged))
        except PreconditionFailed:
            return self._carry_over(build_id, draft, unchanged.found)
        except (InvalidParameter, ImpossibleBuild) as error:
            return self._preview(build_id, draft, error)
        except (BuildAdminError, HTTPException) as error:
            return self._refuse(build_id, draft, error)
        return self._stored(result)

    def undo(self, build_id: str) -> Page:
        """Preview the undo of a revision; store it, once the preview was seen."""
        form = request.form
        revision_id = number(form.get("revision", ""))
        seen = UnchangedSince(form.get("seen"), self._store.protected)
        if seen.tag is not None:
            try:
                with suppress(PreconditionFailed):
                    options = self.options(seen)
                    return self._stored(self._store.undo(build_id, revision_id, options))
            except (InvalidParameter, ImpossibleBuild) as error:
                return self._preview_undo(build_id, revision_id, error)
        return self._preview_undo(build_id, revision_id, changed="seen" in form)

    def _draft(self, build_id: str) -> Draft:
        return Draft.of_form(build_id, self._controls.members.keys())

    def _unchanged(self, draft: Draft) -> UnchangedSince:
        """Return the precondition that a build is as it was when its form was opened."""
        protected = self._store.protected
        return UnchangedSince(tag_without(draft.original, protected), protected)

    def _form(
        self,
        build_id: str,
        draft: Draft,
        status: int,
        problems: Mapping[str, list[str]] | None = None,
        *,
        typed: MultiDict[str, str] | None = None,
        note: str = "",
    ) -> Page:
        """Show the form with everything that was typed, and what is wrong with it."""
        controls = self._controls.of(draft.original, draft.changes, typed, problems)
        shown = {one.key for one in controls}
        return self.page(
            "edit",
            status,
            build=draft.original,
            build_id=build_id,
            draft=draft,
            controls=controls,
            problems=[one for one in controls if one.problems],
            others={key: texts for key, texts in (problems or {}).items() if key not in shown},
            note=note,
            choices=TIMES,
        )

    def _preview(
        self,
        build_id: str,
        draft: Draft,
        error: BuildAdminError | None = None,
        *,
        carried: bool = False,
    ) -> Page:
        """Show what a change would change.

        :param carried: whether the draft was just carried over to the build as it is now.
        """
        if len(encode(draft.wanted)) > self._host.limit:
            return self._refuse(
                build_id,
                draft,
                RequestEntityTooLarge(f"The build is longer than {self._host.limit} bytes."),
            )
        unchanged = self._unchanged(draft)
        try:
            update = partial(self._store.update, build_id, draft.changes)
            revision = self.preview(update, unchanged).revision
        except PreconditionFailed as refused:
            if carried:  # it changes all the time
                return self._refuse(build_id, draft, refused)
            return self._carry_over(build_id, draft, unchanged.found)
        except (BuildAdminError, HTTPException) as refused:
            return self._refuse(build_id, draft, refused)
        changes = {key: draft.changes[key] for key in draft.changes if key in revision.changes}
        note = "Somebody has changed other members meanwhile. Your edit is carried over."
        return self.page(
            "preview",
            200 if error is None else error.status,
            build=draft.original,
            build_id=build_id,
            draft=draft,
            revision=revision,
            command=self._sentences.command(
                self._host.group, build_id, changes, self._controls.fields, typed("reason")
            ),
            error=error,
            note=note if carried else "",
        )

    def _carry_over(self, build_id: str, draft: Draft, now: Document) -> Page:
        """Carry a draft over to the build as it is now, or show where both have changed it."""
        carried = draft.carried_over(now)
        if not carried.changes:
            return redirect(self.url("build", build_id=build_id, note="already"), 303)
        revisions = []
        if self._store.has_history:
            revisions = self._store.revisions(build_id, limit=NEWEST)
        if both := draft.conflicts(now):
            return self.page(
                "conflict",
                409,
                build=now,
                build_id=build_id,
                draft=carried,
                original=draft.original,
                both=both,
                revisions=revisions,
            )
        return self._preview(build_id, carried, carried=True)

    def _refuse(self, build_id: str, draft: Draft, error: BuildAdminError | HTTPException) -> Page:
        """Show the form again with a draft that is refused."""
        if isinstance(error, BuildNotFound):
            return self.page("error", 404, sentence=str(error), draft=draft, build_id=build_id)
        problems = error.fields if isinstance(error, BuildAdminError) else None
        return self._form(build_id, draft, status_of(error), problems, note=sentence_of(error))

    def _preview_undo(
        self,
        build_id: str,
        revision_id: int,
        error: BuildAdminError | None = None,
        *,
        changed: bool = False,
    ) -> Page:
        seen = UnchangedSince(protected=self._store.protected)
        undo = partial(self._store.undo, build_id, revision_id)
        revision = self.preview(undo, seen).revision
        return self.page(
            "undo",
            200 if error is None else error.status,
            build_id=build_id,
            undone=revision_id,
            revision=revision,
            seen=seen.tag,
            error=error,
            changed=changed,
        )

    def _stored(self, result: ChangeResult) -> Response:
        revision = result.revision
        stored: dict[str, Any] = {"note": "stored"}
        if revision.id is not None:
            stored = {"stored": revision.id}
        elif not revision.changes:
            stored = {"note": "already"}
        return redirect(self.url("build", build_id=revision.build_id, **stored), 303)
