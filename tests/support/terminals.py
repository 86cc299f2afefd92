"""Commands at a terminal and in a pipe, and an editor that does what it is told."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from flask import Flask
from flask.cli import ScriptInfo

from tests.support.hosts import Host
from tests.support.servers import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]

#: Does to the file it is given what the next line of its script says.
EDITOR = """\
import json, os, pathlib, sys
script, file = map(pathlib.Path, sys.argv[1:])
first, _, rest = script.read_text().partition("\\n")
script.write_text(rest)
step = json.loads(first)
text = file.read_text(errors="surrogateescape")
with script.with_suffix(".seen").open("a") as seen:
    seen.write(text.encode(errors="replace").decode() + "\\f")
os.system(step.get("meanwhile", "true"))
if "remove" in step:
    file.unlink()
if "text" in step:
    file.write_bytes(step["text"].encode("utf-8", "surrogateescape"))
if "set" in step:
    body = "".join(line for line in text.splitlines(True) if not line.startswith("#"))
    file.write_text(json.dumps(json.loads(body) | step["set"]))
sys.exit(step.get("exit", 0))
"""


class Outcome(NamedTuple):
    code: int
    output: str
    errors: str = ""


class Editor:
    """An editor with a script, and the environment in which it is the administrator's.

    :param steps: what it does each time that it is opened.
    """

    def __init__(self, folder: Path, steps: Sequence[Mapping[str, Any]]) -> None:
        self.folder = folder
        program, script = folder / "editor.py", folder / "steps"
        program.write_text(EDITOR)
        script.write_text("".join(f"{json.dumps(step)}\n" for step in steps))
        self._seen = script.with_suffix(".seen")
        command = f"{sys.executable} {program} {script}"
        self.environment: dict[str, Any] = {"VISUAL": command, "TMPDIR": str(folder)}

    @property
    def seen(self) -> list[str]:
        """What was in the file each time that it was opened."""
        return self._seen.read_text().split("\f")[:-1] if self._seen.exists() else []

    @property
    def kept(self) -> list[Path]:
        """The drafts that are still there."""
        return list(self.folder.glob("build-*.json"))


def meanwhile(url: str, members: Mapping[str, Any]) -> str:
    """Make the command by which somebody else changes the build of a plain host."""
    code = (
        "import sqlalchemy as sa; from tests.support.hosts import Build, BuildRevision; "
        "from sqlalchemy.orm import Session; "
        "from flask_build_admin.store import BuildStore, ChangeOptions; "
        f"session = Session(sa.create_engine({url!r})); "
        "store = BuildStore(Build, lambda: session, history=BuildRevision); "
        f"store.overwrite(store.find('1').document | {dict(members)!r},"
        " ChangeOptions(actor='hubot', reason='faster'))"
    )
    quoted = code.replace('"', '\\"')
    return f'PYTHONPATH={ROOT} {sys.executable} -c "{quoted}"'


class _Screen:
    """A pseudo-terminal on which answers are typed, and all that it shows.

    :param answers: typed at once; the commands read them when they ask.
    :param asked: called at the first question, before it is answered with yes.
    """

    def __init__(
        self, answers: str, columns: int = 80, asked: Callable[[], None] | None = None
    ) -> None:
        self._asked = asked
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.write(self._master, answers.encode())
        self._shown = b""
        self._reader = Thread(target=self._read)
        self._reader.start()
        # Shown before anything else, however late the kernel comes to it. The end (^D) is not.
        wait_until(lambda: len(self._shown) >= len(answers.rstrip("\x04")))

    def _read(self) -> None:
        with suppress(OSError):  # the terminal is gone when its last user is
            while part := os.read(self._master, 65_536):
                self._shown += part
                if self._asked is not None and b"[y/N]" in self._shown:
                    self._asked()
                    self._asked = None
                    os.write(self._master, b"y\n")

    def close(self) -> str:
        os.close(self.slave)
        self._reader.join()
        os.close(self._master)
        return self._shown.decode().replace("\r\n", "\n")


def at_terminal(
    app: Flask,
    *arguments: str,
    answers: str = "",
    columns: int = 80,
    asked: Callable[[], None] | None = None,
    **environment: str,
) -> Outcome:
    """Run a command of an app at a terminal of this process; errors go elsewhere."""
    screen = _Screen(answers, columns, asked)
    stdin, before = sys.stdin, dict(os.environ)
    errors = io.StringIO()
    code = 0
    os.environ.update(environment | {"COLUMNS": str(columns)})
    tempfile.tempdir = None  # or the module would not look at the environment again
    try:
        with (
            os.fdopen(os.dup(screen.slave)) as sys.stdin,
            os.fdopen(os.dup(screen.slave), "w") as output,
            redirect_stdout(output),
            redirect_stderr(errors),
        ):
            app.cli.main(list(arguments), "flask", obj=ScriptInfo(create_app=lambda: app))
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdin = stdin
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = None
        shown = screen.close()
    return Outcome(code, shown, errors.getvalue())


def in_pipe(app: Flask, *arguments: str, sent: str | bytes = b"") -> Outcome:
    """Run a command of an app where nobody can be asked."""
    result = app.test_cli_runner().invoke(args=list(arguments), input=sent)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def run(host: Host, *arguments: str, **options: Any) -> Outcome:
    """Run a command of a host at a terminal."""
    return at_terminal(host.app, "build-admin", *arguments, **options)


def pipe(host: Host, *arguments: str, **options: Any) -> Outcome:
    """Run a command of a host in a pipe."""
    return in_pipe(host.app, "build-admin", *arguments, **options)


def as_process(
    command: Sequence[str], *, terminal: bool, answers: str = "", **options: Any
) -> Outcome:
    """Run a command as a process of its own, at a terminal or in a pipe."""
    if not terminal:
        done = subprocess.run(
            command, input=answers, capture_output=True, text=True, timeout=PATIENCE, **options
        )
        return Outcome(done.returncode, done.stdout, done.stderr)
    screen = _Screen(answers)
    streams: Any = dict.fromkeys(("stdin", "stdout", "stderr"), screen.slave)
    try:
        code = subprocess.run(
            command, timeout=PATIENCE, check=False, **streams, **options
        ).returncode
    finally:
        shown = screen.close()
    return Outcome(code, shown)
