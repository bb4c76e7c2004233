"""An app that is made when somebody first asks for it.

BentoML and its pages take 0.6 s of a processor to import and 60 MB to keep; a server answers predictions without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mlops_box_services.exchange import App, Message, Receive, Scope, Send


class LateApp:
    """Stands for an ASGI app until its first request, and for its lifespan.

    Args:
        make: Makes the app; called once, in a thread.
    """

    def __init__(self, make: Callable[[], App]):
        self._make = make
        self._making = asyncio.Lock()
        self._app: App | None = None
        self._lifespan: _Lifespan | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        async with self._making:
            if self._app is None:
                app = await asyncio.get_running_loop().run_in_executor(None, self._make)
                self._lifespan = _Lifespan(app)
                await self._lifespan.start()
                self._app = app
        await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._lifespan is not None:
            await self._lifespan.stop()
        await send({"type": "lifespan.shutdown.complete"})


class _Lifespan:
    """Starts and stops one app, as a server would."""

    def __init__(self, app: App):
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.ensure_future(
            app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._told.get, self._said.put)
        )

    async def start(self) -> None:
        await self._step("startup")

    async def stop(self) -> None:
        await self._step("shutdown")
        await self._task

    async def _step(self, name: str) -> None:
        await self._told.put({"type": f"lifespan.{name}"})
        said = asyncio.ensure_future(self._said.get())
        await asyncio.wait({said, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not said.done():
            said.cancel()
            raise RuntimeError(f"the app ended at its {name}") from self._task.exception()
        message = said.result()
        if message["type"] != f"lifespan.{name}.complete":
            raise RuntimeError(f"the app's {name} failed: {message.get('message', '')}")
