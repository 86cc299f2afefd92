"""What the pages say of a build and of its changes, in sentences a person reads at night."""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from markupsafe import Markup, escape
from marshmallow import fields

from ..representation import Document, same
from ..schema import AnyField, Choice, UnixTime
from ..store.filters import value_from_text
from ..wording import escape as escape_invisible
from ..wording import format_age, format_date, is_seen
from .controls import Controls

#: The members of a build that are points in time, in the order in which they pass.
_EVENTS = ("created", "enqueued", "started", "finished")

#: The members by their subject. What the schema has besides stands under the last.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "State": ("status", "error", "event", "created", "enqueued", "started", "finished"),
    "Place": ("host", "runtime", "distribution", "deploy"),
    "Source": ("title", "message", "commit", "branch", "ref", "base_ref", "clone", "source"),
    "People": ("sender", "author"),
    "Other": (),
}

#: A text that is longer is folded, in characters; and how many are shown around a difference.
_LONG, _AROUND = 200, 40

#: The longest command, in characters: Linux takes no argument of more than 128 KiB.
_LONGEST_COMMAND = 100_000

#: What a text is not to be taken for.
_WORDS = frozenset({"null", "empty", "not yet"})

_ESCAPED = Markup('<span class="escaped">{}</span>')


class Event(NamedTuple):
    """A point in time of a build, on its timeline."""

    name: str
    second: int
    #: Where it stands, in percent of the width.
    at: float
    #: Whether it contradicts another member, or the clock.
    impossible: bool


class Sentences:
    """What is said of the builds of one host.

    :param controls: know the fields of the members.
    :param unfinished: the statuses of unfinished builds.
    """

    def __init__(self, controls: Controls, unfinished: Collection[str]) -> None:
        self._times = controls.times
        self._texts = {
            key
            for key, field in controls.fields.items()
            if isinstance(field, fields.String | Choice | fields.Enum)
        }
        self._unfinished = unfinished

    def of_build(self, build: Document, now: int) -> str:
        """Say in one sentence how a build is."""
        status = str(build.get("status") or "build")
        known = {name: self.second(build, name) for name in _EVENTS}
        host = (
            f" on {build['host']}" if isinstance(build.get("host"), str) and build["host"] else ""
        )
        begun = known["started"] or known["enqueued"] or known["created"]
        last = max(known["created"], known["enqueued"], known["started"])
        name = status[:1].upper() + status[1:]
        if status in self._unfinished and last:
            age = format_age(now - begun)
            where = host if known["started"] else ""
            return f"{name} for {age}{where}, no sign of life since {format_date(last)}."
        if known["finished"]:
            took = known["finished"] - known["started"] if known["started"] else -1
            after = f" after {format_age(took)}" if took >= 0 else ""
            ago = f"{format_age(now - known['finished'])} ago" if now >= known["finished"] else ""
            return f"{name}{after}{host}, finished {ago or format_date(known['finished'])}."
        return f"{name}{host}."

    def second(self, build: Document, name: str) -> int:
        """Return a time of a build; 0 if there is none, or none that a calendar has."""
        value = build.get(name)
        if name not in self._times or type(value) is not int:
            return 0
        return value if 0 < value <= UnixTime.latest else 0

    def is_unfinished(self, build: Document) -> bool:
        """Check whether a build waits or runs."""
        return build.get("status") in self._unfinished

    def timeline(self, build: Document, impossible: Collection[str], now: int) -> list[Event]:
        """Return the events of a build, drawn to scale; the last is the present, if it runs."""
        found = {name: self.second(build, name) for name in _EVENTS}
        found = {name: second for name, second in found.items() if second}
        if found and self.is_unfinished(build) and "finished" not in found:
            found["now"] = now
        first, last = min(found.values(), default=0), max(found.values(), default=0)
        width = max(last - first, 1)
        return [
            Event(name, second, round(100 * (second - first) / width, 2), name in impossible)
            for name, second in found.items()
        ]

    def change(self, member: str, change: Mapping[str, Any]) -> list[Markup]:
        """Return both values of a member; of long texts, what is around their difference."""
        before, after = change["before"], change["after"]
        if isinstance(before, str) and isinstance(after, str):
            before, after = excerpts(before, after)
        return [self.value(member, before), self.value(member, after)]

    def value(self, member: str, value: Any) -> Markup:
        """Return a value of a member for a page: a time as a date, too.

        Two values that differ are not shown alike: blanks at the ends of a text are marked, and a
        text in a member that may have other values is in quotation marks.
        """
        if second := self.second({member: value}, member):
            return self.moment(second) + Markup(' <span class="raw">{}</span>').format(value)
        if member in self._times and value == 0:
            return Markup('<span class="none">not yet</span> <span class="raw">0</span>')
        if value is None:
            return Markup('<span class="none">null</span>')
        if value == "":
            return Markup('<span class="none">empty</span>')
        if isinstance(value, str) and member in self._texts and value not in _WORDS:
            return Markup('<span class="text">{}</span>').format(_with_ends(value))
        return visible(json.dumps(value, ensure_ascii=False))

    def moment(self, second: int) -> Markup:
        """Return a time in UTC, which the script of the page completes by the local one."""
        date = format_date(second)
        return Markup('<time datetime="{}">{}</time>').format(date.replace(" ", "T"), date)

    def link(self, member: str, value: Any) -> str | None:
        """Return the address that a member is, if a browser may follow it."""
        if member in ("clone", "source") and isinstance(value, str):
            try:
                parts = urlsplit(value)
            except ValueError:
                return None
            if parts.scheme in ("http", "https") and parts.netloc and value.isprintable():
                return value
        return None

    def groups(self, build: Document) -> Iterator[tuple[str, Document]]:
        """Return the members of a build by their subject."""
        left = {key: value for key, value in build.items() if key != "id"}
        for subject, names in GROUPS.items():
            found = {key: left.pop(key) for key in names or [*left] if key in left}
            if found:
                yield subject, found

    def is_long(self, value: Any) -> bool:
        """Check whether a value is to be folded."""
        return isinstance(value, str) and is_long(value)

    def command(
        self,
        group: str,
        build_id: Any,
        changes: Document,
        members: Mapping[str, AnyField],
        reason: str | None,
    ) -> str | None:
        """Return the command that makes the same change in the terminal; None: there is none."""
        words = ["flask", *group.split(), "set", str(build_id)]
        for key, value in changes.items():
            field = members[key]
            texts = [value, json.dumps(value)] if isinstance(value, str) else [json.dumps(value)]
            text = next((one for one in texts if same(value_from_text(field, one), value)), None)
            if text is None:  # no word of the terminal is null, for a text
                return None
            words.append(f"{key}={text}")
        if reason:
            words += ["--reason", reason]
        # What cannot be seen cannot be copied.
        command = shlex.join(words)
        if str(build_id).startswith("-") or len(command) > _LONGEST_COMMAND:
            return None
        return command if command.isprintable() else None

    def ages(self, build: Document, now: int) -> list[str]:
        """Return how long ago a build was created, and how long ago its last sign of life was."""
        created, *later = (self.second(build, name) for name in _EVENTS[:-1])
        last = max(created, *later)
        return [format_age(now - one) if one else "" for one in (created, last)]

    def repository(self, build: Document) -> str:
        """Name the repository of a build, and the number of the build in it."""
        parts = [str(build[key]) for key in ("repo_id", "number") if key in build]
        return " #".join(parts)


def visible(text: str) -> Markup:
    """Escape a text for HTML, and show what nobody sees, or what turns the text around."""
    if is_seen(text):
        return escape(text)
    unseen = [char for char in {*text} - {"\n"} if not is_seen(char)]
    escaped = {ord(char): _ESCAPED.format(escape_invisible(char)) for char in unseen}
    return Markup(escape(text).translate(escaped))  # noqa: S704 -- both are escaped


def is_long(text: str) -> bool:
    """Check whether a text has several lines, or too many characters for one."""
    return len(text) > _LONG or "\n" in text


def excerpts(before: str, after: str) -> tuple[str, str]:
    """Return what differs of two texts, with some characters around it; short texts as they are."""
    if not is_long(before) and not is_long(after):
        return before, after
    shorter = min(len(before), len(after))
    pairs = enumerate(zip(before, after, strict=False))
    start = next((at for at, (one, other) in pairs if one != other), shorter)
    pairs = enumerate(zip(reversed(before), reversed(after), strict=False))
    end = next((at for at, (one, other) in pairs if one != other), shorter)
    end = min(end, shorter - start)
    first, last = max(start - _AROUND, 0), max(end - _AROUND, 0)
    found = []
    for text in (before, after):
        excerpt = text[first : len(text) - last]
        cut = excerpt if len(excerpt) <= _LONG else f"{excerpt[:_LONG]}…"
        found.append(f"{'…' if first else ''}{cut}{'…' if last and cut == excerpt else ''}")
    return found[0], found[1]


def _with_ends(text: str) -> Markup:
    """Show the blanks and the ends of lines at both ends of a text."""
    core = text.strip()
    begin = text[: len(text) - len(text.lstrip())] if core else ""
    end = text[len(begin) + len(core) :]
    marks = (escape_invisible(one).replace(" ", "␣") for one in (begin, end))
    first, last = (_ESCAPED.format(one) if one else "" for one in marks)
    return Markup("{}{}{}").format(first, visible(core), last)
