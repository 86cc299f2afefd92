"""A change that is not stored yet: it travels in the form, with the build that it began with."""

from collections.abc import Collection
from typing import Any, NamedTuple, Self

from flask import request
from werkzeug.exceptions import BadRequest

from ..exceptions import InvalidJSON
from ..representation import Document, changed_members, decode, encode, same


class Draft(NamedTuple):
    """A change of one build that is not stored yet."""

    #: The build as it was when the form was opened.
    original: Document
    #: The members that change.
    changes: Document

    @classmethod
    def of_form(cls, build_id: str, members: Collection[str]) -> Self:
        """Read the draft that is in the posted form. It is only a precondition: nobody signs it.

        :param members: those that a build may have.
        :raises BadRequest: the form is not one of these pages, or of another build.
        """
        form = request.form
        try:
            original = decode(form.get("original", "").encode())
            changes = decode(form["changes"].encode()) if "changes" in form else {}
            for document in (original, changes):
                encode(document)  # half of a character cannot be
            whole = changes.keys() <= {*original, *members} - {"id"}
        except (InvalidJSON, UnicodeEncodeError):
            whole = False
        if not whole:
            raise BadRequest("The form is not whole: open the build again.")
        if str(original.get("id")) != build_id:
            raise BadRequest("The form is that of another build: open the build again.")
        return cls(original, changes)

    @property
    def wanted(self) -> Document:
        """The build as it is to be."""
        return self.original | self.changes

    @property
    def fields(self) -> dict[str, str]:
        """The draft as the hidden fields of a form. JSON has no ends of lines to be changed."""
        return {"original": _text(self.original), "changes": _text(self.changes)}

    def carried_over(self, now: Document) -> Self:
        """Return the draft of what is left to change of the build as it is now."""
        left = [key for key in self.changes if not same(self.changes[key], now.get(key))]
        return self._replace(original=now, changes={key: self.changes[key] for key in left})

    def conflicts(self, now: Document) -> list[str]:
        """List the members that are changed here, and were changed otherwise by somebody else."""
        theirs = {*changed_members(self.original, now)}
        return [key for key in self.carried_over(now).changes if key in theirs]


def _text(document: dict[str, Any]) -> str:
    return encode(document).decode().rstrip("\n")
