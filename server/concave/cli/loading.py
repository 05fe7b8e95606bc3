"""Loading the app for a command: clear words for a directory that is not there, warnings on stderr."""

from __future__ import annotations

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
    for warning in app.warnings:
        print(warning, file=sys.stderr)
    return app
