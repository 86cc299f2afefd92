"""Servers of one process: the example as it is started and asked from a shell, or any app."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from threading import Thread

from flask import Flask
from werkzeug.serving import make_server

from tests.support.pages import ROOT

SCRIPT = [sys.executable, "example_app.py"]
TOKEN = re.compile("bearer token: (.*)")


def copy_example(folder: Path) -> None:
    """Put the files of the example into a folder."""
    for name in ("example_app.py", "octocat.json"):
        shutil.copy(ROOT / name, folder)


@contextmanager
def served(folder: Path, command: list[str], **environment: str) -> Iterator[tuple[str, int]]:
    """Run the server, and answer what it prints and its port."""
    with socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    hidden = {"DATABASE_URL", "BUILD_ADMIN_TOKEN"}
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=inherited | {"FLASK_RUN_PORT": str(port), "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if "Running on" in line:
                break
        try:
            yield printed, port
        finally:
            process.terminate()


def paste(commands: str, folder: Path) -> str:
    """Run what a newcomer pastes into a shell."""
    done = subprocess.run(
        ["bash", "-c", commands], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def typed(commands: str, token: str, port: int) -> str:
    """Have the commands of a page ask this server."""
    return commands.replace("<token>", token).replace(":8080", f":{port}")


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    """Serve an app from a thread, and answer its URL."""
    server = make_server("127.0.0.1", 0, app)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
