"""Checks of the options that BuildAdmin, BuildPages and BuildStore share."""

import re
from collections.abc import Collection

from .exceptions import ConfigurationError


def require_names(option: str, names: Collection[str]) -> None:
    """Check that an option is not one string, whose letters would be taken for names."""
    if isinstance(names, str | bytes) or not isinstance(names, Collection):
        example = f"({names!r},)" if isinstance(names, str) else '("…",)'
        raise ConfigurationError(
            f"{option}={names!r} is not a collection of names: pass a tuple, {option}={example}."
        )


def require_bool(option: str, value: object) -> None:
    """Check that an option is True or False: the text "false" would pass for True."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{option}={value!r} is not a bool: pass True or False.")


def require_name(name: object) -> None:
    """Check the name of a blueprint. Flask itself checks what the text is."""
    if not isinstance(name, str):
        raise ConfigurationError(f"name={name!r} is not a string: pass one, or leave it out.")


def require_free_variables(url_prefix: str | None, own: Collection[str]) -> None:
    """Check that a prefix has no variable with the name of one of the routes behind it."""
    if taken := [name for name in own if re.search(rf"[<:]{name}>", url_prefix or "")]:
        raise ConfigurationError(
            f"url_prefix={url_prefix!r} has the variable {taken[0]!r}, as the blueprint's own"
            " routes have: give it another name."
        )
