"""Documents to values of the host's model and back, by the schema, on one database."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy, deepcopy
from math import isfinite
from typing import Any, NamedTuple, cast

from marshmallow import RAISE, Schema, ValidationError, fields, missing
from sqlalchemy import Column
from sqlalchemy.engine import Dialect

from ..exceptions import BuildNotFound, InvalidBuild, Problems
from ..representation import SCALARS, Document, changed_members, same
from ..schema import (
    DIGITS,
    MISSING,
    AnyField,
    BuildSchema,
    Member,
    Text,
    UnixTime,
    WholeNumber,
    members_of,
)
from .fastpath import Check, Dump, compile_check, compile_dump, compiles, has_hooks
from .limits import LONE_SURROGATE, add_limits, returns_as_written
from .mapping import column_of, mapper_of, python_type

#: The kinds of field that dump values of one JSON type only, whatever the row has.
_OF_ONE_TYPE = frozenset({Text, UnixTime, WholeNumber})

#: What a field raises for a value that is not of the type of its column.
_UNDUMPABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class LoadedBuild(NamedTuple):
    """A whole build, loaded from a document."""

    #: The id as the model has it.
    id: Any
    #: All members, as they are dumped once they are stored.
    document: Document
    #: The values of the attributes, as the model has them.
    values: Mapping[str, Any]
    #: What is wrong with values. Before they are compared with the row, unchanged ones included.
    problems: Problems = {}
    #: Whether every value is valid, whatever the row has.
    valid: bool = False


class _Unchanged(fields.Raw):
    """Load a member that does not differ from the row as the row has it, without validation."""

    def __init__(self, value: Any, **options: Any) -> None:
        super().__init__(allow_none=True, **options)
        self._value = value

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return self._value


class _Alias(fields.Raw):
    """Load nothing for an unknown member that has the name of an attribute of another member.

    Whatever the schema does with unknown members, it would pass for the value of that attribute.
    """

    def __init__(self, attribute: str, schema: Schema) -> None:
        super().__init__(data_key=attribute)
        self._schema = schema

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if value is not missing and self._schema.unknown == RAISE:
            raise ValidationError(self._schema.error_messages["unknown"])
        return missing


class BuildCodec:
    """Translate between documents and the host's model, within the limits of its columns."""

    def __init__(self, schema: type[BuildSchema], model: type[Any], dialect: Dialect) -> None:
        self._model = model
        self.dialect = dialect
        self.schema: BuildSchema = self._limited(schema)
        self.members: dict[str, Member] = members_of(self.schema)
        #: Whether the schema has hooks, which may load and dump otherwise than its fields.
        self.has_hooks: bool = has_hooks(self.schema)
        self._id = self.members["id"]
        every = self.members.items()
        #: The members that must be sent back as they are.
        self.protected: list[str] = [key for key, member in every if member.protected]
        #: Member to attribute, of the members that can be changed.
        self.attributes: dict[str, str] = {
            key: one.attribute for key, one in every if not one.protected
        }
        #: Member to attribute, of the members that read one attribute of the build itself.
        self.sources: dict[str, str] = {
            key: member.attribute
            for key, member in every
            if member.reads_attribute and "." not in member.attribute
        }
        #: The columns behind the members.
        self.columns: dict[str, Column[Any]] = {
            key: column
            for key, member in every
            if (column := column_of(model, member.attribute)) is not None
        }
        #: The mapper's names of the same.
        self.properties: dict[str, str] = {
            key: mapper_of(model).get_property_by_column(column).key
            for key, column in self.columns.items()
        }
        #: The mapper's names of what may be another value in the database than in the session,
        #: once the build is flushed: inexact columns, and relationships.
        self.needs_refresh: list[str] = [one.key for one in mapper_of(model).relationships]
        for key, column in self.columns.items():
            if not returns_as_written(self.members[key].field, column, dialect):
                self.needs_refresh.append(self.properties[key])
        self._same_names = all(key == attribute for key, attribute in self.attributes.items())
        plain = compiles(self.schema)
        self._check: Check = compile_check(self.schema) if plain else _check_nothing
        #: Return the document of a build.
        self.dump: Dump = compile_dump(self.schema, model) if plain else self._dump

    def load(self, document: Document) -> LoadedBuild:
        """Check the form of a whole document, that is its members and their JSON types, and its id.

        :raises InvalidBuild: with all problems of the form.
        """
        valid = self._check(document)
        if len(valid) == len(document) == len(self.members):
            values = document if self._same_names else self._rename(document, valid)
            return LoadedBuild(values[self._id.attribute], document, values, valid=True)
        # marshmallow validates the members that can be changed and are not yet validated.
        values, problems = self._load(self.schema, document, valid)
        problems |= {key: [MISSING] for key in self.protected if key not in document}
        build_id = values.get(self._id.attribute, missing)
        if build_id is missing and "id" in document and "id" not in problems:
            try:
                build_id = self._id.field.deserialize(document["id"])
            except ValidationError as error:
                problems["id"] = [*_flatten(error.messages)]
        form = {key: problems[key] for key in problems if self._is_form(key, problems[key])}
        if form:
            order = dict.fromkeys([*self.members, *document, *form])
            raise InvalidBuild({key: form[key] for key in order if key in form})
        return LoadedBuild(build_id, document, values, problems)

    def load_values(self, loaded: LoadedBuild, build: Any, before: Document) -> LoadedBuild:
        """Judge the values of the members that differ from the row, and no others.

        :param build: the row.
        :param before: its document.
        """
        if loaded.valid:
            return loaded
        document, values, problems = loaded.document, loaded.values, loaded.problems
        differing = {*changed_members(before, document)}
        if unknown := differing - {*self.members}:
            differing = differing - unknown | self._made_of(unknown, loaded)
        if not differing:
            return loaded._replace(document=before, problems={})
        unchanged = {key for key in problems if key in self.attributes and key not in differing}
        if unchanged and self.has_hooks:
            # Once more, for the hooks: they did not run, and see the row's own values now.
            values, problems = self._load(self._keeping(unchanged, build), document, [])
        else:
            problems = {key: problems[key] for key in problems if key not in unchanged}
        fixed = {key: ["cannot be changed"] for key in self.protected if key in differing}
        # Hooks may change what was sent, and a UUID may be written in two ways: what is wanted is
        # what the loaded values are dumped as.
        wanted = {}
        for key, member in self.members.items():
            dumped = missing
            if key in self.sources and key in self.attributes and key not in unchanged:
                dumped = member.field.serialize(member.name, values)
                unchanged_by_hooks = key not in differing and dumped is not missing
                if unchanged_by_hooks and same(dumped, self.dump_member(build, key)):
                    dumped = before.get(key, missing)  # as the hooks dump it
            if dumped is missing:
                dumped = document.get(key, missing)
            if dumped is not missing:
                wanted[key] = dumped
        order = dict.fromkeys([*self.members, *problems])
        found = {**fixed, **problems}
        ordered = {key: found[key] for key in order if key in found}
        return LoadedBuild(loaded.id, wanted, values, ordered)

    def load_id(self, text: str, *, validate: bool = True) -> Any:
        """Load the id in a path or on a command line, by the member ``id``.

        :param text: one segment of a path, decoded.
        :param validate: whether the schema must allow it.
        :raises BuildNotFound: no build can have this id.
        """
        field = self._id.field
        if not validate:
            field = copy(field)
            field.validators = []
        candidates: list[Any] = [int(text), text] if DIGITS.fullmatch(text) else [text]
        for candidate in candidates:
            try:
                return field.deserialize(candidate)
            except ValidationError:
                continue
        raise BuildNotFound

    def dump_id(self, build_id: Any) -> Any:
        """Return the member ``id`` of the build that has this id."""
        try:
            return self._id.field.serialize(self._id.name, {self._id.attribute: build_id})
        except _UNDUMPABLE:
            return str(build_id)

    def dump_member(self, build: Any, key: str) -> Any:
        """Return one member of a build as its field dumps it, without the hooks of the schema."""
        member = self.members[key]
        return member.field.serialize(member.name, build, self.schema.get_attribute)

    def dump_members(self, build: Any, keys: Iterable[str]) -> Document:
        """Return these members of a build, those that there are, likewise."""
        found = {key: self.dump_member(build, key) for key in keys if key in self.members}
        return {key: _as_json(value) for key, value in found.items() if value is not missing}

    def _dump(self, build: Any) -> Document:
        try:
            dumped = dict(self.schema.dump(build))
        except _UNDUMPABLE:
            raw = self._dump_raw(build)
            if raw is None:
                raise
            dumped = raw
        if len(dumped) < len(self.members):
            for key in [key for key in self.protected if key not in dumped]:
                # Through a relationship that is None: the zero of the field, or null.
                member = self.members[key]
                dumped[key] = member.field.serialize(member.name, build, lambda *_: None)
            dumped = {key: dumped[key] for key in [*self.members, *dumped] if key in dumped}
        return {key: _as_json(value) for key, value in dumped.items()}

    def _dump_raw(self, build: Any) -> Document | None:
        """Return the document of a build with values that are not of the type of their column.

        They are dumped as text, and without hooks, which may not know them either. None: there are
        no such values.
        """
        dumped, texts = {}, {}
        for key, member in self.members.items():
            try:
                dumped[key] = self.dump_member(build, key)
            except _UNDUMPABLE:
                if "." in member.attribute:
                    # The other row cannot be loaded: the zero of the field, or null.
                    dumped[key] = texts[key] = member.field.serialize(
                        member.name, build, lambda *_: None
                    )
                    continue
                value = getattr(build, member.attribute)
                of_column = python_type(self.columns.get(key))
                if isinstance(value, of_column) and of_column is not object:
                    return None
                dumped[key] = texts[key] = str(value)
        known = {key: value for key, value in dumped.items() if value is not missing}
        return known if texts else None

    def _limited(self, schema: type[Schema]) -> BuildSchema:
        """Make an instance of a schema whose members have the limits of their columns."""
        limited: Any = schema()
        members = members_of(limited)
        for key, member in members.items():
            if key == "id":
                member.field.required = True  # no other member says which build is meant
            if not isinstance(member.field, _Unchanged) and (key == "id" or not member.protected):
                add_limits(member.field, column_of(self._model, member.attribute), self.dialect)
            if member.attribute not in members:
                limited.load_fields[f"alias of {key}"] = _Alias(member.attribute, limited)
        return cast(BuildSchema, limited)

    def _keeping(self, unchanged: Iterable[str], build: Any) -> BuildSchema:
        """Make a schema that loads some members as the row has them."""
        kept: dict[str, AnyField] = {}
        for key in unchanged:
            member, attribute = self.members[key], self.attributes[key]
            value = getattr(build, attribute)
            kept[member.name] = _Unchanged(value, attribute=attribute, data_key=key)
        return self._limited(type(self.schema).from_dict(kept))

    def _rename(self, document: Document, members: list[str]) -> Document:
        return {self.attributes[key]: document[key] for key in members}

    def _load(
        self, schema: BuildSchema, document: Document, valid: list[str]
    ) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Return the values of a document, and the problems of its members, by a schema."""
        skipped = {*valid, *self.protected}
        sent = {key: value for key, value in document.items() if key not in skipped}
        problems: dict[str, list[str]] = {}
        try:
            values: Any = schema.load(sent, partial=[self.members[key].name for key in valid])
        except ValidationError as error:
            values = error.valid_data if isinstance(error.valid_data, Mapping) else {}
            problems = {str(key): [*_flatten(one)] for key, one in error.messages_dict.items()}
        if not isinstance(values, Mapping):
            raise TypeError(
                f"{type(self.schema).__name__}.load() returned {type(values).__name__}: a"
                " post_load hook of a build schema must return the mapping that it was given."
            )
        return {**values, **self._rename(document, valid)}, problems

    def _made_of(self, unknown: set[str], loaded: LoadedBuild) -> set[str]:
        """List what differs because of unknown members, which a hook may rename, for example.

        :returns: nothing if the document is loaded in the same way without them; or else these
            members, and those whose problems are not of the values that were sent.
        """
        if not has_hooks(self.schema) and type(self.schema).load is BuildSchema.load:
            return set()
        document = {key: loaded.document[key] for key in loaded.document if key not in unknown}
        try:
            values, problems = self._load(self.schema, document, [])
        except Exception:  # noqa: BLE001 (the host's code may need what is left out)
            values, problems = {}, {}
        # repr(): 1 and True are equal.
        if repr((values, problems)) == repr((loaded.values, loaded.problems)):
            return set()
        found = loaded.problems
        return unknown | {
            key for key in found if found[key] != self._problems_of(key, loaded.document)
        }

    def _problems_of(self, key: str, document: Document) -> list[str]:
        """List what is wrong with one value by itself, without hooks."""
        try:
            if key in self.members:
                self.members[key].field.deserialize(document.get(key, missing))
        except ValidationError as error:
            return [*_flatten(error.messages)]
        return []

    def _is_form(self, key: str, problems: list[str]) -> bool:
        """Check whether a member is missing or unknown, or has another JSON type than it ever has.

        The types are compared: a subclass may dump and load anything.
        """
        if key not in self.members:
            return self.schema.error_messages["unknown"] in problems
        if key == "id":
            return True
        messages = self.members[key].field.error_messages
        words = {messages["required"]}
        if type(self.members[key].field) in _OF_ONE_TYPE and not has_hooks(self.schema):
            words |= {messages["null"], messages["invalid"]}
        return not words.isdisjoint(problems)


def _as_json(value: Any) -> Any:
    """Copy a value, and replace what JSON cannot represent: NaN, infinity, lone surrogates."""
    if isinstance(value, dict):
        return {_as_json(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, str) and LONE_SURROGATE.search(value):
        return LONE_SURROGATE.sub("\ufffd", value)
    return value if type(value) in SCALARS else deepcopy(value)


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
