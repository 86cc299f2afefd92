"""A mistake in the configuration is told when the blueprint is made, with the way out."""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask
from marshmallow import Schema, fields
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Session, sessionmaker

from flask_build_admin import BuildAdmin, BuildPages, BuildSchema, Choice, Text
from flask_build_admin.exceptions import ConfigurationError
from tests.support.hosts import URL, Build, anybody, model_of, token_auth

GOOD: dict[str, Any] = {
    "model": Build,
    "session": lambda: None,
    "auth": token_auth().login_required(role="admin"),
}


class Status(enum.Enum):
    CREATED = "created"


class Plain:
    """A class that is not mapped."""


async def coroutine() -> str:
    return "mona"


class AsyncActor:
    async def __call__(self) -> str:
        return "mona"


class WithoutId(BuildSchema):
    class Meta:
        exclude = ("id",)


class Renamed(BuildSchema):
    title = Text(attribute="subject")


class Dotted(BuildSchema):
    title = Text(attribute="repo.title")


class LoadOnly(BuildSchema):
    title = Text(load_only=True)


class SettableConstant(BuildSchema):
    team = fields.Constant("core")


class Undeclared(BuildSchema):
    class Meta:
        fields = ("id", "runner", "parent_id", "status")


Numbered = model_of("status", status=sa.Column(sa.Integer))


def _getter(self: Any) -> Any:
    return None


def pages_of(**options: Any) -> BuildPages:
    return BuildPages(BuildAdmin(**GOOD), anybody, **options)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model": Plain}, "Plain.* no class mapped by SQLAlchemy.*model=Build"),
        ({"model": Build.__table__}, "no class mapped"),
        ({"model": Build()}, "no class mapped"),
        ({"model": None}, "no class mapped"),
        (
            {"model": model_of("title")},
            "BuildSchema.title: no attribute of this name is on the model Build",
        ),
        ({"schema": Renamed}, "Renamed.title: no attribute of the name 'subject' is on the"),
        ({"schema": Dotted}, "Dotted.title: no attribute of the name 'repo' is on the"),
        ({"schema": SettableConstant}, "SettableConstant.team: no attribute .*dump_only=True"),
        ({"schema": LoadOnly}, "LoadOnly.title is load_only"),
        ({"schema": WithoutId}, "WithoutId.id is no member, but says which build is meant: add it"),
        ({"model": model_of("title", title=property(_getter))}, "Build.title has no setter"),
        ({"model": model_of("title", title=hybrid_property(_getter))}, "has no setter"),
        (
            {
                "model": model_of(
                    id=property(_getter, lambda self, value: None),
                    key=sa.Column(sa.Integer, primary_key=True),
                )
            },
            "Build.id is a property",
        ),
        (
            {"model": model_of(status=sa.Column(sa.Enum(Status)))},
            "Build.status holds Status",
        ),
        ({"session": object()}, "does not return the current Session.*db.session"),
        ({"session": Session()}, "does not return the current Session"),
        ({"session": Session}, "does not return the current Session"),
        ({"session": sessionmaker()}, "does not return the current Session.*scoped_session"),
        ({"schema": Schema}, "is not a subclass of BuildSchema"),
        ({"schema": BuildSchema()}, "is not a subclass of BuildSchema.*not an instance"),
        ({"actor": "mona"}, "actor='mona' cannot be called"),
        ({"actor": coroutine}, "is a coroutine function: pass a function without arguments"),
        ({"actor": partial(coroutine)}, "is a coroutine function"),
        ({"actor": AsyncActor()}, "is a coroutine function"),
        ({"actor": lambda request: "mona"}, "cannot be called without 'request'"),
        (
            {"session": coroutine},
            "is a coroutine function: pass one that returns the current Session",
        ),
        ({"require_reason": "false"}, "require_reason='false' is not a bool: pass True or False"),
        ({"refuse_warnings": 1}, "refuse_warnings=1 is not a bool"),
        ({"require_if_match": None}, "require_if_match=None is not a bool"),
        (
            {"auth_parameters": None},
            r'auth_parameters=None is not a collection.* pass a tuple, auth_parameters=\("…",\)',
        ),
        ({"queue_statuses": b"running"}, "queue_statuses=b'running' is not a collection of names"),
        (
            {"queue_statuses": (word for word in ("running",))},
            r'is not a collection of names: pass a tuple, queue_statuses=\("…",\)\.',
        ),
        ({"auth_parameters": ("host",)}, "has 'host', which the blueprint reads itself"),
        ({"schema": Undeclared}, r"lists 'runner', 'parent_id', .*\n\n    runner = Text\(\)"),
        ({"history": Build}, "history=Build is the table of the builds: pass a model of its own"),
        ({"model": Numbered}, r'holds int: make the member a Choice\(\{"pending": 0'),
        ({"name": None}, "name=None is not a string: pass one, or leave it out"),
        ({"max_content_length": 0}, "max_content_length=0"),
        ({"max_content_length": "1"}, "max_content_length='1'"),
        (
            {"max_list_length": 0},
            "max_list_length=0 is not a number of bytes: pass an int of at least 1",
        ),
        ({"max_list_length": 8.0}, "max_list_length=8.0"),
        ({"max_list_length": True}, "max_list_length=True"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){told}"):
        BuildAdmin(**(GOOD | wrong))


def test_an_actor_need_not_say_what_it_is_called_with() -> None:
    BuildAdmin(**GOOD | {"actor": max})  # it is written in C


def test_no_choice_is_made_of_a_list() -> None:
    with pytest.raises(ConfigurationError, match="pass a mapping such as"):
        Choice(["a", "b"])  # type: ignore[arg-type]


def test_two_blueprints_at_one_address_are_refused() -> None:
    app = Flask(__name__)
    app.register_blueprint(BuildAdmin(**GOOD))
    with pytest.raises(ConfigurationError, match=r"/build is already the address of .*url_prefix"):
        app.register_blueprint(BuildAdmin(**GOOD, name="strict"))
    app.register_blueprint(BuildAdmin(**GOOD, name="other", url_prefix="/other"))


def test_a_prefix_of_none_is_that_of_the_blueprint() -> None:
    """By Flask's rule, so a host's own ``/build`` is another address."""
    app = Flask(__name__)
    app.add_url_rule("/build", "build", lambda: "", methods=["PUT"])
    app.register_blueprint(BuildAdmin(**GOOD), url_prefix=None)
    with pytest.raises(ConfigurationError, match=r"^/build is already the address of 'build'"):
        app.register_blueprint(BuildAdmin(**GOOD, name="other"), url_prefix="/")
    assert app.test_client().put(URL).status_code == 401


@pytest.mark.parametrize(
    "options",
    [{"methods": ["POST"]}, {"methods": ["PUT"], "build_only": True}, {"websocket": True}],
)
def test_a_route_of_the_host_that_takes_no_put_may_have_the_address(
    options: dict[str, Any],
) -> None:
    app = Flask(__name__)
    app.add_url_rule(URL, "create", lambda: ("created", 201), **options)
    app.register_blueprint(BuildAdmin(**GOOD))
    client = app.test_client()
    assert client.put(URL).status_code == 401
    assert client.post(URL).status_code == (201 if options.get("methods") == ["POST"] else 401)


def test_each_subdomain_has_addresses_of_its_own() -> None:
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = "ci.example"
    app.add_url_rule(URL, "own", lambda: "", methods=["PUT"])
    blueprint = BuildAdmin(**GOOD)
    for name in ("a", "b"):
        app.register_blueprint(blueprint, subdomain=name, name=name)
    for subdomain in ("a", None):
        with pytest.raises(ConfigurationError, match="is already the address of"):
            app.register_blueprint(blueprint, name="c", subdomain=subdomain)
    for name in ("a", "b"):
        answer = app.test_client().put(URL, base_url=f"http://{name}.ci.example")
        assert answer.status_code == 401


def test_each_host_has_addresses_of_its_own() -> None:
    app = Flask(__name__, host_matching=True, static_host="static.example")
    app.add_url_rule(URL, "own", lambda: "", methods=["PUT"], host="own.example")
    app.register_blueprint(BuildAdmin(**GOOD))
    with pytest.raises(ConfigurationError, match="is already the address of 'build_admin"):
        app.register_blueprint(BuildAdmin(**GOOD, name="other"))


def test_the_address_of_a_nested_blueprint_begins_with_that_of_its_parent() -> None:
    app, parent = Flask(__name__), Blueprint("parent", __name__, url_prefix="/parent")
    app.add_url_rule(URL, "own", lambda: "", methods=["PUT"])
    parent.register_blueprint(BuildAdmin(**GOOD))
    app.register_blueprint(parent)
    with pytest.raises(ConfigurationError, match=r"^/parent/api/v1/admin/build is already the"):
        app.register_blueprint(BuildAdmin(**GOOD, name="two"), url_prefix="/parent/api/v1/admin")
    assert app.test_client().put(f"/parent{URL}").status_code == 401


@pytest.mark.parametrize("make", [lambda **options: BuildAdmin(**GOOD, **options), pages_of])
@pytest.mark.parametrize("prefix", ["/<build_id>", "/<string:build_id>/ci"])
def test_a_prefix_with_a_variable_of_the_routes_is_refused(
    make: Callable[..., Blueprint], prefix: str
) -> None:
    told = f"url_prefix='{prefix}.* has the variable 'build_id'.* another name"
    blueprint, parent = make(), Blueprint("parent", __name__)
    parent.register_blueprint(make())
    for register in (
        partial(Flask.register_blueprint, blueprint=make(url_prefix=prefix)),
        partial(Flask.register_blueprint, blueprint=blueprint, url_prefix=prefix),
        partial(Flask.register_blueprint, blueprint=parent, url_prefix=prefix),
    ):
        with pytest.raises(ConfigurationError, match=told):
            register(Flask(__name__))
    Flask(__name__).register_blueprint(blueprint, url_prefix="/<int:tenant>")


def test_a_name_of_pages_is_text() -> None:
    with pytest.raises(ConfigurationError, match="name=None is not a string"):
        pages_of(name=None)


@pytest.mark.parametrize("name", ["routes", "run", "spec"])
def test_commands_that_others_would_hide_are_refused(name: str) -> None:
    """``spec`` is of APIFlask, which is installed."""
    app = Flask(__name__)
    with pytest.raises(ConfigurationError, match=f"other commands as '{name}'"):
        app.register_blueprint(BuildAdmin(**GOOD, name=name))
    app.register_blueprint(BuildAdmin(**GOOD, name=name), cli_group="repair")


def test_what_is_no_session_is_told_at_the_first_request(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask(__name__)
    app.testing = True
    app.register_blueprint(BuildAdmin(**GOOD | {"session": lambda: None, "auth": anybody}))
    with pytest.raises(ConfigurationError, match=r"session\(\) returned a NoneType, not the"):
        app.test_client().get(f"{URL}/1")


def test_auth_has_no_default() -> None:
    with pytest.raises(TypeError, match="auth"):
        BuildAdmin(Build, lambda: Session())  # type: ignore[call-arg]
