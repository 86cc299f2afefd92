"""The pages that change many builds at once: the clean, and the undo of a batch."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from time import time

from flask import redirect, request
from werkzeug.exceptions import BadRequest

from ..exceptions import BuildAdminError, InvalidBuild, InvalidJSON, InvalidParameter
from ..representation import decode
from ..store import BatchResult
from ..store.change import EachUnchanged
from ..store.clean import CLEAN_MESSAGE
from .listing import filter_of
from .views import Page, Views, number


class ManyViews(Views):
    """The changes of many builds."""

    def clean(self) -> Page:
        """Preview a clean; make it, once the preview was seen."""
        form = request.form
        # A message is a member, too: so filters have names of their own.
        given = {
            name.removeprefix("filter."): text
            for name, text in form.items()
            if name.startswith("filter.")
        }
        message = form.get("message", CLEAN_MESSAGE)
        second = number(form.get("finished", "")) or int(time())
        seen = _load_seen(form["seen"]) if "seen" in form else None
        ids = None if "all" in form else form.getlist("build") if seen is None else [*seen]
        clean = partial(
            self._store.clean,
            filter_of(self._store, given),
            message=message,
            finished=second,
            build_ids=ids,
        )
        error: BuildAdminError | None = None
        if seen is not None:
            try:
                return self._done(clean(self.options(self._unchanged(seen))))
            except (InvalidParameter, InvalidBuild) as refused:
                error = refused
        return self._preview_clean(clean, given, message, second, error)

    def undo_batch(self) -> Page:
        """Preview the undo of a batch; make it, once the preview was seen."""
        form = request.form
        undo = partial(self._store.undo_batch, form.get("batch", ""))
        error: BuildAdminError | None = None
        if "store" in form:
            try:
                return self._done(undo(self.options()))
            except InvalidParameter as refused:
                error = refused
        result = self.preview(undo)
        return self.page(
            "undo_batch",
            200 if error is None else error.status,
            here="history",
            result=result,
            batch=form.get("batch"),
            error=error,
        )

    def _preview_clean(
        self,
        clean: Callable[..., BatchResult],
        given: Mapping[str, str],
        message: str,
        second: int,
        error: BuildAdminError | None,
    ) -> Page:
        seen = self._unchanged({})
        try:
            result = self.preview(clean, seen)
        except InvalidBuild as refused:  # of the message: the builds can be previewed without it
            error, result = refused, self.preview(partial(clean, message=""), seen)
        changed = [str(one.build_id) for one in result.changed]
        return self.page(
            "clean",
            200 if error is None else error.status,
            result=result,
            given=given,
            message=message,
            finished=second,
            seen=json.dumps({one: seen.tags[one] for one in changed}),
            has_error="error" in self._controls.members,
            error=error,
        )

    def _unchanged(self, tags: Mapping[str, str]) -> EachUnchanged:
        return EachUnchanged(self._store.protected, tags)

    def _done(self, result: BatchResult) -> Page:
        """Show what became of many builds: as changes that can be undone, if there is a history."""
        if self._store.has_history and result.changed and not result.failed:
            return redirect(self.url("changes", batch=result.batch), 303)
        return self.page("done", result=result)


def _load_seen(text: str) -> dict[str, str]:
    """Read which builds the preview has shown, and how they were. It is only a precondition."""
    try:
        return decode(text.encode())
    except InvalidJSON as error:
        raise BadRequest("The form is not whole: select the builds again.") from error
