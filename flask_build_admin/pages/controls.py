"""The controls of a form: one for each member, made from the field of the host's schema.

A browser changes text: it drops a leading newline, replaces U+0000, and sends each end of a line as
CR LF (HTML, "The textarea element" and "Constructing the entry list"). So a member is untouched if
what was posted is what a browser posts for the value that it had.
"""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from time import time
from types import NoneType
from typing import Any, NamedTuple

from marshmallow import fields, validate

from ..exceptions import InvalidJSON
from ..representation import Document, decode, encode, same
from ..schema import AnyField, BuildSchema, Choice, Member, members_of, time_members, to_unix_time
from ..store.filters import accepts
from ..wording import escape

#: The members that are changed every day, in the order of the form. The others stand below them.
EVERYDAY = ("status", "error", "enqueued", "created", "started", "finished", "host", "title")

#: A text that is longer, or has several lines, has a control of several lines.
_ONE_LINE = 120

_END_OF_LINE = re.compile("\r\n|\r|\n")

#: What can be done with a time, besides a time of its own.
TIMES = {"keep": "keep", "zero": "not yet", "now": "now", "at": "at …"}


class Option(NamedTuple):
    """One option of a select."""

    #: The value as JSON, which is what is posted.
    posted: str
    label: str


class Control(NamedTuple):
    """The control of one member."""

    key: str
    #: ``fixed``, ``line``, ``lines``, ``number``, ``choice``, ``time`` or ``json``.
    kind: str
    #: What the control contains: text, JSON, or the words of ``TIMES``.
    text: str
    options: tuple[Option, ...] = ()
    #: Whether null is a value of a text, and whether it is the value.
    nullable: bool = False
    null: bool = False
    #: What was typed as the time of its own.
    moment: str = ""
    #: What is wrong with what was posted.
    problems: tuple[str, ...] = ()
    #: Differs with the value that the member has, where a browser that opens the form once more,
    #: after Back, would choose again what was chosen, touched or not.
    mark: str = ""

    @property
    def name(self) -> str:
        """The name of the control: no member can be taken for another field of the form."""
        key = self.key.replace("%", "%25").replace(".", "%2E")
        return f"member.{key}{self.mark if self.kind == 'choice' else ''}"

    @property
    def null_name(self) -> str:
        """The name of the checkbox for null."""
        return f"{self.name}.null{self.mark}"

    @property
    def everyday(self) -> bool:
        """Whether the control stands with the first ones."""
        return self.key in EVERYDAY


class Controls:
    """The controls for the builds of one host."""

    def __init__(self, schema: BuildSchema) -> None:
        self.members: dict[str, Member] = members_of(schema)
        #: The fields of the members.
        self.fields: dict[str, AnyField] = {
            key: member.field for key, member in self.members.items()
        }
        #: The members that are points in time, in UNIX epoch seconds.
        self.times: set[str] = {key for key in time_members(schema) if accepts(self.fields[key], 1)}

    def of(
        self,
        document: Document,
        changes: Document,
        form: Mapping[str, str] | None = None,
        problems: Mapping[str, list[str]] | None = None,
    ) -> list[Control]:
        """Return the controls for a build, the everyday ones first.

        :param changes: the members that are to change, with their values.
        :param form: what was typed, if there is a form already.
        :param problems: what is wrong with it, by the member.
        """
        controls = []
        for key, value in self._whole(document).items():
            control = self._control(key, value)
            if form is not None:
                control = _typed(control, form)
            elif key in changes:
                control = self._changed(control, changes[key])
            wrong = tuple((problems or {}).get(key, ()))
            controls.append(control._replace(problems=wrong))
        order = {key: number for number, key in enumerate(EVERYDAY)}
        return sorted(controls, key=lambda one: order.get(one.key, len(order)))

    def read(
        self, form: Mapping[str, str], document: Document
    ) -> tuple[Document, dict[str, list[str]]]:
        """Return the members that a form changes, and what is wrong with it.

        :param document: the build that the form was made for.
        """
        changes: Document = {}
        problems: dict[str, list[str]] = {}
        for key, value in self._whole(document).items():
            control = self._control(key, value)
            if control.kind == "fixed" or control.name not in form:
                continue
            try:
                found = self._read(control, form, value)
            except ValueError as error:
                problems[key] = [str(error)]
                continue
            if not same(found, value):
                changes[key] = found
        return changes, problems

    def _whole(self, document: Document) -> Document:
        """Add the members that the document lacks, as null: a hook may leave them out."""
        found = {key for key, one in self.members.items() if not one.protected}
        return document | dict.fromkeys(key for key in self.members if key in found - {*document})

    def _control(self, key: str, value: Any) -> Control:
        member = self.members.get(key)
        if member is None or member.protected or key == "id" or not member.reads_attribute:
            return Control(key, "fixed", _json(value))
        field = member.field
        if options := _options(member):
            posted = _json(value)
            if posted not in [one.posted for one in options]:
                options = (Option(posted, _label(value)), *options)
            return Control(key, "choice", posted, options, mark=_mark(value))
        if key in self.times and type(value) in (int, NoneType):
            return Control(key, "time", "keep")
        nullable = bool(field.allow_none) or value is None
        if isinstance(field, fields.String) and isinstance(value, str | None):
            text = value or ""
            several = len(text) > _ONE_LINE or _END_OF_LINE.search(text)
            kind = "lines" if several else "line"
            null = value is None
            return Control(key, kind, text, nullable=nullable, null=null, mark=_mark(value))
        if isinstance(field, fields.Integer) and type(value) is int:
            return Control(key, "number", _json(value))
        return Control(key, "json", json.dumps(value, ensure_ascii=False, indent=2))

    def _changed(self, control: Control, value: Any) -> Control:
        """Put the value that a member is to have into its control."""
        if control.kind == "time":
            moment = _json(value) if value else ""
            return control._replace(text="at" if value else "zero", moment=moment)
        if control.kind in ("line", "lines"):
            return self._control(control.key, value)._replace(mark=control.mark)
        if control.kind == "json":
            return control._replace(text=json.dumps(value, ensure_ascii=False, indent=2))
        return control._replace(text=_json(value))

    def _read(self, control: Control, form: Mapping[str, str], value: Any) -> Any:
        """Return the JSON value that was posted; raise ``ValueError`` if it is none."""
        return _READERS[control.kind](control, form, value)


def _read_text(control: Control, form: Mapping[str, str], value: Any) -> Any:
    posted = form[control.name]
    if control.nullable and control.null_name in form:
        if value is None and posted:
            raise ValueError("null, or the text that is given: not both")
        return None
    if value is not None and posted == posted_by_browser(value):
        return value
    # A text that has one kind of ends of lines keeps it.
    kinds = {*_END_OF_LINE.findall(value or "")}
    return _END_OF_LINE.sub(kinds.pop() if len(kinds) == 1 else "\n", posted)


def _read_choice(control: Control, form: Mapping[str, str], value: Any) -> Any:
    posted = form[control.name]
    if posted not in [one.posted for one in control.options]:
        raise ValueError("none of the choices")
    return json.loads(posted)


def _read_number(control: Control, form: Mapping[str, str], value: Any) -> Any:
    try:
        return _load_json(form[control.name].strip())
    except ValueError as error:
        raise ValueError("not a whole number") from error


def _read_json(control: Control, form: Mapping[str, str], value: Any) -> Any:
    posted = form[control.name]
    return value if posted == posted_by_browser(control.text) else _load_json(posted)


def _read_time(control: Control, form: Mapping[str, str], value: Any) -> Any:
    chosen, moment = form[control.name], form.get(f"{control.name}.at", "").strip()
    if moment and chosen in ("keep", "at"):
        return load_moment(moment)
    if moment:
        raise ValueError(f"{TIMES.get(chosen, chosen)}, or the time that is given: not both")
    if chosen == "at":
        raise ValueError("no time is given")
    return {"zero": value and 0, "now": int(time())}.get(chosen, value)


_READERS: Mapping[str, Callable[[Control, Mapping[str, str], Any], Any]] = {
    "line": _read_text,
    "lines": _read_text,
    "choice": _read_choice,
    "number": _read_number,
    "json": _read_json,
    "time": _read_time,
}


def posted_by_browser(text: str) -> str:
    """Return what a browser posts for a text that is in a control and was not touched."""
    return _END_OF_LINE.sub("\r\n", text.replace("\0", "\ufffd"))


def _typed(control: Control, form: Mapping[str, str]) -> Control:
    """Put what was typed back into a control."""
    if control.kind == "fixed" or control.name not in form:
        return control
    typed = control._replace(text=form[control.name], null=control.null_name in form)
    if control.kind in ("line", "lines") and form[control.name] == posted_by_browser(control.text):
        return typed._replace(text=control.text)
    return typed._replace(moment=form.get(f"{control.name}.at", ""))


def _options(member: Member) -> tuple[Option, ...]:
    """Return the values of a member that has a few; nothing if it has others."""
    field = member.field
    values: list[Any] = []
    if isinstance(field, Choice):
        values = [*field.choices]
    elif isinstance(field, fields.Boolean):
        values = [True, False]
    else:
        # As the document has them: an Enum, a date or a UUID is no JSON.
        values = [field.serialize("one", {"one": one}) for one in _one_of(field)]
    if values and field.allow_none:
        values = [*values, None]
    return tuple(Option(_json(value), _label(value)) for value in values)


def _one_of(field: AnyField) -> list[Any]:
    if isinstance(field, fields.Enum):
        found: Any = field.enum  # a class of the host's
        return [*found]
    for validator in field.validators:
        # ContainsOnly is a OneOf of what is in a list.
        if isinstance(validator, validate.OneOf) and not isinstance(
            validator, validate.ContainsOnly
        ):
            return [*validator.choices]
    return []


def _load_json(text: str) -> Any:
    try:
        document = decode(f'{{"value": {text}}}'.encode())
        encode(document)  # half of a character is no text
    except (InvalidJSON, UnicodeEncodeError):
        document = {}
    if [*document] != ["value"]:
        raise ValueError("not JSON: text stands in quotation marks")
    return document["value"]


def load_moment(text: str) -> int:
    """Parse UNIX epoch seconds, or ISO 8601 with a zone."""
    if re.fullmatch("[0-9]{1,18}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("no time: pass seconds since 1970, or 2026-11-28T03:00:00Z") from error
    if moment.tzinfo is None:
        raise ValueError("has no zone: add Z, or one such as +05:45")
    return to_unix_time(moment)


def _mark(value: Any) -> str:
    return f".{zlib.crc32(_json(value).encode()):08x}"


def _json(value: Any) -> str:
    return json.dumps(value)


def _label(value: Any) -> str:
    return escape(value) if isinstance(value, str) and value else _json(value)
