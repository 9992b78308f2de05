"""Secrets of Google Cloud's Secret Manager, with application default credentials."""

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.secretmanager import SecretManagerServiceClient

from worker.errors import SecretUnavailable
from worker.secrets.quiet import silence
from worker.secrets.reference import Reference, picked

silence("google", "grpc", "requests", "urllib3")


class GcpReader:
    """Reads the version that a reference names, else the latest. `client` is for tests.

    Over REST: one small request now and then needs no gRPC channel with threads of its own.
    """

    def __init__(
        self, *, timeout_s: float, client: SecretManagerServiceClient | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._client = client or SecretManagerServiceClient(transport="rest")

    def read(self, reference: Reference) -> str:
        """Give the secret's text or field. Raises `SecretUnavailable`, and the library's errors else."""
        path = reference.path
        name = path if "/versions/" in path else f"{path}/versions/latest"
        try:
            answer = self._client.access_secret_version(
                request={"name": name}, timeout=self._timeout_s, retry=None
            )
        except GoogleAPICallError as error:
            raise SecretUnavailable(
                f"cannot be read: Google answers {error.code or ''} ({type(error).__name__})"
            ) from error
        try:
            text = answer.payload.data.decode()
        except UnicodeDecodeError:
            raise SecretUnavailable("is binary: a secret must be text") from None
        return picked(text, reference.field)
