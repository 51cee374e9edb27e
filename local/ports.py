"""TCP ports of one machine."""

from __future__ import annotations

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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


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
