"""Asks a TLS server once which HTTP version it speaks, before any request goes out."""

import asyncio
import ssl
from typing import Final

import httpx

_OFFER: Final = ("h2", "http/1.1")


def context(ca_pem: bytes | None) -> ssl.SSLContext:
    """Give a verifying context that offers HTTP/2 and HTTP/1.1; `ca_pem` replaces the system's authorities.

    Raises:
        ValueError: `ca_pem` holds no certificate.
    """
    try:
        # An empty text would count as none given, and the system's authorities would be trusted.
        text = None if ca_pem is None else ca_pem.decode("ascii") or "-"
        tls = ssl.create_default_context(cadata=text)
    except ssl.SSLError:
        raise ValueError("the text holds no PEM certificate") from None
    tls.set_alpn_protocols(_OFFER)
    return tls


async def speaks_http2(host: str, port: int, *, tls: ssl.SSLContext, timeout_s: float) -> bool:
    """Tell whether the server picks HTTP/2. One handshake, the certificate checked, nothing sent.

    Raises:
        httpx.ConnectTimeout, httpx.ConnectError: no such connection; the call itself would fare no better.
    """
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except TimeoutError:
        raise httpx.ConnectTimeout("the TLS handshake took too long") from None
    except (
        OSError
    ) as error:  # refused, unknown name, a wrong certificate: the last is an OSError too
        raise httpx.ConnectError(str(error)) from error
    picked = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.transport.abort()  # nothing was said that needs a farewell
    return bool(picked == "h2")
