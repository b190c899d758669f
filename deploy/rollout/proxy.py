"""Traefik's file of servers: the one place that says which generation is asked."""

from __future__ import annotations

from deploy.rollout.config import Config
from deploy.rollout.probe import Answer, get, until
from deploy.rollout.state import Generation, replace_file

HEAD = """\
# Written by deploy/rollout.
http:
"""
# Only who knows the mark is sent to a generation that is still to be tested.
PREVIEW = """\
  routers:
    preview:
      entryPoints: [websecure]
      rule: Header(`X-Preview`, `{mark}`) && Host(`{{{{ env "PUBLIC_HOST" }}}}`)
      priority: 2000
      middlewares: [generation-next, headers, rate]
      service: next
"""
SERVICE = """\
    {name}:
      loadBalancer:
        servers:
          - url: {upstream}
        healthCheck: {{ path: /health/live, interval: 2s, timeout: 1s }}
        serversTransport: api
"""
# By this header it is seen that the proxy has read this file, and which generation has answered.
MIDDLEWARE = """\
    {name}:
      headers: {{ customResponseHeaders: {{ X-Generation: "{mark}" }} }}
"""


def text(serving: tuple[str, str] | None, preview: tuple[str, str] | None = None) -> str:
    """The file; each generation is (mark, address)."""
    named = [("api", "generation", serving), ("next", "generation-next", preview)]
    known = [(service, middleware, *one) for service, middleware, one in named if one]
    parts = [HEAD, PREVIEW.format(mark=preview[0]) if preview else ""]
    parts += ["  services:\n", *(SERVICE.format(name=service, upstream=where) for service, _, _, where in known)]
    parts += ["  middlewares:\n", *(MIDDLEWARE.format(name=middleware, mark=mark) for _, middleware, mark, _ in known)]
    return "".join(parts)


class Proxy:
    def __init__(self, config: Config) -> None:
        self._config = config

    def ask(self, generation: Generation) -> None:
        """All requests go to this generation when this returns. RolloutError when the proxy has not done it in time."""
        self._write(text(self._known(generation)))
        self._confirm(generation, {})

    def show(self, serving: Generation | None, preview: Generation) -> None:
        """As it is, and `preview` for whoever knows its mark."""
        self._write(text(self._known(serving) if serving else None, self._known(preview)))
        self._confirm(preview, {"X-Preview": preview.mark})

    def leave(self, serving: Generation | None) -> None:
        """Nobody but `serving`; without one the proxy knows no server."""
        if serving:
            self.ask(serving)
        else:
            self._config.servers.unlink(missing_ok=True)

    def get(self, path: str, preview: Generation | None = None) -> Answer:
        """One request through the proxy."""
        headers = {"X-Preview": preview.mark} if preview else {}
        return get(self._config.proxy + path, self._config.host, headers)

    def _known(self, generation: Generation) -> tuple[str, str]:
        return generation.mark, self._config.slots[generation.slot].upstream

    def _write(self, wanted: str) -> None:
        servers = self._config.servers
        if not servers.exists() or servers.read_text(encoding="utf-8") != wanted:
            replace_file(servers, wanted)

    def _confirm(self, generation: Generation, headers: dict[str, str]) -> None:
        path = next(iter(self._config.smoke))

        def fault() -> str:
            answer = get(self._config.proxy + path, self._config.host, headers)
            return "" if answer.headers.get("x-generation") == generation.mark else f"{path}: {answer}"

        until(fault, seconds=self._config.seconds.switch, what=f"the proxy does not ask {generation}")
