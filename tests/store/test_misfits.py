"""What in a schema does not fit the model is in one error, with a schema that would fit."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import Schema, fields, post_load
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.hybrid import hybrid_method, hybrid_property
from sqlalchemy.orm import column_property, configure_mappers, relationship, synonym

from flask_build_admin import BuildAdmin, BuildSchema, Choice, Flag, Text, UnixTime, WholeNumber
from flask_build_admin.exceptions import ConfigurationError
from flask_build_admin.schema import members_of
from tests.support.hosts import Host, anybody, model_of, row_of


class State(enum.Enum):
    RUNNING = "running"
    DONE = "done"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Loud(str, enum.Enum):  # noqa: UP042 (hosts have it)
    RUNNING = "running"


class ChoiceType(sa.types.TypeDecorator[Any]):
    """What SQLAlchemy-Utils' type of this name says of itself."""

    impl = sa.Unicode(20)
    cache_ok = True

    def __init__(self, choices: Any) -> None:
        super().__init__()
        self.choices = choices

    @property
    def python_type(self) -> type[Any]:
        return str


class Moment(sa.types.TypeDecorator[Any]):
    """A type of which nobody knows what it holds."""

    impl = sa.DateTime
    cache_ok = True


class Parsed(Text):
    """A host's own, which loads what the column holds."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return datetime.fromisoformat(value)


class Seconds(WholeNumber):
    """A host's own, which dumps what the column holds."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return int(value.timestamp())


class OnOff(fields.Boolean):
    """A host's own, which stores text."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return "on" if super()._deserialize(value, *args, **kwargs) else "off"


class Coded(Choice):
    """Likewise, of a Choice."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return str(super()._deserialize(value, *args, **kwargs))


class Written(fields.Date):
    """Likewise, by the method that all fields have in public."""

    def deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return str(super().deserialize(value, *args, **kwargs))


class Called(Text):
    """A host's own, which reads a method."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value()


class Plain(Schema):
    name = fields.String()


class Made(Plain):
    """A schema that loads an object."""

    @post_load
    def make(self, data: Any, **kwargs: Any) -> Any:
        return data["name"]


def make(model: type[Any], schema: type[BuildSchema] = BuildSchema) -> BuildAdmin:
    return BuildAdmin(model, lambda: None, anybody, schema=schema)  # type: ignore[arg-type, return-value]


def misfits(model: type[Any], schema: type[BuildSchema] = BuildSchema) -> tuple[list[str], str]:
    """Return what is told of each member, and the schema to paste."""
    with pytest.raises(ConfigurationError) as caught:
        make(model, schema)
    told, _, pasted = str(caught.value).partition("as far as it can be guessed. Pass it by ")
    name, pasted = pasted.split(":\n\n", 1)
    assert f"\nclass {name.removeprefix('schema=')}(" in pasted
    return [line[2:] for line in told.splitlines() if line.startswith("* ")], pasted


def fitted(model: type[Any], pasted: str, **known: Any) -> BuildSchema:
    """Run the schema to paste, make a blueprint with it, and return it."""
    names = dict(known)
    exec(pasted, names)
    [schema] = [one for name, one in names.items() if name.startswith("Own")]
    make(model, schema)
    return schema()  # type: ignore[no-any-return]


def field_of(schema: BuildSchema, key: str) -> Any:
    return members_of(schema)[key].field


def test_all_are_in_one_error_that_ends_with_a_schema_to_paste() -> None:
    model = model_of(
        "deploy",
        "runtime",
        "base_ref",
        "finished",
        "enqueued",
        finished_at=sa.Column(sa.DateTime),
        build_enqueued=sa.Column(sa.BigInteger),
        runner=sa.Column(sa.String(20)),
        started=sa.Column(sa.DateTime),
        status=sa.Column(sa.Enum(State)),
        title=property(lambda self: "x"),
        message=sa.Column(sa.String(20), sa.Computed("'x'")),
    )
    told, pasted = misfits(model)
    assert told == [
        "BuildSchema.status does not fit, Build.status holds State: make the member a"
        " fields.Enum(State, by_value=True, required=True).",
        "BuildSchema.enqueued, .finished, .deploy, .base_ref, .runtime: no attribute of this name"
        " is on the model Build. Name the right one with attribute=, make the member a"
        " fields.Constant(…, dump_only=True), or leave it out of Meta.fields.",
        "BuildSchema.started does not fit, Build.started holds datetime: make the member a"
        " UnixTime().",
        "BuildSchema.title cannot be stored, Build.title has no setter: add one, or make the"
        " member dump_only=True.",
        "BuildSchema.message cannot be stored, Build.message is generated by the database: make"
        " the member dump_only=True.",
    ]
    assert (
        pasted
        == f"""\
from flask_build_admin import BuildSchema, Text, UnixTime, WholeNumber
from marshmallow import fields
from {__name__} import State


class OwnBuildSchema(BuildSchema):
    class Meta(BuildSchema.Meta):
        fields = ("id", "repo_id", "number", "parent", "event", "status", "error",
                  "enqueued", "created", "started", "finished", "clone", "source",
                  "title", "message", "commit", "sender", "author", "branch", "ref",
                  "host", "distribution",)

    status = fields.Enum(State, by_value=True, required=True)
    enqueued = WholeNumber(attribute="build_enqueued")
    started = UnixTime()
    finished = UnixTime(attribute="finished_at")
    title = Text(dump_only=True)
    message = Text(dump_only=True)"""
    )
    schema = fitted(model, pasted)
    assert {*BuildSchema().fields} - {*schema.fields} == {"deploy", "runtime", "base_ref"}
    assert type(schema.fields["started"]) is UnixTime


@pytest.mark.parametrize(
    ("column", "field", "fits"),
    [
        (sa.DateTime(), WholeNumber(), "UnixTime()"),
        (sa.DateTime(), Text(), "UnixTime()"),
        (sa.DateTime(), fields.Integer(required=True), "UnixTime()"),
        (sa.Date(), UnixTime(), "fields.Date(required=True)"),
        (sa.Time(), Text(), "fields.Time(required=True)"),
        (sa.Interval(), WholeNumber(), "fields.TimeDelta(required=True)"),
        (sa.Integer(), UnixTime(), "WholeNumber()"),
        (sa.Integer(), Text(), "WholeNumber()"),
        (sa.String(9), WholeNumber(), "Text()"),
        (sa.String(9), Flag(), "Text()"),
        (sa.Boolean(), Text(), "Flag()"),
        (sa.Boolean(), UnixTime(), "Flag()"),
        (sa.Uuid(), Text(), "fields.UUID(required=True)"),
        (sa.Float(), Text(), "fields.Float(required=True)"),
        (sa.Numeric(), Text(), "fields.Float(required=True)"),
        (sa.Enum(Level), WholeNumber(), "fields.Enum(Level, required=True)"),
        (sa.Enum(Loud), Text(), "fields.Enum(Loud, by_value=True, required=True)"),
        (sa.Integer(), Choice({"on": "1"}), "WholeNumber()"),
        (sa.String(9), Choice({"on": 1}), "Text()"),
        (
            sa.Enum(State),
            Choice({"on": "DONE"}),
            "fields.Enum(State, by_value=True, required=True)",
        ),
        (ChoiceType(State), Text(), "fields.Enum(State, by_value=True, required=True)"),
        (ChoiceType((("a", "Admin"), ("u", "User"))), Text(), "Choice({'a': 'a', 'u': 'u'})"),
        (sa.DateTime(), WholeNumber(dump_only=True), "UnixTime(dump_only=True)"),
        (sa.String(9), fields.Enum(State, dump_only=True), "Text(dump_only=True)"),
        # A row has a plain text or number, whatever was assigned.
        (sa.String(9), fields.Enum(Loud, required=True), "Text()"),
        (sa.Integer(), fields.Enum(Level, required=True), "WholeNumber()"),
        (sa.String(9), fields.UUID(required=True), "Text()"),
        (sa.String(9), fields.Boolean(required=True), "Text()"),
        (sa.String(9), fields.IP(required=True), "Text()"),
        (sa.String(9), fields.IPv6Interface(required=True), "Text()"),
        (sa.String(9), fields.Time(required=True), "Text()"),
        (sa.String(9), fields.Decimal(required=True), "Text()"),
        (sa.String(9), fields.Dict(required=True), "Text()"),
        (sa.String(9), fields.List(fields.String(), required=True), "Text()"),
        (sa.String(9), fields.List(Parsed(), required=True), "Text()"),
        (sa.String(9), fields.Tuple([fields.String()], required=True), "Text()"),
        (sa.String(9), fields.Nested(Plain, required=True), "Text()"),
        (sa.String(9), fields.Nested(Plain(), required=True), "Text()"),
        (sa.String(9), fields.Nested({"a": fields.String()}, required=True), "Text()"),
        (sa.Integer(), fields.DateTime(required=True), "WholeNumber()"),
        (sa.Integer(), fields.AwareDateTime(required=True), "WholeNumber()"),
        (sa.Integer(), fields.NaiveDateTime(required=True), "WholeNumber()"),
        (sa.Integer(), fields.TimeDelta(required=True), "WholeNumber()"),
        (sa.DateTime(), fields.Date(required=True), "UnixTime()"),
        (sa.Date(), fields.DateTime(required=True), "fields.Date(required=True)"),
        (sa.LargeBinary(), Text(), None),
        (postgresql.ARRAY(sa.Integer), Text(), None),
    ],
)
def test_a_field_that_loads_what_the_column_does_not_hold(
    column: sa.types.TypeEngine[Any], field: Any, fits: str | None
) -> None:
    model = model_of("title", subject=sa.Column(column), title=synonym("subject"))
    schema = type("Schema", (BuildSchema,), {"title": field, "__qualname__": "<locals>.Schema"})
    [line], pasted = misfits(model, schema)
    way_out = fits or "field of your own, or leave it out"
    assert line.startswith("Schema.title does not fit, Build.title holds ")
    assert line.endswith(f": make the member a {way_out}.")
    assert (f"    title = {fits}" in pasted.splitlines()) == (fits is not None)
    assert ("title" in fitted(model, pasted, Schema=schema).fields) == (fits is not None)


@pytest.mark.parametrize(
    ("column", "field"),
    [
        (sa.Boolean(), WholeNumber()),
        (sa.SmallInteger(), Flag()),
        (sa.Numeric(12, 0), WholeNumber()),
        (sa.Float(), Choice({"half": 0.5, "one": 1})),
        (sa.Boolean(), Choice({"on": True, "off": 0, "unknown": None})),
        (sa.Enum(State), Choice({"on": State.DONE})),
        (sa.Enum("on", "off"), Text()),
        (sa.Uuid(), fields.UUID(required=True)),
        (sa.Uuid(as_uuid=False), Text()),
        (Moment(), WholeNumber()),
        (Moment(), Choice({"on": 1})),
        (ChoiceType(State), Choice({"on": State.DONE})),
        (ChoiceType((("a", "Admin"),)), Choice({"a": "a"})),
        (ChoiceType(("a", "b")), Text()),
        (sa.DateTime(), fields.DateTime(required=True)),
        (sa.DateTime(), Text(dump_only=True)),
        (sa.DateTime(), WholeNumber(attribute="repo.title", dump_only=True)),
        (sa.DateTime(), Parsed()),
        (sa.Integer(), WholeNumber(zero_is_null=True)),
        (sa.JSON(), fields.Raw(required=True)),
        (sa.Enum(State), fields.Enum(State, required=True)),
        (sa.Enum(Loud), fields.Enum(Loud, required=True)),
        (sa.Enum(Level), fields.Enum(Level, required=True)),
        (sa.Date(), fields.Date(required=True)),
        (sa.Time(), fields.Time(required=True)),
        (sa.Interval(), fields.TimeDelta(required=True)),
        (sa.Boolean(), fields.Boolean(required=True)),
        (sa.SmallInteger(), fields.Boolean(required=True)),
        (sa.JSON(), fields.Dict(required=True)),
        (sa.JSON(), fields.Nested(Plain, required=True)),
        (postgresql.ARRAY(sa.String), fields.List(fields.String(), required=True)),
        (postgresql.ARRAY(sa.String), fields.Tuple([fields.String()], required=True)),
        (sa.String(9), fields.Nested(Made, required=True)),
        (sa.String(9), fields.Nested(lambda: Plain(), required=True)),
        (sa.String(9), fields.Pluck(Plain, "name", required=True)),
        (sa.String(9), OnOff(required=True)),
        (sa.String(9), Coded({"on": 1})),
        (sa.String(9), Written(required=True)),
        # What is only dumped may be anything that the field makes text, or true, of.
        (sa.String(9), Flag(dump_only=True)),
        (sa.String(9), fields.Boolean(dump_only=True)),
        (sa.DateTime(), Seconds(dump_only=True)),
        (sa.String(9), fields.UUID(dump_only=True)),
        (sa.DateTime(), fields.Date(dump_only=True)),
        (sa.String(9), fields.List(fields.String(), dump_only=True)),
        (sa.String(9), fields.Nested(Plain, dump_only=True)),
        (sa.JSON(), fields.Enum(State, required=True)),
        (sa.String(9), Choice({"on": "x", "off": None})),
    ],
)
def test_a_field_that_fits(column: sa.types.TypeEngine[Any], field: Any) -> None:
    schema = type("Schema", (BuildSchema,), {"title": field})
    model = model_of(
        title=sa.Column(column),
        repo_id=sa.Column(sa.ForeignKey("builds.id")),
        repo=relationship("Build", remote_side="Build.id"),
    )
    make(model, schema)


@pytest.mark.parametrize("kind", [fields.Nested, lambda schema, **options: fields.List(
    fields.Nested(schema), **options
)])  # fmt: skip
def test_only_objects_of_the_host_are_stored_in_a_relationship(
    kind: Callable[..., Any],
) -> None:
    model = model_of(
        title=relationship("Build", remote_side="Build.id"),
        title_id=sa.Column(sa.ForeignKey("builds.id")),
    )
    for schema in (Made, Plain):
        field = kind(schema, required=schema is Made, dump_only=schema is Plain)
        make(model, type("Fit", (BuildSchema,), {"title": field}))
    plain = type("Misfit", (BuildSchema,), {"title": kind(Plain, required=True)})
    [line], _ = misfits(model, plain)
    assert "Build.title holds Relationship: make the member a field of your own" in line


def test_a_method_may_be_what_a_field_of_the_host_calls(
    make_host: Callable[..., Host], sqlite_url: str
) -> None:
    model = model_of("title", title=lambda self: f"Build {self.number}")
    schema = type("Schema", (BuildSchema,), {"title": Called(dump_only=True)})
    host = make_host(sqlite_url, model=model, schema=schema, rows=[row_of("title")], auth=anybody)
    assert host.get().json["title"] == "Build 1"


def test_the_numbers_of_an_enum_are_no_choice() -> None:
    [line], _ = misfits(model_of(status=sa.Column(sa.Enum(Level))))
    assert line.endswith("holds Level: make the member a fields.Enum(Level, required=True).")


def test_a_method_is_left_out_of_the_schema_to_paste() -> None:
    model = model_of("title", "started", title=lambda self: "x", started=classmethod(_slug))
    model.started_at = sa.Column(sa.Integer)
    told, pasted = misfits(model)
    assert len(told) == 2
    schema = fitted(model, pasted)
    assert "title" not in schema.fields
    assert schema.fields["started"].attribute == "started_at"


@pytest.mark.skipif(version("marshmallow") < "4", reason="of marshmallow 4")
def test_a_field_that_parses_what_it_loads_fits() -> None:
    title = fields.String(required=True, post_load=datetime.fromisoformat)
    schema = type("Schema", (BuildSchema,), {"title": title})
    make(model_of(title=sa.Column(sa.DateTime)), schema)


def test_an_expression_and_a_relationship_cannot_be_stored() -> None:
    model = model_of(
        "title",
        "author",
        "parent",
        number=sa.Column(sa.Integer, nullable=False),
        parent_id=sa.Column(sa.ForeignKey("builds.id")),
        parent=relationship("Build", remote_side="Build.id"),
        author=hybrid_property(lambda self: self.sender),
    )
    model.title = column_property(model.status + "!")
    schema = BuildSchema.from_dict({"number": WholeNumber(zero_is_null=True)}, name="Zeros")
    told, pasted = misfits(model, schema)  # type: ignore[arg-type]
    assert told == [
        "Zeros.number stores 0 as NULL, but Build.number is NOT NULL: leave zero_is_null out.",
        "Zeros.parent does not fit, Build.parent holds Relationship: make the member a field of"
        " your own, or leave it out.",
        "Zeros.title cannot be stored, Build.title is generated by the database: make the member"
        " dump_only=True.",
        "Zeros.author cannot be stored, Build.author has no setter: add one, or make the member"
        " dump_only=True.",
    ]
    schema_ = fitted(model, pasted, Zeros=schema)
    assert "parent" not in schema_.fields
    assert [name for name, one in schema_.fields.items() if one.dump_only] == ["title", "author"]
    assert not field_of(schema_, "number").zero_is_null


def test_the_schema_to_paste_keeps_what_the_host_declared() -> None:
    class Declared(BuildSchema):
        class Meta:
            exclude = ("distribution", "title")
            dump_only = ("sender",)

        status = Choice({"on": 1, "off": None})
        subject = WholeNumber(data_key="title")

    model = model_of("distribution", subject=sa.Column(sa.String(9)), status=sa.Column(sa.Integer))
    [line], pasted = misfits(model, Declared)
    assert line.startswith("Declared.subject does not fit, Build.subject holds str")
    assert "class OwnDeclared(Declared):\n    class Meta(Declared.Meta):\n" in pasted
    assert "import Declared" not in pasted  # it is local to this test
    schema = fitted(model, pasted, Declared=Declared)
    assert "distribution" not in schema.fields
    assert schema.fields["sender"].dump_only
    assert field_of(schema, "status").choices == {"on": 1, "off": None}
    assert type(field_of(schema, "title")) is Text


def test_the_columns_that_no_member_has_are_named() -> None:
    model = model_of("host", "title", runner=sa.Column(sa.Text), team=sa.Column(sa.Text))
    with pytest.raises(ConfigurationError, match=r"no member has: runner, team\. This"):
        make(model)
    with pytest.raises(ConfigurationError, match=r"Meta.fields.\n\nThis schema would fit"):
        make(model_of("host"))


@pytest.mark.parametrize(
    ("attributes", "field", "told"),
    [
        (
            {"title": lambda self: "x"},
            Text(),
            "has no value, Build.title is a method: make it a property, or name another",
        ),
        ({"title": classmethod(lambda cls: "x")}, Text(dump_only=True), "is a method"),
        ({"title": hybrid_method(lambda self: "x")}, Text(dump_only=True), "is a method"),
        ({"title": "x"}, Text(), "cannot be stored, Build.title is not mapped: name a mapped one"),
        ({"title": cached_property(lambda self: "x")}, Text(), "Build.title is not mapped"),
        (
            {"repo": relationship("Build", remote_side="Build.id")},
            Text(attribute="repo.title"),
            "cannot be stored through Build.repo: make the member dump_only=True",
        ),
        (
            {"title": sa.Column(sa.String(9), nullable=False)},
            Choice({"on": "x", "off": None}),
            'stores "off" as NULL, but Build.title is NOT NULL: give it a value of the column',
        ),
        (
            {"title": sa.Column(sa.String(9))},
            fields.Enum(State, required=True),
            r"holds str: make the member a Text\(\)",
        ),
        (
            {"title": sa.Column(sa.Enum(Loud))},
            fields.Enum(State, required=True),
            "holds Loud: make the member a fields.Enum",
        ),
    ],
)
def test_a_member_that_could_not_be_stored_is_refused(
    attributes: dict[str, Any], field: Any, told: str
) -> None:
    schema = type("Schema", (BuildSchema,), {"title": field})
    key: dict[str, Any] = {"repo_id": sa.Column(sa.ForeignKey("builds.id"))}
    model = model_of("title", "repo_id", **key | attributes)
    [line], _ = misfits(model, schema)
    assert re.search(told, line)


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("repo.nmae", "Schema.title reads 'repo.nmae', but Build has no 'nmae': name the right"),
        ("repo.repo.nmae", "Build has no 'nmae'"),
        ("repo.title.name", None),
        ("extra.nmae", None),
        # Of a subclass, which may be what is read.
        ("repo.full_name", None),
        ("repo.owner.title", None),
        ("repo.owner.nmae", "Build has no 'nmae'"),
        # A relationship of one class, a column of another.
        ("repo.either.nmae", None),
    ],
)
def test_a_path_is_checked_once_all_classes_are_there(
    make_host: Callable[..., Host], sqlite_url: str, attribute: str, told: str | None
) -> None:
    title = fields.String(attribute=attribute, dump_only=True)
    model = model_of(
        "repo_id",
        repo_id=sa.Column(sa.ForeignKey("builds.id")),
        repo=relationship("Build", remote_side="Build.id"),
        extra=sa.Column(sa.JSON),
    )
    forge = {
        "full_name": sa.Column(sa.Text),
        "owner": relationship("Build", viewonly=True),
        "either": relationship("Build", viewonly=True),
    }
    # A registry holds its classes by weak references only.
    kept = type("Forge", (model,), forge), type("Local", (model,), {"either": sa.Column(sa.Text)})
    schema = type("Schema", (BuildSchema,), {"title": title})
    host = make_host(sqlite_url, model=model, schema=schema, auth=anybody)
    host.app.testing = True
    if told is None:
        assert host.get().status_code == 200
    else:
        with pytest.raises(ConfigurationError, match=told):
            host.get()
    assert len(kept) == 2


def _slug(self: Any, name: str) -> str:
    if name != "slug":
        raise AttributeError(name)
    return f"{self.title}-slug"


def _slug_or_own(self: Any, name: str) -> Any:
    return _slug(self, name) if name == "slug" else object.__getattribute__(self, name)


@pytest.mark.parametrize("found", [{"__getattr__": _slug}, {"__getattribute__": _slug_or_own}])
def test_a_class_that_finds_attributes_by_code_is_not_judged(
    make_host: Callable[..., Host], sqlite_url: str, found: dict[str, Any]
) -> None:
    slug = Text(attribute="repo.slug", dump_only=True)
    model = model_of(
        repo_id=sa.Column(sa.ForeignKey("builds.id")),
        repo=relationship("Build", remote_side="Build.id"),
        **found,
    )
    schema = type("Schema", (BuildSchema,), {"message": slug})
    row = row_of(repo_id=1)
    host = make_host(sqlite_url, model=model, schema=schema, rows=[row], auth=anybody)
    assert host.get().json["message"] == f"{row['title']}-slug"


class WithoutId(BuildSchema):
    class Meta:
        exclude = ("id",)


@pytest.mark.parametrize(
    ("key", "source"),
    [
        (sa.Integer(), 'id = WholeNumber(minimum=1, attribute="key")'),
        (sa.Uuid(), 'id = fields.UUID(attribute="key", required=True)'),
    ],
)
@pytest.mark.parametrize("schema", [BuildSchema, WithoutId])
def test_the_id_is_guessed_to_be_the_primary_key(
    key: sa.types.TypeEngine[Any], source: str, schema: type[BuildSchema]
) -> None:
    model = model_of(
        id=property(lambda self: self.key, lambda self, value: None),
        key=sa.Column(key, primary_key=True),
    )
    [line], pasted = misfits(model, schema)
    assert "id" in line
    assert f"    {source}" in pasted.splitlines()
    fit = fitted(model, pasted)
    assert next(iter(fit.fields)) == "id"
    assert fit.validate({"id": 0, "title": ""}, partial=True).keys() == {"id"}


def test_an_id_may_be_generated() -> None:
    generated = sa.Column(sa.Integer, sa.Computed("1"), primary_key=True)
    make(model_of(id=generated))
    hybrid = hybrid_property(lambda self: self.key)
    make(model_of(id=hybrid, key=sa.Column(sa.Integer, primary_key=True)))


def test_a_class_that_the_model_refers_to_may_be_imported_later() -> None:
    class Schema(BuildSchema):
        title = fields.String(attribute="repo.name", dump_only=True)
        author = fields.String(attribute="repo", dump_only=True)

    model = model_of(
        "title",
        "author",
        "host",
        repo_id=sa.Column(sa.ForeignKey("repos.id")),
        repo=relationship("Repo"),
        host=hybrid_property(
            lambda self: self.repo.name,
            lambda self, value: None,
            expr=lambda cls: cls.repo.property.mapper.class_.name,
        ),
    )
    make(model, Schema)
    key = sa.Column(sa.Integer, primary_key=True)
    repo = type("Repo", (model.__mro__[1],), {"__tablename__": "repos", "id": key})
    configure_mappers()
    assert model.repo.property.mapper.class_ is repo
