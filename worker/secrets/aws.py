"""Secrets of AWS Secrets Manager, with the credentials and the region that boto3 finds by its default chain."""

import threading
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError

from worker.errors import SecretUnavailable
from worker.secrets.quiet import silence
from worker.secrets.reference import Reference, picked

silence("boto3", "botocore", "urllib3")


class AwsReader:
    """Reads the current version of secrets; of an ARN its own region is asked."""

    def __init__(self, *, timeout_s: float) -> None:
        self._config = Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        self._lock = threading.Lock()
        self._clients: dict[str | None, Any] = {}  # boto3 has no types

    def read(self, reference: Reference) -> str:
        """Give the secret's text or field. Raises `SecretUnavailable`, and botocore's errors else."""
        try:
            answer = self._client(_region(reference.path)).get_secret_value(SecretId=reference.path)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "an error"))
            said = code if code.isalnum() else "an error"
            raise SecretUnavailable(f"cannot be read: AWS answers {said}") from error
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise SecretUnavailable("is binary: a secret must be text")
        return picked(text, reference.field)

    def _client(self, region: str | None) -> Any:  # noqa: ANN401  # boto3 has no types
        with self._lock:  # a session is not to be used by two threads; a client may be
            if region not in self._clients:
                self._clients[region] = Session(region_name=region).client(
                    "secretsmanager", config=self._config
                )
            return self._clients[region]


def _region(path: str) -> str | None:
    """Give the region of an ARN, `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`; None: the chain's."""
    match path.split(":"):
        case ["arn", _, "secretsmanager", region, *_]:
            return region or None
        case _:
            return None
