"""The one thing asyncio has no word for: closing a TCP connection with RST."""

import asyncio
import socket
import struct


def reset_connection(transport: asyncio.Transport) -> None:
    """Close at once with RST: what is unsent is thrown away, and the client sees a reset."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # Set on a duplicate: the transport's own object offers no setsockopt on every loop, and the
        # option belongs to the connection, not to the descriptor.
        with socket.fromfd(sock.fileno(), sock.family, sock.type) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
