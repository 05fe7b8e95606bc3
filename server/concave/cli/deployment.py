"""What a data directory remembers of its deployment: the admin key, and where the running server is.

| file | holds | mode |
|---|---|---|
| `admin_key` | the key, `<name>\\|<token>`, made at the first start and kept | 0600 |
| `deployment.json` | URL, admin key, database URI and pid of the server that runs now; removed when it stops | 0600 |
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from concave.values.errors import ConfigurationError
from concave.values.runtime import Runtime

ADMIN_KEY_ENVIRONMENT: Final = "CONCAVE_ADMIN_KEY"
_TOKEN_BYTES: Final = 24


@dataclass(slots=True, frozen=True)
class Deployment:
    """A running server, as its data directory describes it. HTTP actions are served at `site_url`."""

    url: str
    admin_key: str
    db: str
    pid: int
    site_url: str = ""


def admin_key(data_dir: Path, name: str, runtime: Runtime) -> str:
    """The deployment's key: from the environment, else the data directory's, made there if there is none yet."""
    if given := os.environ.get(ADMIN_KEY_ENVIRONMENT):
        if "|" not in given or ":" in given:
            raise ConfigurationError(f"{ADMIN_KEY_ENVIRONMENT} must look like name|token, with no colon in it")
        return given
    file = data_dir / "admin_key"
    with contextlib.suppress(FileNotFoundError):
        if kept := file.read_text().strip():
            return kept
    key = f"{name}|{runtime.random_bytes(_TOKEN_BYTES).hex()}"
    _write_private(file, key + "\n")
    return key


def announce(data_dir: Path, deployment: Deployment) -> None:
    """Let commands in other terminals find the running server."""
    _write_private(data_dir / "deployment.json", json.dumps(asdict(deployment), indent=2) + "\n")


def withdraw(data_dir: Path) -> None:
    """Take the announcement back, if it is this process's."""
    found = running(data_dir)
    if found is not None and found.pid == os.getpid():
        (data_dir / "deployment.json").unlink(missing_ok=True)


def running(data_dir: Path) -> Deployment | None:
    """The announced server, if its process is alive."""
    try:
        found = Deployment(**json.loads((data_dir / "deployment.json").read_text()))
        os.kill(found.pid, 0)
    except PermissionError:
        return found  # alive, and somebody else's
    except (OSError, ValueError, TypeError):
        return None
    return found


def find(data_dir: Path, url: str | None, key: str | None) -> Deployment:
    """The server to call: the one named, else the one that runs on the data directory. Raises `ConfigurationError`.

    A key that is not given is looked for in the environment and in the data directory.
    """
    here = running(data_dir)
    if url is None and here is None:
        raise ConfigurationError(
            f"no server runs on the data directory {data_dir}: start `concave dev`, "
            "or name a server with --url and --admin-key"
        )
    if url is not None and not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--url must begin with http:// or https://, not {url!r}")
    key = key or os.environ.get(ADMIN_KEY_ENVIRONMENT) or (here.admin_key if here is not None else None)
    if key is None:
        with contextlib.suppress(FileNotFoundError):
            key = (data_dir / "admin_key").read_text().strip()
    if not key:
        raise ConfigurationError(f"no admin key for {url}: give it with --admin-key or in {ADMIN_KEY_ENVIRONMENT}")
    return Deployment(url or (here.url if here is not None else ""), key, here.db if here is not None else "", 0)


def _write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.{os.getpid()}.new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as stream:
            stream.write(text)
        fresh.replace(file)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot write {file} ({exc.strerror}): choose another directory with --data-dir"
        ) from None
