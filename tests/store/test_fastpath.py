"""The fast path takes and answers exactly what marshmallow would, or leaves it to marshmallow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    ValidationError,
    fields,
    post_dump,
    post_load,
    pre_dump,
    pre_load,
    validate,
    validates,
    validates_schema,
)
from sqlalchemy.engine import Dialect, make_url

from flask_build_admin import BuildSchema, Text, UnixTime, WholeNumber
from flask_build_admin.exceptions import InvalidBuild
from flask_build_admin.store.codec import BuildCodec, LoadedBuild
from flask_build_admin.store.fastpath import compile_check, compiles
from tests.support.hosts import OCTOCAT, Build, model_of

DIALECTS: dict[str, Dialect] = {
    name: make_url(f"{name}://").get_dialect()()
    for name in ("sqlite", "postgresql", "mysql", "mariadb")
}

examples = settings(max_examples=300)


class Swapped(BuildSchema):
    """Two members whose attributes have other names."""

    title = Text(attribute="message")
    message = Text(attribute="title")


class Renamed(BuildSchema):
    """A member with another name than its field."""

    number = WholeNumber(minimum=1, data_key="build")


class Fewer(BuildSchema):
    """Some members are left out."""

    class Meta:
        exclude = ("deploy", "host", "runtime", "distribution")


class Tighter(BuildSchema):
    """Limits of the host's own, beyond those of the columns."""

    number = WholeNumber(validate=validate.Range(min=3, max=1000))
    parent = WholeNumber(validate=[validate.Range(max=20), validate.Range(min=2.5)])
    title = Text(validate=validate.Length(min=2, max=5))
    message = Text(validate=[validate.Length(max=300), validate.Length(min=1)])


KNOWN: list[type[BuildSchema]] = [BuildSchema, Swapped, Renamed, Fewer, Tighter]

CODECS = {
    f"{schema.__name__} on {name}": BuildCodec(schema, Build, dialect)
    for schema in KNOWN
    for name, dialect in DIALECTS.items()
}


def slow(schema: type[BuildSchema]) -> type[BuildSchema]:
    """Make the same schema, which the fast path does not know."""

    class Slow(schema):  # type: ignore[misc, valid-type]
        def get_attribute(self, *args: Any, **kwargs: Any) -> Any:
            return super().get_attribute(*args, **kwargs)

    return Slow


SLOW_CODECS = {
    f"{schema.__name__} on {name}": BuildCodec(slow(schema), Build, dialect)
    for schema in KNOWN
    for name, dialect in DIALECTS.items()
}

names = st.sampled_from(list(CODECS))

WILD_TEXT = st.text(st.characters(), max_size=10)
WILD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    WILD_TEXT,
    st.lists(st.integers(), max_size=2),
    st.dictionaries(WILD_TEXT, st.none(), max_size=2),
)

#: Numbers at the limits of the columns and of the schemas above, and what Python takes for some.
NUMBERS: list[Any] = [
    limit + step for limit in (0, 3, 20, 1000, 2**31, 2**63) for step in (-1, 0, 1)
] + [None, True, False, 1.0, 7.0, "7", []]

#: Texts that are as long as the columns and the schemas above allow, and one more.
TEXTS: list[Any] = [
    char * length
    for char in ("a", "é", "\u20ac", "\U0001f600", "\0", "\ud800", "\udfff")
    for length in (0, 1, 2, 5, 6, 20, 21, 40, 41, 250, 251, 300, 301)
] + [None, True, 7, ["a"]]

#: Texts that are as many bytes as MariaDB's TEXT holds, and one more.
LONG_TEXTS = [
    char * length
    for char, size in (("a", 1), ("é", 2), ("\u20ac", 3), ("\U0001f600", 4))
    for length in (65_535 // size, 65_535 // size + 1)
]

NEAR = st.sampled_from(NUMBERS + TEXTS)


def members(codec: BuildCodec) -> dict[str, fields.Field[Any]]:
    return {field.data_key or name: field for name, field in codec.schema.fields.items()}


def plain_document(codec: BuildCodec) -> dict[str, Any]:
    """Make a document that surely fits the schemas above."""
    return {
        member: 7 if isinstance(field, WholeNumber) else "é"
        for member, field in members(codec).items()
    } | {"title": "plain"}


def documents(codec: BuildCodec) -> st.SearchStrategy[dict[str, Any]]:
    """Make valid documents, nearly valid ones, and wild ones."""
    plain = plain_document(codec)
    known = st.sampled_from(list(plain))
    changes = st.dictionaries(known | WILD_TEXT, WILD | NEAR, max_size=3)
    left_out = st.sets(known, max_size=1)
    return changes | st.builds(
        lambda changed, gone: {k: v for k, v in (plain | changed).items() if k not in gone},
        changes,
        left_out,
    )


def exact(value: Any) -> Any:
    """Tell apart what Python calls equal: 1, 1.0 and True."""
    if isinstance(value, dict):
        return {key: exact(inner) for key, inner in value.items()}
    return type(value), repr(value)


def load(codec: BuildCodec, document: dict[str, Any]) -> LoadedBuild:
    """Load a document of which every member differs from the row.

    :raises InvalidBuild: a member has a problem.
    """
    loaded = codec.load_values(codec.load(document), Build(), {})
    if loaded.problems:
        raise InvalidBuild(loaded.problems)
    return loaded


def assert_agrees(codec: BuildCodec, document: dict[str, Any]) -> None:
    """See that a document is read only if marshmallow loads it, and to the same values."""
    try:
        loaded = codec.schema.load(document)
    except ValidationError:
        with pytest.raises(InvalidBuild):
            load(codec, document)
    else:
        assert exact(dict(load(codec, document).values)) == exact(loaded)


@examples
@given(data=st.data(), name=names)
def test_the_fast_path_takes_only_what_the_schema_loads(data: st.DataObject, name: str) -> None:
    assert_agrees(CODECS[name], data.draw(documents(CODECS[name])))


@pytest.mark.parametrize("name", [name for name in CODECS if name.startswith(("Build", "Tight"))])
def test_the_fast_path_takes_at_each_limit_only_what_the_schema_loads(name: str) -> None:
    codec = CODECS[name]
    plain = plain_document(codec)
    for member, field in members(codec).items():
        long_texts = LONG_TEXTS if member in {"error", "message"} else []
        for value in NUMBERS if isinstance(field, WholeNumber) else TEXTS + long_texts:
            assert_agrees(codec, plain | {member: value})


@pytest.mark.parametrize("name", CODECS)
def test_a_plain_document_is_all_for_the_fast_path(name: str) -> None:
    codec = CODECS[name]
    assert compiles(codec.schema)
    plain = plain_document(codec)
    assert len(compile_check(codec.schema)(plain)) == len(plain)


def outcome(codec: BuildCodec, document: dict[str, Any]) -> Any:
    """Answer all that comes of a document."""
    try:
        incoming = load(codec, document)
    except InvalidBuild as error:
        return str(error), error.fields
    return exact(incoming.id), exact(incoming.document), exact(dict(incoming.values))


@examples
@given(data=st.data(), name=names)
def test_a_document_is_judged_alike_with_and_without_the_fast_path(
    data: st.DataObject, name: str
) -> None:
    document = data.draw(documents(CODECS[name]))
    assert not compiles(SLOW_CODECS[name].schema)
    assert outcome(CODECS[name], document) == outcome(SLOW_CODECS[name], document)


class Odd(str):
    """Text of a type of the host's own."""


#: What an attribute of a model may hold before it was flushed.
HELD = st.one_of(
    st.none(),
    st.integers(),
    WILD_TEXT,
    st.booleans(),
    st.floats(),
    st.decimals(),
    st.builds(Odd, WILD_TEXT),
    st.datetimes(),
    st.binary(max_size=3),
)


@examples
@given(data=st.data(), name=names)
def test_a_row_is_shown_as_the_schema_dumps_it(data: st.DataObject, name: str) -> None:
    codec = CODECS[name]
    columns = st.fixed_dictionaries(
        {
            k: st.none() | (st.integers() if isinstance(v, int) else st.text())
            for k, v in OCTOCAT.items()
        }
    )
    held = data.draw(st.dictionaries(st.sampled_from(list(OCTOCAT)), HELD, max_size=2))
    build = Build(**data.draw(columns) | held)

    def shown(show: Callable[[Any], Any]) -> Any:
        try:
            return [(member, exact(value)) for member, value in show(build).items()]
        except (TypeError, ValueError, ArithmeticError) as error:
            return type(error)

    expected = shown(codec.schema.dump)
    assert shown(codec.dump) == expected
    assert shown(SLOW_CODECS[name].dump) == expected


def test_a_schema_may_have_one_member_only() -> None:
    class OnlyTheId(BuildSchema):
        class Meta:
            fields = ("id",)

    codec = BuildCodec(OnlyTheId, Build, DIALECTS["sqlite"])
    assert load(codec, {"id": 1}).document == {"id": 1}
    assert codec.dump(Build(**OCTOCAT)) == {"id": 1}


def nothing(value: Any) -> None:
    """Validate whatever it is given."""


class Negative(WholeNumber):
    """A number of the host's own."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        return -super()._deserialize(value, *args, **kwargs)


class Shout(Text):
    """Text of the host's own."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return str(super()._deserialize(value, *args, **kwargs)).upper()


class Even(validate.Range):
    """A validator of the host's own."""

    def __call__(self, value: Any) -> Any:
        if value % 2:
            raise ValidationError("odd")
        return super().__call__(value)


#: Fields that the fast path does not know.
FIELDS: dict[str, fields.Field[Any]] = {
    "a_field_of_marshmallow": fields.Integer(strict=True, required=True),
    "text_of_marshmallow": fields.String(required=True),
    "a_time": UnixTime(),
    "a_number_of_the_host": Negative(),
    "text_of_the_host": Shout(),
    "a_function_as_validator": WholeNumber(validate=nothing),
    "a_validator_of_the_host": WholeNumber(validate=Even(min=0)),
    "a_pattern": Text(validate=validate.Regexp("a+")),
    "a_choice": Text(validate=validate.OneOf(["a"])),
    "a_length_that_must_be_equal": Text(validate=validate.Length(equal=3)),
    "a_known_validator_beside_another": Text(validate=[validate.Length(min=1), nothing]),
    "a_range_without_its_least": WholeNumber(validate=validate.Range(min=1, min_inclusive=False)),
    "a_range_without_its_greatest": WholeNumber(
        validate=validate.Range(max=9, max_inclusive=False)
    ),
    "a_range_of_text": Text(validate=validate.Range(min="a", max="b")),
    "both_validators_in_one": WholeNumber(
        validate=validate.And(validate.Range(min=1), validate.Range(max=9))
    ),
    "null_allowed": WholeNumber(allow_none=True),
    "not_required": WholeNumber(required=False),
    "a_default": WholeNumber(required=False, load_default=7),
    "protected": WholeNumber(dump_only=True),
    "a_constant": fields.Constant(1, dump_only=True),
    "a_number_shown_as_text": WholeNumber(as_string=True),
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_schema_with_an_unknown_field_is_left_to_marshmallow(
    dialect: Dialect, field: fields.Field[Any]
) -> None:
    member = "message" if isinstance(field, fields.String) else "number"
    schema: type[BuildSchema] = type("Host", (BuildSchema,), {member: field})
    assert not compiles(BuildCodec(schema, Build, dialect).schema)


class PreLoad(BuildSchema):
    @pre_load
    def hook(self, data: Any, **kwargs: Any) -> Any:
        return data | {"title": "from the hook"}


class PostLoad(BuildSchema):
    @post_load
    def hook(self, data: Any, **kwargs: Any) -> Any:
        return data | {"title": "from the hook"}


class Load(BuildSchema):
    def load(self, data: Any, **options: Any) -> Any:
        return super().load(data | {"title": "from the hook"}, **options)


class PreDump(BuildSchema):
    @pre_dump
    def hook(self, build: Any, **kwargs: Any) -> Any:
        return {name: getattr(build, name) for name in OCTOCAT} | {"title": "from the hook"}


class PostDump(BuildSchema):
    @post_dump
    def hook(self, data: Any, **kwargs: Any) -> Any:
        return data | {"title": "from the hook"}


class Dump(BuildSchema):
    def dump(self, obj: Any, **options: Any) -> Any:
        return super().dump(obj, **options) | {"title": "from the hook"}


class GetAttribute(BuildSchema):
    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        return "from the hook" if attr == "title" else super().get_attribute(obj, attr, default)


class ValidatesMember(BuildSchema):
    @validates("title")
    def hook(self, value: Any, **kwargs: Any) -> None:
        raise ValidationError("refused by the hook")


class ValidatesSchema(BuildSchema):
    @validates_schema
    def hook(self, data: Any, **kwargs: Any) -> None:
        raise ValidationError("refused by the hook", "title")


class HandleError(BuildSchema):
    def handle_error(self, error: ValidationError, *args: Any, **kwargs: Any) -> None:
        raise ValidationError({"title": ["refused by the hook"]})


class Excluding(BuildSchema):
    class Meta:
        unknown = EXCLUDE


class Including(BuildSchema):
    class Meta:
        unknown = INCLUDE


WAYS_IN: list[type[BuildSchema]] = [PreLoad, PostLoad, Load]
WAYS_OUT: list[type[BuildSchema]] = [PreDump, PostDump, Dump, GetAttribute]
REFUSALS: list[type[BuildSchema]] = [ValidatesMember, ValidatesSchema, HandleError]
UNKNOWN: list[type[BuildSchema]] = [Excluding, Including]


@pytest.mark.parametrize("schema", [*WAYS_IN, *WAYS_OUT, *REFUSALS, *UNKNOWN])
def test_a_schema_with_words_of_its_own_is_left_to_marshmallow(schema: type[BuildSchema]) -> None:
    assert not compiles(BuildCodec(schema, Build, DIALECTS["sqlite"]).schema)


@pytest.mark.parametrize("schema", WAYS_IN)
def test_what_changes_a_document_on_its_way_in_is_heard(schema: type[BuildSchema]) -> None:
    codec = BuildCodec(schema, Build, DIALECTS["sqlite"])
    incoming = load(codec, OCTOCAT)
    assert incoming.values["title"] == "from the hook"
    assert incoming.document == OCTOCAT | {"title": "from the hook"}


@pytest.mark.parametrize("schema", WAYS_OUT)
def test_what_changes_a_build_on_its_way_out_is_heard(schema: type[BuildSchema]) -> None:
    codec = BuildCodec(schema, Build, DIALECTS["sqlite"])
    assert codec.dump(Build(**OCTOCAT)) == OCTOCAT | {"title": "from the hook"}


@pytest.mark.parametrize("schema", REFUSALS)
def test_what_refuses_a_document_is_heard(schema: type[BuildSchema]) -> None:
    codec = BuildCodec(schema, Build, DIALECTS["sqlite"])
    document = OCTOCAT | {"number": 0} if schema is HandleError else OCTOCAT
    with pytest.raises(InvalidBuild) as refused:
        load(codec, document)
    assert refused.value.fields == {"title": ["refused by the hook"]}


@pytest.mark.parametrize("schema", UNKNOWN)
def test_what_a_schema_says_of_unknown_members_is_heard(schema: type[BuildSchema]) -> None:
    codec = BuildCodec(schema, Build, DIALECTS["sqlite"])
    incoming = load(codec, OCTOCAT | {"extra": 1})
    assert {member: incoming.document[member] for member in OCTOCAT} == OCTOCAT


def test_a_build_that_answers_its_attributes_itself_is_asked() -> None:
    def louder(self: Any, name: str) -> Any:
        value = object.__getattribute__(self, name)
        return value.upper() if name == "title" else value

    model = model_of(__getattribute__=louder)
    codec = BuildCodec(BuildSchema, model, DIALECTS["sqlite"])
    assert codec.dump(model(**OCTOCAT)) == OCTOCAT | {"title": OCTOCAT["title"].upper()}
