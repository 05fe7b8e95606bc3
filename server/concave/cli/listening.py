"""The TCP port of a server, taken before anything else is started: a port in use is the first thing one hears of."""

from __future__ import annotations

import errno
import socket

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
