"""The contract's 25 members, to be read at a glance."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from .fields import Text, WholeNumber

MISSING = "missing"
NULL = "null"


class BuildSchema(Schema):
    """A whole build, its members in the documented order, every one of them required.

    Subclass it to say how the host's model differs, in marshmallow's own words: another
    ``attribute``, another field, ``dump_only`` for what cannot be changed, ``Meta.exclude`` for
    what the host has not, one more field for what it has beyond.

    Source: the contract of ``PUT /api/v1/admin/build``.
    """

    id = WholeNumber(minimum=1)
    repo_id = WholeNumber(minimum=1)
    number = WholeNumber(minimum=1)
    parent = WholeNumber()
    event = Text(empty=False)
    status = Text(empty=False)
    error = Text()
    enqueued = WholeNumber()
    created = WholeNumber()
    started = WholeNumber()
    finished = WholeNumber()
    deploy = Text()
    clone = Text()
    source = Text()
    title = Text()
    message = Text()
    commit = Text()
    sender = Text()
    author = Text()
    branch = Text()
    ref = Text()
    base_ref = Text()
    host = Text()
    runtime = Text()
    distribution = Text()

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
