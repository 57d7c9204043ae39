"""The service's address: taken by the service, and tried beforehand by `burnish up` and `burnish doctor`."""

import socket

from feedback.errors import BurnishError


def take(host: str, port: int) -> socket.socket:
    """A socket bound to the address, IPv4 or IPv6 as the host is. Raises BurnishError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind, protocol)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
        except OSError:
            taken.close()
            raise
    except OSError as error:
        raise BurnishError(
            f"Can't listen on {host}:{port} ({error.strerror}): stop what uses the port, "
            "or choose another with BURNISH_PORT (`burnish up --port`) or BURNISH_HOST."
        ) from None
    return taken
