"""TCP ports of one machine."""

from __future__ import annotations

import secrets
import socket

from local import LocalError


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: a connection still in TIME_WAIT is no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """A free port of the loopback address, the preferred one if possible."""
    if preferred is not None and is_free("127.0.0.1", preferred):
        return preferred
    # Below the range from which systems number outgoing connections (Linux: from 32768, others: from 49152): one of those
    # may take a port between this look and the server's start.
    candidates = secrets.SystemRandom().sample(range(20_000, 32_000), 200)
    return next(port for port in candidates if is_free("127.0.0.1", port))


def require_free(host: str, port: int) -> None:
    """Check that Airflow's address is free.

    Raises:
        LocalError: something listens there, or the address is not this machine's.
    """
    try:
        socket.getaddrinfo(host, port)
    except OSError as exc:
        raise LocalError(f"HOST={host} is no address of this machine: {exc.strerror}") from exc
    if is_free(host, port):
        return
    if not is_free(host, 0):
        raise LocalError(f"HOST={host} is no address of this machine. Leave it out to listen on 127.0.0.1")
    other = next((p for p in range(port + 1, min(port + 100, 65536)) if is_free(host, p)), free_port())
    raise LocalError(
        f"Port {port} of {host} is in use, perhaps by another `make run`. Stop that one, or choose another port: PORT={other} make run"
    )
