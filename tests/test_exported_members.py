"""The public names, each of which says that it is of the module it is imported from."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

import flask_build_admin
from flask_build_admin import exceptions, store
from tests.support.pages import PAGES

ROOT = {
    "BuildAdmin",
    "BuildPages",
    "BuildRevisionMixin",
    "BuildSchema",
    "BuildStore",
    "Choice",
    "Flag",
    "Text",
    "UnixTime",
    "WholeNumber",
    "build_updated",
    "build_updating",
}
STORE = {
    "BatchFailure",
    "BatchResult",
    "BuildFilter",
    "BuildWarning",
    "ChangeOptions",
    "ChangeResult",
    "Representation",
    "Revision",
}
EXCEPTIONS = {
    "BuildAdminError",
    "BuildConflict",
    "BuildNotFound",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseUnavailable",
    "ImpossibleBuild",
    "InvalidBuild",
    "InvalidJSON",
    "InvalidParameter",
    "PreconditionFailed",
    "PreconditionRequired",
    "RevisionNotFound",
    "UndoConflict",
}


def test_the_lists_of_exported_names() -> None:
    assert {*flask_build_admin.__all__} == ROOT
    assert {*store.__all__} == STORE | {"BuildRevisionMixin", "BuildStore"}
    raised = {name for name, one in vars(exceptions).items() if is_exception(one)}
    assert raised == EXCEPTIONS


@pytest.mark.parametrize(
    ("module", "names"), [(flask_build_admin, ROOT), (store, STORE), (exceptions, EXCEPTIONS)]
)
def test_a_name_is_of_the_module_that_exports_it(module: ModuleType, names: set[str]) -> None:
    for name in names:
        one = getattr(module, name)
        if inspect.isclass(one):
            assert one.__module__ == module.__name__
        assert one.__doc__


def test_every_name_is_on_the_page() -> None:
    text = PAGES["docs/api.md"]
    listed = {*re.findall(r"^\.\. auto(?:class|data):: (\w+)$", text, re.MULTILINE)}
    assert listed == ROOT | STORE
    assert ".. automodule:: flask_build_admin.exceptions" in text
    [excluded] = re.findall(":exclude-members: (.*)", text)
    assert not EXCEPTIONS & {*excluded.split(", ")}


def is_exception(one: object) -> bool:
    return inspect.isclass(one) and issubclass(one, Exception)
