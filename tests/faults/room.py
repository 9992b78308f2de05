"""A part of a Redis that is one test's, or one experiment's."""

from dataclasses import dataclass

from stack.redis import Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisRoom:
    """The keys below a prefix that nobody else has."""

    redis: Redis
    prefix: str

    @property
    def url(self) -> str:
        """The address without the password."""
        return self.redis.address

    @property
    def password(self) -> str:
        return self.redis.password

    def table(self) -> str:
        """Give its part of a worker's configuration."""
        return (
            f'[store]\nurl = "{self.url}"\npassword = "{self.password}"\nprefix = "{self.prefix}"\n'
        )
