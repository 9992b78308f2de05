"""Several hosts in the broker's URL: the nodes of a cluster, any of which will do.

amqps://USER:PASSWORD@HOST1,HOST2,HOST3:5673/VHOST
"""

from urllib.parse import urlsplit


def one_each(url: str) -> tuple[str, ...]:
    """Give a URL for each host, in their order; of a URL with one host, that URL. A port belongs to its host alone.

    Raises:
        ValueError: it cannot be read as a URL at all; what is between the commas is not looked at.
    """
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return (url,)
    return tuple(
        parts._replace(netloc=f"{user}{at}{host.strip()}").geturl() for host in hosts.split(",")
    )
