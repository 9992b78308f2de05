"""Requests that several tests send."""

CHAT = "/v1/chat/completions"


def chat(text: str = "hi", **fields: object) -> dict[str, object]:
    return {"model": "gpt-small", "messages": [{"role": "user", "content": text}], **fields}
