"""The schema at work on one database: documents in, values out, and builds back to documents."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from copy import copy, deepcopy
from typing import Any, NamedTuple

from marshmallow import INCLUDE, ValidationError, fields, missing
from sqlalchemy.engine import Dialect

from .body import SCALARS, Document
from .columns import evaluates_none, keeps, limit
from .compiled import Check, Show, compile_check, compile_show, compiles
from .errors import BuildNotFound, InvalidBuild
from .model import attribute_of, column_of, field_of, led_by, mapper_of, member_of
from .schema import BuildSchema

_DECIMAL = re.compile("0|[1-9][0-9]{0,99}")


class Incoming(NamedTuple):
    """A whole build that can be stored."""

    #: The id as the model has it: which build is meant.
    id: Any
    #: What the members are to be, as JSON.
    document: Document
    #: What the attributes are to be, as the model has them.
    values: Mapping[str, Any]
    #: Attributes that are to be NULL, whatever their column makes of None.
    nulls: Collection[str] = ()


class BuildCodec:
    """Translate between documents and the host's model, within the limits of its columns.

    :param schema: the host's schema, or the contract's own.
    :param model: the host's mapped class.
    :param dialect: of the database the builds are in.
    """

    def __init__(self, schema: type[BuildSchema], model: type[Any], dialect: Dialect) -> None:
        self.schema = schema()
        #: Member to attribute, of the members that can be changed.
        self.attributes: dict[str, str] = {}
        #: Members that must be sent back as they are.
        self.protected: list[str] = []
        #: Member to attribute, of the members that show one attribute of the build itself.
        self.sources: dict[str, str] = {}
        #: Attribute to the name by which the mapper knows it, where its column writes None as a
        #: value: JSON has a null of its own.
        self.evaluating: dict[str, str] = {}
        #: Attribute to the relationships that lead elsewhere when it changes.
        self.leading: dict[str, list[str]] = {}
        #: Attributes that may come back from the database otherwise than they were assigned, and
        #: the names by which the mapper knows them.
        self.doubtful: dict[str, str] = {}
        self.id_attribute, self.id_field = field_of(self.schema, "id")
        self.id_field.required = True  # whatever the host says: no other member tells which build
        for name, field in self.schema.fields.items():
            member = member_of(name, field)
            attribute = attribute_of(name, field)
            if field.dump_only:
                self.protected.append(member)
            else:
                self.attributes[member] = attribute
            if field._CHECK_ATTRIBUTE and "." not in attribute:
                self.sources[member] = attribute
            if field is self.id_field or not field.dump_only:
                column = column_of(model, attribute)
                limit(field, column, dialect)
                if column is not None:
                    key = mapper_of(model).get_property_by_column(column).key
                    if not keeps(field, column, dialect):
                        self.doubtful[attribute] = key
                    if column.nullable and evaluates_none(column):
                        self.evaluating[attribute] = key
                    if relationships := led_by(model, column):
                        self.leading[attribute] = relationships
        self._admit_protected()
        #: Names by which a member that nobody knows could pass for an attribute.
        self._disguises = set(self.attributes.values()) - {*self.attributes, *self.protected}
        self._same_names = all(member == to for member, to in self.attributes.items())
        fast = compiles(self.schema)
        self._check: Check = compile_check(self.schema) if fast else _unsure
        #: Answers the document of a build.
        self.show: Show = compile_show(self.schema, model) if fast else self._dump

    def read(self, document: Document) -> Incoming:
        """Check a whole document.

        :raises InvalidBuild: with every problem of every member.
        """
        sure = self._check(document)
        if len(sure) == len(document) == len(self.schema.fields):
            values = document if self._same_names else self._values(document, sure)
            return Incoming(values[self.id_attribute], document, values)
        return self._load(document, sure)

    def read_id(self, text: str) -> Any:
        """Read the id of a path as the schema's own ``id`` member would.

        :param text: one segment of a path, decoded.
        :raises BuildNotFound: it is no id that a build could have.
        """
        candidates: list[Any] = [int(text), text] if _DECIMAL.fullmatch(text) else [text]
        for candidate in candidates:
            try:
                return self.id_field.deserialize(candidate)
            except ValidationError:
                continue
        raise BuildNotFound

    def show_id(self, build_id: Any) -> Any:
        """Answer the member ``id`` of the build that has this id."""
        return self.id_field.serialize(self.id_attribute, {self.id_attribute: build_id})

    def _dump(self, build: Any) -> Document:
        # What the build itself has may be changed in place.
        return {
            member: value if type(value) in SCALARS else deepcopy(value)
            for member, value in self.schema.dump(build).items()
        }

    def _values(self, document: Document, sure: list[str]) -> Document:
        return {self.attributes[member]: document[member] for member in sure}

    def _fields_of(self, members: set[str]) -> list[str] | None:
        every = self.schema.fields.items()
        return [name for name, field in every if member_of(name, field) in members] or None

    def _admit_protected(self) -> None:
        """Have ``load`` pass the protected members on, for hooks to see and the row to judge."""
        taken = set(self.attributes.values())
        for number, (name, field) in enumerate(self.schema.fields.items()):
            if not field.dump_only:
                continue
            member = member_of(name, field)
            if field is self.id_field:
                admitted, attribute = copy(field), self.id_attribute
            else:
                free = member not in taken and "." not in member
                admitted = fields.Raw(allow_none=True)
                attribute = member if free else f"protected {number}"
            admitted.required, admitted.dump_only = True, False
            admitted.data_key, admitted.attribute = member, attribute
            self.schema.on_bind_field(name, admitted)
            self.schema.load_fields[name] = admitted

    def _load(self, document: Document, sure: list[str]) -> Incoming:
        # marshmallow has only the rest to judge.
        passed = set(sure)
        sent = {member: value for member, value in document.items() if member not in passed}
        if self.schema.unknown == INCLUDE:
            sent = {member: sent[member] for member in sent if member not in self._disguises}
        try:
            values = self.schema.load(sent, partial=self._fields_of(passed))
        except ValidationError as error:
            problems = {str(name): list(_told(told)) for name, told in error.messages_dict.items()}
            order = dict.fromkeys([*self.schema.fields, *document, *problems])
            ordered = {name: problems[name] for name in order if name in problems}
            raise InvalidBuild(ordered) from error
        if not isinstance(values, Mapping):
            raise TypeError(
                f"{type(self.schema).__name__}.load() answered {type(values).__name__}: a"
                " post_load hook of a build schema must return the mapping it was given."
            )
        values = {**values, **self._values(document, sure)} if sure else values
        # Hooks may have changed what was sent, and a UUID may be written in two ways: what is
        # wanted is what the loaded values look like.
        wanted = {}
        for name, field in self.schema.load_fields.items():
            member = member_of(name, field)
            shown = field.serialize(name, values) if field._CHECK_ATTRIBUTE else missing
            if shown is not missing:
                wanted[member] = shown
            elif member in sent:
                wanted[member] = sent[member]
        return Incoming(values[self.id_attribute], wanted, values)


def _unsure(document: Document) -> list[str]:
    """Leave every document to the schema."""
    return []


def _told(messages: Any, path: str = "") -> Iterator[str]:
    """Flatten marshmallow's messages; those of nested fields tell where they belong."""
    if isinstance(messages, dict):
        for key, inner in messages.items():
            yield from _told(inner, f"{path}{key}: ")
    elif isinstance(messages, list):
        for inner in messages:
            yield from _told(inner, path)
    else:
        yield f"{path}{messages}"
