"""FastAPI: SQLModel, the session and the user as dependencies."""

import os
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlmodel import Field, Session, SQLModel, create_engine

from ..hosts import PATH, User, find_user

engine = create_engine(os.environ["DATABASE_URL"])
app = FastAPI()


class BuildUpdate(SQLModel):
    """A whole build."""

    id: int = Field(ge=1)
    repo_id: int = Field(ge=1)
    number: int = Field(ge=1)
    parent: int = Field(ge=0)
    event: str = Field(min_length=1, max_length=250)
    status: str = Field(min_length=1, max_length=250)
    error: str
    enqueued: int = Field(ge=0)
    created: int = Field(ge=0)
    started: int = Field(ge=0)
    finished: int = Field(ge=0)
    deploy: str = Field(max_length=500)
    clone: str = Field(max_length=1000)
    source: str = Field(max_length=1000)
    title: str = Field(max_length=1000)
    message: str
    commit: str = Field(max_length=500)
    sender: str = Field(max_length=250)
    author: str = Field(max_length=250)
    branch: str = Field(max_length=500)
    ref: str = Field(max_length=500)
    base_ref: str = Field(max_length=500)
    host: str = Field(max_length=250)
    runtime: str = Field(max_length=250)
    distribution: str = Field(max_length=250)


class Build(BuildUpdate, table=True):  # type: ignore[call-arg]
    """The row of one."""

    __tablename__ = "builds"

    id: int = Field(primary_key=True)


def get_session() -> Iterator[Session]:
    """Open a session for a request."""
    with Session(engine) as session:
        yield session


async def get_current_user(
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> User:
    """Find the user whose token it is."""
    user = find_user(credentials.credentials)
    if user is None:
        raise HTTPException(401, "Invalid token", headers={"WWW-Authenticate": "Bearer"})
    return user


async def get_current_admin(user: Annotated[User, Depends(get_current_user)]) -> User:
    """Let administrators through."""
    if user.role != "admin":
        raise HTTPException(403, "Not an administrator")
    return user


@app.put(PATH, response_model=BuildUpdate, dependencies=[Depends(get_current_admin)])
def overwrite(build: BuildUpdate, session: Annotated[Session, Depends(get_session)]) -> Any:
    """Overwrite a build."""
    stored = session.get(Build, build.id)
    if stored is None:
        raise HTTPException(404, "Build not found")
    stored.sqlmodel_update(build)
    session.add(stored)
    session.commit()
    session.refresh(stored)
    return stored
