"""The TCP ports of a server, taken before anything else is started: a port in use is the first thing one hears of."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

from concave.values.errors import ConfigurationError


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A bound socket that does not listen yet: until the server is ready clients are refused, not kept waiting.

    Port 0 takes any free one. Raises `ConfigurationError`. With `shared`, other processes of this user may bind the
    same port if they say so, too (`SO_REUSEPORT`): the system spreads connections over those that listen.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as exc:
        raise ConfigurationError(f"cannot listen on {host}, port {port}: {exc}") from None
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind(address)
    except OSError as exc:
        bound.close()
        raise ConfigurationError(_message(host, port, exc)) from None
    return bound


def bind_site(host: str, api: socket.socket, port: int | None, *, shared: bool = False) -> socket.socket | None:
    """The port of HTTP actions, as `bind`: the one named, else the next after the API's.

    None if it was not named and cannot be had: HTTP actions are under `/http` on the API port in any case.
    """
    if port is not None:
        return bind(host, port, shared=shared)
    try:
        return bind(host, api.getsockname()[1] + 1, shared=shared)
    except ConfigurationError:
        return None


@dataclass(slots=True, frozen=True)
class Origins:
    """Where clients find the deployment, without a slash at the end: the API, and HTTP actions."""

    api: str
    site: str


def origins_of(api: socket.socket, site: socket.socket | None) -> Origins:
    """As these are bound, unless the environment knows better: behind a proxy the deployment has other addresses."""
    url = os.environ.get("CONVEX_CLOUD_ORIGIN", "").rstrip("/") or url_of(api)
    site_url = os.environ.get("CONVEX_SITE_ORIGIN", "").rstrip("/")
    return Origins(url, site_url or (f"{url}/http" if site is None else url_of(site)))


def url_of(bound: socket.socket) -> str:
    """The address for people and clients. A server on all interfaces is shown as this machine."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def _message(host: str, port: int, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program (perhaps another `concave dev`): "
            f"stop that program, or choose another port, for instance with --port {port + 1}"
        )
    if exc.errno == errno.EACCES:
        return f"port {port} needs special rights: choose one above 1023, for instance with --port 3210"
    return f"cannot listen on {host}, port {port}: {exc.strerror}"
