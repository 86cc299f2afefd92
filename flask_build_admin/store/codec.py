"""Documents to values of the host's model and back, by the schema, on one database."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from marshmallow import INCLUDE, ValidationError, missing
from sqlalchemy.engine import Dialect

from ..exceptions import BuildNotFound, InvalidBuild
from ..representation import SCALARS, Document
from ..schema import MISSING, BuildSchema, members_of
from .fastpath import Check, Dump, compile_check, compile_dump, compiles
from .limits import add_limits, returns_as_written
from .mapping import column_of, mapper_of

_DECIMAL = re.compile("0|[1-9][0-9]{0,99}")


class LoadedBuild(NamedTuple):
    """A whole build that can be stored."""

    #: The id as the model has it.
    id: Any
    #: All members, as they are dumped once they are stored.
    document: Document
    #: The values of the attributes, as the model has them.
    values: Mapping[str, Any]


class BuildCodec:
    """Translate between documents and the host's model, within the limits of its columns."""

    def __init__(self, schema: type[BuildSchema], model: type[Any], dialect: Dialect) -> None:
        self.schema = schema()
        self.members = members_of(self.schema)
        self._id = self.members["id"]
        self._id.field.required = True  # in any schema: no other member says which build is meant
        every = self.members.items()
        #: The members that must be sent back as they are.
        self.protected = [key for key, member in every if member.protected]
        #: Member to attribute, of the members that can be changed.
        self.attributes = {key: one.attribute for key, one in every if not one.protected}
        #: Member to attribute, of the members that read one attribute of the build itself.
        self.sources = {
            key: member.attribute
            for key, member in every
            if member.reads_attribute and "." not in member.attribute
        }
        #: The mapper's names of what may be another value in the database than in the session,
        #: once the build is flushed: inexact columns, and relationships.
        self.needs_refresh = [one.key for one in mapper_of(model).relationships]
        for member in self.members.values():
            column = column_of(model, member.attribute)
            if member is self._id or not member.protected:
                add_limits(member.field, column, dialect)
            if column is not None and not returns_as_written(member.field, column, dialect):
                self.needs_refresh.append(mapper_of(model).get_property_by_column(column).key)
        # Names by which an unknown member could pass for an attribute.
        self._aliases = {*self.attributes.values(), self._id.attribute} - {*self.members}
        self._same_names = all(key == attribute for key, attribute in self.attributes.items())
        plain = compiles(self.schema)
        self._check: Check = compile_check(self.schema) if plain else _check_nothing
        #: Return the document of a build.
        self.dump: Dump = compile_dump(self.schema, model) if plain else self._dump

    def load(self, document: Document) -> LoadedBuild:
        """Validate a whole document.

        :raises InvalidBuild: with all problems of all members.
        """
        valid = self._check(document)
        if len(valid) == len(document) == len(self.members):
            values = document if self._same_names else self._rename(document, valid)
            return LoadedBuild(values[self._id.attribute], document, values)
        return self._load(document, valid)

    def load_id(self, text: str) -> Any:
        """Validate the id in a path or on a command line, by the member ``id``.

        :param text: one segment of a path, decoded.
        :raises BuildNotFound: no build can have this id.
        """
        candidates: list[Any] = [int(text), text] if _DECIMAL.fullmatch(text) else [text]
        for candidate in candidates:
            try:
                return self._id.field.deserialize(candidate)
            except ValidationError:
                continue
        raise BuildNotFound

    def dump_id(self, build_id: Any) -> Any:
        """Return the member ``id`` of the build that has this id."""
        return self._id.field.serialize(self._id.name, {self._id.attribute: build_id})

    def dump_member(self, build: Any, key: str) -> Any:
        """Return one member of a build as its field dumps it, without the hooks of the schema."""
        member = self.members[key]
        return member.field.serialize(member.name, build, self.schema.get_attribute)

    def _dump(self, build: Any) -> Document:
        # The caller may change the document in place, but not what the build itself holds.
        return {
            key: value if type(value) in SCALARS else deepcopy(value)
            for key, value in self.schema.dump(build).items()
        }

    def _rename(self, document: Document, members: list[str]) -> Document:
        return {self.attributes[key]: document[key] for key in members}

    def _load(self, document: Document, valid: list[str]) -> LoadedBuild:
        # marshmallow validates the members that can be changed and are not yet validated.
        skipped = {*valid, *self.protected}
        sent = {key: value for key, value in document.items() if key not in skipped}
        if self.schema.unknown == INCLUDE:
            sent = {key: sent[key] for key in sent if key not in self._aliases}
        problems: dict[str, list[str]] = {
            key: [MISSING] for key in self.protected if key not in document
        }
        values: Any = {}
        try:
            values = self.schema.load(sent, partial=[self.members[key].name for key in valid])
        except ValidationError as error:
            problems |= {str(key): list(_flatten(one)) for key, one in error.messages_dict.items()}
        build_id = None
        if self._id.protected and "id" in document:
            try:
                build_id = self._id.field.deserialize(document["id"])
            except ValidationError as error:
                problems["id"] = list(_flatten(error.messages))
        if problems:
            order = dict.fromkeys([*self.members, *document, *problems])
            raise InvalidBuild({key: problems[key] for key in order if key in problems})
        if not isinstance(values, Mapping):
            raise TypeError(
                f"{type(self.schema).__name__}.load() returned {type(values).__name__}: a"
                " post_load hook of a build schema must return the mapping that it was given."
            )
        values = {**values, **self._rename(document, valid)}
        if not self._id.protected:
            build_id = values[self._id.attribute]
        # Hooks may change what was sent, and a UUID may be written in two ways: the document has
        # what the loaded values are dumped as.
        wanted = {}
        for key, member in self.members.items():
            dumped = missing
            if member is self._id:
                dumped = self.dump_id(build_id)
            elif member.reads_attribute and not member.protected:
                dumped = member.field.serialize(member.name, values)
            if dumped is not missing:
                wanted[key] = dumped
            elif key in document:
                wanted[key] = document[key]
        return LoadedBuild(build_id, wanted, values)


def _check_nothing(document: Document) -> list[str]:
    """Leave every member to the schema."""
    return []


def _flatten(messages: Any, path: str = "") -> Iterator[str]:
    """Flatten marshmallow's messages; those of nested fields say where they belong."""
    if isinstance(messages, dict):
        for key, inner in messages.items():
            yield from _flatten(inner, f"{path}{key}: ")
    elif isinstance(messages, list):
        for inner in messages:
            yield from _flatten(inner, path)
    else:
        yield f"{path}{messages}"
