"""The contenders: one update, as the documentation of each framework would have it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Contender(NamedTuple):
    """An application that authenticates, validates, overwrites and answers."""

    name: str
    #: Of this package; it is imported only where its framework is to be measured.
    module: str
    #: ``wsgi`` or ``asgi``.
    interface: str
    #: The distributions that it is made of, beside those of the blueprint.
    distributions: tuple[str, ...] = ()
    attribute: str = "app"

    @property
    def target(self) -> str:
        """The application, as gunicorn and uvicorn want to be told."""
        return f"{__name__}.{self.module}:{self.attribute}"

    def load(self) -> Any:
        """Import the application. It is served from the database that the environment names."""
        return getattr(import_module(f"{__name__}.{self.module}"), self.attribute)


BLUEPRINT = Contender("Flask-Build-Admin", "blueprint", "wsgi")
WITH_HISTORY = Contender(
    "Flask-Build-Admin with history", "blueprint", "wsgi", attribute="app_with_history"
)
HAND_WRITTEN = Contender("hand-written view", "hand_written", "wsgi")
RIVALS = (
    HAND_WRITTEN,
    Contender("flask-smorest", "smorest", "wsgi", ("flask-smorest",)),
    Contender("APIFlask", "api_flask", "wsgi", ("APIFlask",)),
    Contender("Flask-RESTX", "restx", "wsgi", ("flask-restx",)),
    Contender("Litestar", "lite_star", "asgi", ("litestar", "advanced-alchemy", "msgspec")),
    Contender("FastAPI", "fast_api", "asgi", ("fastapi", "sqlmodel", "pydantic")),
    Contender("Django REST framework", "django_rest", "wsgi", ("Django", "djangorestframework")),
)
CONTENDERS = (BLUEPRINT, *RIVALS)
