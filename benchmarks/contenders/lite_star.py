"""Litestar: its SQLAlchemy plugin, a transaction as a dependency, the build as a msgspec struct."""

import os
from collections.abc import Iterator
from typing import Annotated, Any

from advanced_alchemy.extensions.litestar import SQLAlchemyInitPlugin, SQLAlchemySyncConfig
from litestar import Litestar, put
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import NotAuthorizedException, NotFoundException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.middleware.base import DefineMiddleware
from msgspec import Meta, Struct, convert
from sqlalchemy.orm import Session

from example_app import Build

from ..hosts import PATH, find_user

Whole = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1, max_length=250)]
Text250 = Annotated[str, Meta(max_length=250)]
Text500 = Annotated[str, Meta(max_length=500)]
Text1000 = Annotated[str, Meta(max_length=1000)]


class BuildStruct(Struct):
    """A whole build."""

    id: Positive
    repo_id: Positive
    number: Positive
    parent: Whole
    event: Name
    status: Name
    error: str
    enqueued: Whole
    created: Whole
    started: Whole
    finished: Whole
    deploy: Text500
    clone: Text1000
    source: Text1000
    title: Text1000
    message: str
    commit: Text500
    sender: Text250
    author: Text250
    branch: Text500
    ref: Text500
    base_ref: Text500
    host: Text250
    runtime: Text250
    distribution: Text250


class TokenMiddleware(AbstractAuthenticationMiddleware):
    """Finds the user whose token it is."""

    async def authenticate_request(
        self, connection: ASGIConnection[Any, Any, Any, Any]
    ) -> AuthenticationResult:
        """Read the bearer token."""
        scheme, _, token = connection.headers.get("Authorization", "").partition(" ")
        user = find_user(token)
        if scheme != "Bearer" or user is None:
            raise NotAuthorizedException
        return AuthenticationResult(user=user, auth=token)


def admin_guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let administrators through."""
    if connection.user.role != "admin":
        raise PermissionDeniedException


def provide_transaction(db_session: Session) -> Iterator[Session]:
    """Commit what a handler has done, before it is answered."""
    with db_session.begin():
        yield db_session


@put(PATH, guards=[admin_guard], sync_to_thread=True)
def overwrite(data: BuildStruct, transaction: Session) -> BuildStruct:
    """Overwrite a build."""
    build = transaction.get(Build, data.id)
    if build is None:
        raise NotFoundException
    for name in data.__struct_fields__:
        setattr(build, name, getattr(data, name))
    stored: BuildStruct = convert(build, BuildStruct, from_attributes=True)
    return stored


app = Litestar(
    [overwrite],
    dependencies={"transaction": Provide(provide_transaction)},
    middleware=[DefineMiddleware(TokenMiddleware)],
    plugins=[
        SQLAlchemyInitPlugin(SQLAlchemySyncConfig(connection_string=os.environ["DATABASE_URL"]))
    ],
)
