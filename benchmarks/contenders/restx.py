"""Flask-RESTX: a ``Resource``, and one model to expect and to marshal with."""

from __future__ import annotations

import os

from flask import Flask
from flask_restx import Api, Resource, fields

from example_app import Build, db

from .flask_host import token_auth

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db.init_app(app)
api = Api(
    app,
    authorizations={"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
    security="token",
)
namespace = api.namespace("builds", path="/api/v1/admin")

build_model = api.model(
    "Build",
    {
        "id": fields.Integer(required=True, min=1),
        "repo_id": fields.Integer(required=True, min=1),
        "number": fields.Integer(required=True, min=1),
        "parent": fields.Integer(required=True, min=0),
        "event": fields.String(required=True, min_length=1, max_length=250),
        "status": fields.String(required=True, min_length=1, max_length=250),
        "error": fields.String(required=True),
        "enqueued": fields.Integer(required=True, min=0),
        "created": fields.Integer(required=True, min=0),
        "started": fields.Integer(required=True, min=0),
        "finished": fields.Integer(required=True, min=0),
        "deploy": fields.String(required=True, max_length=500),
        "clone": fields.String(required=True, max_length=1000),
        "source": fields.String(required=True, max_length=1000),
        "title": fields.String(required=True, max_length=1000),
        "message": fields.String(required=True),
        "commit": fields.String(required=True, max_length=500),
        "sender": fields.String(required=True, max_length=250),
        "author": fields.String(required=True, max_length=250),
        "branch": fields.String(required=True, max_length=500),
        "ref": fields.String(required=True, max_length=500),
        "base_ref": fields.String(required=True, max_length=500),
        "host": fields.String(required=True, max_length=250),
        "runtime": fields.String(required=True, max_length=250),
        "distribution": fields.String(required=True, max_length=250),
    },
)


@namespace.route("/build")
class BuildResource(Resource):
    """The builds."""

    method_decorators = [token_auth.login_required(role="admin")]

    @namespace.expect(build_model, validate=True)
    @namespace.marshal_with(build_model)
    def put(self) -> Build:
        """Overwrite a build."""
        build = db.get_or_404(Build, api.payload["id"])
        for name in build_model:
            setattr(build, name, api.payload[name])
        db.session.commit()
        return build
