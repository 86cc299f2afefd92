"""What the code of the pages imports from the reader's own CI server, and its types."""

import enum
from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped

from flask_build_admin import BuildAdmin, BuildRevisionMixin, BuildStore

ADMIN_KEY: bytes
FORGE: str
FORGE_TOKEN: str

class Base(DeclarativeBase): ...

class Status(enum.Enum):
    RUNNING = "running"
    ERROR = "error"

class Build(Base):
    id: Mapped[int]
    status: Mapped[str]
    def __init__(self, **columns: object) -> None: ...

class OtherBuild(Build): ...
class NestedBuild(Build): ...
class BuildRevision(BuildRevisionMixin, Base): ...

class Step(Base):
    build_id: Mapped[int]
    status: Mapped[str]
    finished: Mapped[int]

class Service(Base):
    build_id: Mapped[int]
    status: Mapped[str]
    finished: Mapped[int]

class Audit(Base):
    def __init__(
        self,
        *,
        build_id: int,
        actor: str | None,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> None: ...

class User(Base):
    name: Mapped[str]

class Token:
    client_id: str

app: Flask
db: SQLAlchemy
basic_auth: Any
token_auth: Any
build_admin: BuildAdmin
store: BuildStore

def create_app(config: Mapping[str, Any] = ...) -> Flask: ...
def find_token(token_string: str) -> Token | None: ...
