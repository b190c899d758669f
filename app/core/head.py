"""HEAD, on every path that has a GET (RFC 9110, 9.3.2): the head of what GET would answer, and no body."""

from starlette.types import Message, Scope, Send


def as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """What the application is to answer in place of this request; for any other method, the request itself.

    The answer ends with its head. What streams learns it as it learns that a client has gone.
    """
    if scope["method"] != "HEAD":
        return scope, send

    async def respond(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})

    return {**scope, "method": "GET"}, respond
