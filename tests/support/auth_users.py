"""The users and tokens of a host, as the extensions want them that keep them in its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_security import RoleMixin, UserDatastore, UserMixin


class Role(RoleMixin):
    def __init__(self, name: str) -> None:
        self.name = name


class Member(UserMixin):
    """A user of Flask-Security's."""

    active = True
    fs_uniquifier = ""

    def __init__(self, name: str, role: str) -> None:
        self.fs_uniquifier = self.email = name
        self.roles = [Role(role)]


class Members(UserDatastore):
    """All users, for Flask-Security to find.

    :param roles: by the name of each user.
    """

    def __init__(self, roles: Mapping[str, str]) -> None:
        super().__init__(Member, Role)
        self._members = {name: Member(name, role) for name, role in roles.items()}

    def find_user(self, case_insensitive: bool = False, **by: Any) -> Member | None:
        return self._members.get(by.get("fs_uniquifier", ""))


class Token:
    """An access token for Authlib, in force."""

    def __init__(self, user: str, scope: str) -> None:
        self.client_id = user
        self.scope = scope

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return False
