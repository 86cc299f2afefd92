"""A blueprint that gives the administrators of a Flask CI server a safe way to repair a build."""

from .blueprint import BuildAdmin
from .errors import (
    BuildConflict,
    BuildError,
    BuildNotFound,
    ChangedSince,
    ConfigurationError,
    DatabaseFailure,
    DatabaseUnavailable,
    InvalidBuild,
    InvalidParameter,
    MalformedBody,
    PreconditionFailed,
    PreconditionRequired,
    RevisionNotFound,
)
from .fields import Text, UnixTime, WholeNumber
from .revision import BuildRevisionMixin, Revision
from .schema import BuildSchema
from .signals import build_updated, build_updating
from .store import BuildStore
from .update import Change, Terms

__all__ = [
    "BuildAdmin",
    "BuildConflict",
    "BuildError",
    "BuildNotFound",
    "BuildRevisionMixin",
    "BuildSchema",
    "BuildStore",
    "Change",
    "ChangedSince",
    "ConfigurationError",
    "DatabaseFailure",
    "DatabaseUnavailable",
    "InvalidBuild",
    "InvalidParameter",
    "MalformedBody",
    "PreconditionFailed",
    "PreconditionRequired",
    "Revision",
    "RevisionNotFound",
    "Terms",
    "Text",
    "UnixTime",
    "WholeNumber",
    "build_updated",
    "build_updating",
]
