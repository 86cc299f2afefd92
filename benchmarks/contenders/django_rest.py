"""Django REST framework: a ``ModelSerializer``, a generic view, its token auth; no middleware."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from sqlalchemy import make_url

from ..hosts import PATH, find_user

url = make_url(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": f"django.db.backends.{url.get_backend_name().replace('sqlite', 'sqlite3')}",
            "NAME": url.database,
            "USER": url.username,
            "PASSWORD": url.password,
            "HOST": url.host,
            "PORT": url.port,
            "CONN_MAX_AGE": None,  # the connections of the others are kept, too
        }
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
    ROOT_URLCONF=__name__,
)
app = get_wsgi_application()

from django.contrib.auth.models import User
from django.core.validators import MinValueValidator
from django.db import models
from django.urls import path
from rest_framework import generics, serializers
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAdminUser

positive = [MinValueValidator(1)]
whole = [MinValueValidator(0)]


class Build(models.Model):
    """The row of a build."""

    id = models.IntegerField(primary_key=True, validators=positive)
    repo_id = models.IntegerField(validators=positive)
    number = models.IntegerField(validators=positive)
    parent = models.IntegerField(validators=whole)
    event = models.CharField(max_length=250)
    status = models.CharField(max_length=250)
    error = models.TextField(blank=True)
    enqueued = models.BigIntegerField(validators=whole)
    created = models.BigIntegerField(validators=whole)
    started = models.BigIntegerField(validators=whole)
    finished = models.BigIntegerField(validators=whole)
    deploy = models.CharField(max_length=500, blank=True)
    clone = models.CharField(max_length=1000, blank=True)
    source = models.CharField(max_length=1000, blank=True)
    title = models.CharField(max_length=1000, blank=True)
    message = models.TextField(blank=True)
    commit = models.CharField(max_length=500, blank=True)
    sender = models.CharField(max_length=250, blank=True)
    author = models.CharField(max_length=250, blank=True)
    branch = models.CharField(max_length=500, blank=True)
    ref = models.CharField(max_length=500, blank=True)
    base_ref = models.CharField(max_length=500, blank=True)
    host = models.CharField(max_length=250, blank=True)
    runtime = models.CharField(max_length=250, blank=True)
    distribution = models.CharField(max_length=250, blank=True)

    class Meta:
        """The table is the example's."""

        app_label = "builds"
        db_table = "builds"
        managed = False
        constraints = [models.UniqueConstraint(fields=["repo_id", "number"], name="unique_number")]


MEMBERS = [field.name for field in Build._meta.fields]


class BuildSerializer(serializers.ModelSerializer):
    """A whole build; what may be empty has to be sent nevertheless."""

    # The id of a row that is there already is no duplicate of itself.
    id = serializers.IntegerField(min_value=1)

    class Meta:
        """All members are required."""

        model = Build
        fields = MEMBERS
        extra_kwargs = {name: {"required": True} for name in MEMBERS}


class BearerAuthentication(TokenAuthentication):
    """Finds the user whose token it is."""

    keyword = "Bearer"
    users = {"octokitty": User(username="octokitty", is_staff=True)}

    def authenticate_credentials(self, key: str) -> tuple[Any, str]:
        """Look into the memory, not into the database."""
        user = find_user(key)
        if user is None:
            raise AuthenticationFailed("Invalid token.")
        return self.users[user.name], key


class BuildView(generics.UpdateAPIView):
    """Overwrites a build, whose id is in the body."""

    queryset = Build.objects.all()
    serializer_class = BuildSerializer
    authentication_classes = [BearerAuthentication]
    permission_classes = [IsAdminUser]

    def get_object(self) -> Any:
        """Find the build."""
        serializer = serializers.IntegerField(min_value=1)
        build_id = serializer.run_validation(self.request.data.get("id"))
        return generics.get_object_or_404(self.get_queryset(), pk=build_id)


urlpatterns = [path(PATH.removeprefix("/"), BuildView.as_view())]
