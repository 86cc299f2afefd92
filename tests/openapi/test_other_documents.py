"""Hosts of extensions that describe the routes of the whole app: the blueprint stays out of it."""

from collections.abc import Callable
from typing import Any

import pytest
from apiflask import APIBlueprint, APIFlask
from flask import Flask, jsonify
from flask_smorest import Api
from flask_smorest import Blueprint as SmorestBlueprint

from tests.support.hosts import ADMIN, OCTOCAT, URL, Host


def hello() -> Any:
    return jsonify({})


def api_flask() -> Flask:
    app = APIFlask("host", title="The host")
    app.get("/hello")(hello)
    return app  # type: ignore[no-any-return]


def smorest() -> Flask:
    app = Flask("host")
    versions = {"API_VERSION": "1", "OPENAPI_VERSION": "3.0.2"}
    app.config |= {"API_TITLE": "The host", "OPENAPI_URL_PREFIX": "/", **versions}
    own = SmorestBlueprint("own", "own")
    own.route("/hello")(hello)
    Api(app).register_blueprint(own)
    return app


def document_of(app: Flask) -> Any:
    found = app.test_client().get("/openapi.json")
    assert found.status_code == 200
    return found.json


@pytest.mark.parametrize("make_app", [api_flask, smorest])
def test_the_host_keeps_its_own_document(host: Host, make_app: Callable[[], Flask]) -> None:
    plain = document_of(make_app())
    assert [*plain["paths"]] == ["/hello"]
    app = make_app()
    app.register_blueprint(host.blueprint)
    assert document_of(app) == plain
    client = app.test_client()
    assert client.put(URL, json=OCTOCAT, headers=ADMIN).json == OCTOCAT
    refusals = [client.put(URL, json=OCTOCAT), client.get(f"{URL}/7", headers=ADMIN)]
    refusals += [client.delete(URL, headers=ADMIN), client.put(URL, headers=ADMIN, data="x")]
    assert [one.status_code for one in refusals] == [401, 404, 405, 415]
    assert all([*(one.json or {})] == ["error"] for one in refusals)


def test_it_may_be_nested_in_a_blueprint_that_is_described(host: Host) -> None:
    app = api_flask()
    parent = APIBlueprint("parent", "parent", url_prefix="/parent")
    parent.register_blueprint(host.blueprint)
    app.register_blueprint(parent)
    assert [*document_of(app)["paths"]] == ["/hello"]
    assert app.test_client().get(f"/parent{URL}/1", headers=ADMIN).json == OCTOCAT
