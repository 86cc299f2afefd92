"""The view that one writes by hand, as the documentations of the libraries have it.

It locks nothing, knows no ETag, and takes what marshmallow and the database let through.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, request
from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, Range

from example_app import Build, db

from .flask_host import make_app, token_auth

blueprint = Blueprint("hand_written", __name__, url_prefix="/api/v1/admin")


class BuildSchema(Schema):
    """A whole build."""

    id = fields.Integer(strict=True, required=True, validate=Range(min=1))
    repo_id = fields.Integer(strict=True, required=True, validate=Range(min=1))
    number = fields.Integer(strict=True, required=True, validate=Range(min=1))
    parent = fields.Integer(strict=True, required=True, validate=Range(min=0))
    event = fields.String(required=True, validate=Length(min=1, max=250))
    status = fields.String(required=True, validate=Length(min=1, max=250))
    error = fields.String(required=True)
    enqueued = fields.Integer(strict=True, required=True, validate=Range(min=0))
    created = fields.Integer(strict=True, required=True, validate=Range(min=0))
    started = fields.Integer(strict=True, required=True, validate=Range(min=0))
    finished = fields.Integer(strict=True, required=True, validate=Range(min=0))
    deploy = fields.String(required=True, validate=Length(max=500))
    clone = fields.String(required=True, validate=Length(max=1000))
    source = fields.String(required=True, validate=Length(max=1000))
    title = fields.String(required=True, validate=Length(max=1000))
    message = fields.String(required=True)
    commit = fields.String(required=True, validate=Length(max=500))
    sender = fields.String(required=True, validate=Length(max=250))
    author = fields.String(required=True, validate=Length(max=250))
    branch = fields.String(required=True, validate=Length(max=500))
    ref = fields.String(required=True, validate=Length(max=500))
    base_ref = fields.String(required=True, validate=Length(max=500))
    host = fields.String(required=True, validate=Length(max=250))
    runtime = fields.String(required=True, validate=Length(max=250))
    distribution = fields.String(required=True, validate=Length(max=250))


schema = BuildSchema()


@blueprint.errorhandler(ValidationError)
def refuse(error: ValidationError) -> tuple[dict[str, Any], int]:
    """Answer what is wrong with the document."""
    return {"error": "The build is not valid.", "fields": error.messages}, 400


@blueprint.put("/build")
@token_auth.login_required(role="admin")
def overwrite() -> Any:
    """Overwrite a build."""
    values = schema.load(request.get_json())
    build = db.session.get(Build, values["id"])
    if build is None:
        abort(404)
    for name, value in values.items():
        setattr(build, name, value)
    db.session.commit()
    return schema.dump(build)


app = make_app(blueprint)
