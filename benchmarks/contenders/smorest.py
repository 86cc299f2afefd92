"""flask-smorest: a ``MethodView``, the schema in and out, the auth by Flask-HTTPAuth."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask
from flask.views import MethodView
from flask_smorest import Api, Blueprint

from example_app import Build, db

from .flask_host import token_auth
from .hand_written import BuildSchema

app = Flask(__name__)
app.config["API_TITLE"] = "CI server"
app.config["API_VERSION"] = "v1"
app.config["OPENAPI_VERSION"] = "3.0.2"
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db.init_app(app)
api = Api(app)
blueprint = Blueprint("builds", "builds", url_prefix="/api/v1/admin")


@blueprint.route("/build")
class BuildView(MethodView):
    """The builds."""

    @token_auth.login_required(role="admin")
    @blueprint.arguments(BuildSchema)
    @blueprint.response(200, BuildSchema)
    def put(self, update_data: dict[str, Any]) -> Build:
        """Overwrite a build."""
        build = db.get_or_404(Build, update_data["id"])
        for name, value in update_data.items():
            setattr(build, name, value)
        db.session.commit()
        return build


api.register_blueprint(blueprint)
