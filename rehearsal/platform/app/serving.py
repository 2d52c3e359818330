"""Running an ASGI application so that no request is lost when the pod ends.

Invariants: on SIGTERM the process first reports unready and goes on serving for the drain delay, then closes its
socket and finishes what it has; a second signal ends it at once.
"""

import asyncio
import gc
import signal
import types
from collections.abc import Callable

import uvicorn

from rehearsal.platform.app.metrics import App
from rehearsal.platform.core.settings import Settings

# Longer than a load balancer keeps an idle connection (Traefik, nginx: 60 to 90 s): the sending side closes first.
_KEEP_ALIVE_S = 120
GIVE_UP_S = 1.0
"""How long cancelled tasks are waited for: a cancellation can get lost where a wait ends at the same moment; the end of
the loop cancels what is left again."""


class _DrainingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, drain_delay_s: float, on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain_delay_s = drain_delay_s
        self._on_drain = on_drain
        self._draining = False
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        if self._draining or sig != signal.SIGTERM:
            super().handle_exit(sig, frame)
            return
        self._draining = True
        self._on_drain()
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_delay_s, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


async def serve(app: App, settings: Settings, *, port: int, drain_delay_s: float, on_drain: Callable[[], None]) -> None:
    """Serve on the pod's own address until SIGTERM and the drain after it."""
    config = uvicorn.Config(
        app,
        host=settings.pod_ip,
        port=port,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_timeout_s),
        backlog=2048,
    )
    gc.collect()
    gc.freeze()  # what start-up made stays: no collection has to walk it again
    await _DrainingServer(config, drain_delay_s=drain_delay_s, on_drain=on_drain).serve()
