"""The contract's 25 members, to be read at a glance."""

from __future__ import annotations

from typing import Any, TypeAlias

from marshmallow import Schema, fields

from .fields import Text, WholeNumber

MISSING = "missing"
NULL = "null"

#: A host may put any other field in the place of the contract's own.
Member: TypeAlias = "fields.Field[Any]"


class BuildSchema(Schema):
    """A whole build, its members in the documented order, every one of them required.

    Subclass it to say how the host's model differs, in marshmallow's own words: another
    ``attribute``, another field, ``dump_only`` for what cannot be changed, ``Meta.exclude`` for
    what the host has not, one more field for what it has beyond.

    Source: the contract of ``PUT /api/v1/admin/build``.
    """

    id: Member = WholeNumber(minimum=1)
    repo_id: Member = WholeNumber(minimum=1)
    number: Member = WholeNumber(minimum=1)
    parent: Member = WholeNumber()
    event: Member = Text(empty=False)
    status: Member = Text(empty=False)
    error: Member = Text()
    enqueued: Member = WholeNumber()
    created: Member = WholeNumber()
    started: Member = WholeNumber()
    finished: Member = WholeNumber()
    deploy: Member = Text()
    clone: Member = Text()
    source: Member = Text()
    title: Member = Text()
    message: Member = Text()
    commit: Member = Text()
    sender: Member = Text()
    author: Member = Text()
    branch: Member = Text()
    ref: Member = Text()
    base_ref: Member = Text()
    host: Member = Text()
    runtime: Member = Text()
    distribution: Member = Text()

    error_messages = {"unknown": "unknown", "type": "not an object"}

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Say what every field can say in the same words, the host's own fields included."""
        super().on_bind_field(field_name, field_obj)
        standard = fields.Field.default_error_messages
        words = {"required": MISSING, "null": NULL}
        field_obj.error_messages = field_obj.error_messages | {
            key: word
            for key, word in words.items()
            if field_obj.error_messages[key] == standard[key]
        }
