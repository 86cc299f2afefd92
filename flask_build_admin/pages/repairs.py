"""The repairs of one click: which members they change, checked when the pages are made."""

from collections.abc import Iterator, Mapping
from time import time

from ..exceptions import ConfigurationError
from ..representation import Document
from ..schema import members_of, time_members
from ..store import BuildStore
from ..store.filters import accepts

NOW = "now"

#: The label of the repair that there is by default.
LOST = "Lost its worker"


class Repairs:
    """The repairs of one host.

    :param repairs: from the label to the members; None: one for a build whose worker is lost.
    :raises ConfigurationError: a repair changes what cannot be changed, or to no value of a member.
    """

    def __init__(self, store: BuildStore, repairs: Mapping[str, Document] | None) -> None:
        schema = store.schema()
        self._members = members_of(schema)
        if status := self._members.get("status"):
            # The column may have fewer words: the others are no status of any build.
            self._members["status"] = status._replace(field=store.limited_field(status))
        self._times = time_members(schema)
        if repairs is None:
            lost = {"status": store.clean_status, "error": "worker lost", "finished": NOW}
            members = {key: lost[key] for key in lost if not self._problem(key, lost[key])}
            repairs = {LOST: members} if "status" in members else {}
        if not isinstance(repairs, Mapping) or not all(
            isinstance(label, str) and isinstance(members, Mapping)
            for label, members in repairs.items()
        ):
            raise ConfigurationError(
                f"repairs={repairs!r} is not a mapping from labels to members: pass one such as"
                " {'Worker lost': {'status': 'error', 'finished': 'now'}}."
            )
        problems = [
            f"{label!r}: {problem}"
            for label, members in repairs.items()
            for problem in self._problems(label, members)
        ]
        if problems:
            raise ConfigurationError(
                f"repairs={repairs!r} cannot all be made: {'; '.join(problems)}. Pass the members"
                " that each repair changes, with their JSON values, or 'now' for a time."
            )
        self._repairs = {label: {**members} for label, members in repairs.items()}

    @property
    def labels(self) -> list[str]:
        """The labels of the buttons."""
        return [*self._repairs]

    def members(self, label: str) -> Document | None:
        """Return what a repair changes, with the current second as ``now``; None: there is none."""
        if label not in self._repairs:
            return None
        return {key: self._value(key, value) for key, value in self._repairs[label].items()}

    def _value(self, key: str, value: object) -> object:
        return int(time()) if value == NOW and key in self._times else value

    def _problems(self, label: str, members: Mapping[str, object]) -> Iterator[str]:
        """Yield what is wrong with one repair."""
        if not members:
            yield "it changes no member"
        if not label.strip() or {*label} & {*"\r\n"}:
            yield "a label is one line of text"
        for key, value in members.items():
            if problem := self._problem(key, value):
                yield problem

    def _problem(self, key: str, value: object) -> str:
        member = self._members.get(key)
        if member is None or member.protected or key == "id":
            return f"{key} is no member that can be changed"
        return "" if accepts(member.field, self._value(key, value)) else f"{key} takes no {value!r}"
