"""Whether every configured secret can be read: which, from where, and never what."""

from collections.abc import Iterator

from worker.cli.doctor.finding import Finding, failed, ok
from worker.errors import SettingsError
from worker.settings import Secret, Settings, secrets_of


def secret_findings(settings: Settings) -> Iterator[Finding]:
    """Read every secret but the endpoints' keys, which are judged with their endpoints."""
    for path, secret in secrets_of(settings).items():
        if not path.startswith("endpoints."):
            yield _secret(path, secret)


def mend(secret: Secret) -> str:
    """Give the line that mends a secret which cannot be read."""
    if secret.reference is None:
        return f"write it into {secret.place}"
    return f"see that {secret.place} is there, and that this machine may read it (docs/keys.md)"


def _secret(path: str, secret: Secret) -> Finding:
    try:
        secret.renew()
    except SettingsError as error:
        return failed(path, error.problems[0], mend(secret))
    return ok(path, f"{secret.place} holds one")
