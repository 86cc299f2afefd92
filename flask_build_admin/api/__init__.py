"""JSON over HTTP: the guard, the views, requests and responses."""
