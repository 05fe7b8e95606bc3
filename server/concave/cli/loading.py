"""Loading the app for a command: clear words for a directory that is not there, warnings on stderr."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from concave.functions.loader import LoadedApp, load_app
from concave.values.errors import ConfigurationError


def load(app_dir: Path) -> LoadedApp:
    """The app in the directory. Raises `ConfigurationError`, as a `LoadError` if the app itself is at fault."""
    if not app_dir.is_dir():
        raise ConfigurationError(
            f"there is no app in {app_dir.absolute()}: make that directory, with a module of tables and functions "
            "in it, or name the app's directory with --app"
        )
    app = load_app(app_dir)
    if not app.modules:
        raise ConfigurationError(
            f"there is no app in {app_dir.absolute()}: that directory holds no Python module. Write one with tables "
            "and functions, or name the app's directory with --app"
        )
    if not app.schema.tables and not len(app.registry):
        print(
            f"warning: the app in {app_dir.absolute()} defines no table and no function: is it the right directory?",
            file=sys.stderr,
        )
    for warning in app.warnings:
        print(warning, file=sys.stderr)
    return app


def source_state(app_dir: Path) -> dict[Path, tuple[int, int]]:
    """Time and size of each of the app's Python files: differs from an earlier state if a file has changed since."""
    state: dict[Path, tuple[int, int]] = {}
    for file in app_dir.rglob("*.py"):
        with contextlib.suppress(FileNotFoundError):  # editors put a new file in place of the old one
            status = file.stat()
            state[file] = (status.st_mtime_ns, status.st_size)
    return state
