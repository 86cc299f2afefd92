"""A mistake in the configuration is told when the blueprint is made, with the way out."""

from __future__ import annotations

import enum
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from marshmallow import Schema, fields
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Session, sessionmaker

from flask_build_admin import BuildAdmin, BuildSchema, Text
from flask_build_admin.exceptions import ConfigurationError
from tests.support.hosts import Build, model_of, token_auth

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


def _getter(self: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model": Plain}, "Plain.* no class mapped by SQLAlchemy.*model=Build"),
        ({"model": Build.__table__}, "no class mapped"),
        ({"model": Build()}, "no class mapped"),
        ({"model": None}, "no class mapped"),
        (
            {"model": model_of("title")},
            "BuildSchema.title .*'title' on the model Build",
        ),
        ({"schema": Renamed}, "Renamed.title .*'subject' on the model Build"),
        ({"schema": Dotted}, "Dotted.title .*'repo.title' on the model Build"),
        ({"schema": SettableConstant}, "SettableConstant.team .*'team'.*dump_only=True"),
        ({"schema": LoadOnly}, "LoadOnly.title is load_only"),
        ({"schema": WithoutId}, "WithoutId has no member 'id'"),
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
        ({"schema": Schema}, "is no BuildSchema"),
        ({"schema": BuildSchema()}, "is no BuildSchema.*not an instance"),
        ({"actor": "mona"}, "actor='mona' cannot be called"),
        ({"actor": coroutine}, "pass a function, and no coroutine function"),
        ({"actor": partial(coroutine)}, "pass a function, and no coroutine function"),
        ({"actor": AsyncActor()}, "pass a function, and no coroutine function"),
        ({"max_content_length": 0}, "max_content_length=0"),
        ({"max_content_length": "1"}, "max_content_length='1'"),
        ({"max_list_length": 0}, "max_list_length=0 is no number of bytes from 1 on"),
        ({"max_list_length": 8.0}, "max_list_length=8.0"),
        ({"max_list_length": True}, "max_list_length=True"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){told}"):
        BuildAdmin(**(GOOD | wrong))


def test_auth_has_no_default() -> None:
    with pytest.raises(TypeError, match="auth"):
        BuildAdmin(Build, lambda: Session())  # type: ignore[call-arg]
