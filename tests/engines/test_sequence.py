"""A sequence of PostgreSQL of which each connection takes several numbers at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

from flask_build_admin import BuildRevisionMixin, BuildStore
from flask_build_admin.exceptions import ConfigurationError
from tests.support.databases import DATABASES
from tests.support.drivers import DRIVERS, Driver
from tests.support.hosts import OCTOCAT, Build, BuildRevision, Host

OF_POSTGRESQL = [one for one in DRIVERS if one.server == "postgresql"]

pytestmark = pytest.mark.skipif("postgresql" not in DATABASES, reason="needs PostgreSQL")


@pytest.mark.parametrize("driver", OF_POSTGRESQL, ids=[one.name for one in OF_POSTGRESQL])
def test_revisions_that_would_be_out_of_order_are_refused(
    make_host: Callable[..., Host], driver: Driver, url: sa.URL
) -> None:
    host = make_host(url.render_as_string(hide_password=False), history=BuildRevision)
    host.execute("ALTER SEQUENCE build_revisions_id_seq CACHE 20")
    host.app.testing = True
    with pytest.raises(ConfigurationError, match="ALTER SEQUENCE build_revisions_id_seq CACHE 1"):
        host.put(OCTOCAT | {"status": "error"})
    assert (host.row(), host.recorded()) == (OCTOCAT, [])
    host.execute("ALTER SEQUENCE build_revisions_id_seq CACHE 1")

    # What is found of one table says nothing of another on the same engine.
    class Base(DeclarativeBase):
        pass

    class Other(BuildRevisionMixin, Base):
        __tablename__ = "other_revisions"

    Base.metadata.create_all(host.engine)
    try:
        host.execute("ALTER SEQUENCE other_revisions_id_seq CACHE 20")
        store = BuildStore(Build, host.session, history=Other)
        assert host.put(OCTOCAT | {"status": "pending"}).status_code == 200
        with pytest.raises(ConfigurationError, match="ALTER SEQUENCE other_revisions_id_seq"):
            store.update("1", {"status": "running"})
    finally:
        Base.metadata.drop_all(host.engine)
    assert host.put(OCTOCAT | {"status": "error"}).status_code == 200
