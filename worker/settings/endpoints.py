"""The settings of an endpoint: where it is, how it is spoken to, what it serves, how much it bears. See `schema`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from worker.settings.bounds import MOST_JOBS
from worker.settings.headers import checked_headers
from worker.settings.secret import Secret
from worker.settings.served import checked_models, checked_paths, parse_models
from worker.settings.urls import url
from worker.settings.values import (
    PLAIN,
    Duration,
    Size,
    lasting,
    measuring,
    one_of,
    parse_path,
    parse_secret,
    parse_table,
    within,
)
from worker.upstream.apis import Api

_MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """One endpoint: a URL, a key, and how to talk to it. `headers` may hold secrets, so it is not shown."""

    name: str
    base_url: Annotated[
        str, url("http", "https"), "Root of the API, with its version: `https://api.openai.com/v1`"
    ]
    key: Annotated[
        Secret | None, PlainValidator(parse_secret), "The API key; none for a server without keys"
    ] = None
    api: Annotated[
        Api | None,
        one_of(Api),
        f"What it speaks: {', '.join(f'`{each}`' for each in Api)}; none: by the base URL's host, else `generic`",
    ] = None
    api_version: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z0-9.-]{1,32}$"),
        "Azure's `api-version`, such as `2024-10-21`: needed where the base URL does not end with `/v1`",
    ] = None
    key_header: Annotated[
        Literal["bearer", "api-key", "x-api-key"] | None,
        "How the key is sent: `Authorization: Bearer`, or in the header of that name; none: as its API wants it",
    ] = None
    paths: Annotated[
        Mapping[str, str],
        BeforeValidator(parse_table),
        AfterValidator(checked_paths),
        PLAIN,
        "Where it has an API path, if not where its API has it:"
        ' `{ "/v1/embeddings" = "/embed" }`, below the base URL; `""`: it has none',
    ] = field(default_factory=lambda: MappingProxyType({}))
    models: Annotated[
        Mapping[str, str],
        BeforeValidator(parse_models),
        AfterValidator(checked_models),
        PLAIN,
        'The models that it serves: `["a", "b"]`, or with their names there `{ "a" = "its-a" }`; none: every'
        " model, under the name asked for",
    ] = field(default_factory=lambda: MappingProxyType({}))
    account: Annotated[
        str | None,
        Field(pattern=r"^[a-z0-9_-]{1,32}$"),
        "Endpoints of one account share its limits, over all workers; none: the endpoint's own name",
    ] = None
    requests_per_minute: Annotated[
        int,
        within(0, 10_000_000),
        "Calls that its account takes in any minute, over all workers; 0: not known",
    ] = 0
    tokens_per_minute: Annotated[
        int,
        within(0, 100_000_000_000),
        "Tokens, of prompts and completions, that its account takes in any minute; 0: not known",
    ] = 0
    concurrency: Annotated[
        int,
        within(0, MOST_JOBS),
        "Calls that this worker has there at once; 0: as many as the endpoint is found to bear",
    ] = 0
    max_concurrency: Annotated[
        int,
        within(1, MOST_JOBS),
        "The most that are tried at once where `concurrency` is not known",
    ] = MOST_JOBS
    http: Annotated[
        Literal["auto", "1.1", "2"], "The HTTP version; `auto` asks the server over TLS"
    ] = "auto"
    weight: Annotated[
        float, within(0.001, 1000), "Share of the tier's calls, relative to its other endpoints"
    ] = 1.0
    connect_timeout: Annotated[
        Duration, lasting("10ms", "5m"), "How long connecting, with TLS, may take"
    ] = timedelta(seconds=5)
    read_timeout: Annotated[
        Duration, lasting("10ms", "1d"), "The longest silence of the upstream inside a call"
    ] = timedelta(minutes=2)
    ca_file: Annotated[
        Path | None, BeforeValidator(parse_path), "Certificates to trust instead of the system's"
    ] = None
    headers: Annotated[
        Mapping[str, str],
        BeforeValidator(parse_table),
        AfterValidator(checked_headers),
        "Headers added to every call",
    ] = field(repr=False, default_factory=lambda: MappingProxyType({}))
    max_response: Annotated[
        Size,
        measuring("1KiB", "15MiB"),
        "Larger responses end the job; RabbitMQ takes messages up to 16 MiB",
    ] = 15 * _MIB
    allow_plaintext: Annotated[bool, "Allow `http://` to another machine"] = False
