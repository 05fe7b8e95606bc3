"""`concave keys`: the admin keys of a deployment."""

from __future__ import annotations

from pathlib import Path

from concave.auth.admin_keys import read_only_key
from concave.cli.deployment import admin_key
from concave.values.runtime import SystemRuntime


def create(app_dir: Path, data_dir: Path, *, read_only: bool) -> str:
    """A key: with all rights the deployment's own, made if there is none yet; a read-only one follows from it.
    Raises `ConfigurationError`."""
    key = admin_key(data_dir, app_dir.resolve().name, SystemRuntime())
    return read_only_key(key) if read_only else key
