"""The canaries' own test: in each place where a secret may not be, it is found."""

from base64 import b64encode
from pathlib import Path

import pytest

from tests.faults.canaries import KEY, PROMPT, hits, planted
from tests.faults.poison import text
from tests.faults.rawamqp import Draft, RawClient, short
from tests.faults.vhost import Vhost

pytestmark = pytest.mark.broker


def letter(key: bytes, *headers: tuple[bytes, bytes], body: bytes = b"") -> Draft:
    return Draft(
        exchange=b"warren.dead",
        routing_key=key,
        properties={"delivery_mode": b"\x02"},
        headers=headers,
        body=body,
    )


async def test_a_secret_is_found_in_logs_errors_and_headers_and_a_letters_body_may_hold_it(
    vhost: Vhost, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"{}\n" * 400_000)
    secrets = planted(vhost, completion="a completion's text")
    with RawClient(vhost.url("admin")) as admin:
        assert admin.publish(letter(b"standard", body=PROMPT.encode())) is None
        assert await hits(vhost, secrets, logs=[log], texts=["it failed"]) == []
        assert admin.publish(letter(b"standard", (b"h", text(PROMPT.encode())))) is None
        wire = b64encode(short(KEY.encode()))
        assert admin.publish(letter(b"quarantine", (b"x-warren-wire", text(wire)))) is None
    log.write_bytes(b"{}\n" * 400_000 + vhost.passwords["worker"].encode())
    basic = b64encode(f"x:{KEY}".encode()).decode()
    told = ["not a completion's text", f"ok {basic}"]
    assert set(await hits(vhost, secrets, logs=[log], texts=told)) == {
        "prompt in the headers in warren.dead.standard",
        "upstream key in the headers in warren.quarantine",
        "password of worker in worker.log",
        "completion in an error reply",
    }
    # Looking put everything back.
    assert len(await hits(vhost, secrets)) == 2
