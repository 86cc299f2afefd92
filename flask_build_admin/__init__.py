"""A blueprint that gives the administrators of a Flask CI server a safe way to repair a build."""

from .blueprint import BuildAdmin
from .errors import (
    BuildConflict,
    BuildError,
    BuildNotFound,
    ConfigurationError,
    DatabaseFailure,
    DatabaseUnavailable,
    InvalidBuild,
    MalformedBody,
    PreconditionFailed,
    PreconditionRequired,
)
from .fields import Text, UnixTime, WholeNumber
from .schema import BuildSchema
from .signals import build_updated, build_updating
from .store import BuildStore

__all__ = [
    "BuildAdmin",
    "BuildConflict",
    "BuildError",
    "BuildNotFound",
    "BuildSchema",
    "BuildStore",
    "ConfigurationError",
    "DatabaseFailure",
    "DatabaseUnavailable",
    "InvalidBuild",
    "MalformedBody",
    "PreconditionFailed",
    "PreconditionRequired",
    "Text",
    "UnixTime",
    "WholeNumber",
    "build_updated",
    "build_updating",
]
