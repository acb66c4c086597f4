"""An HTTP client with enough requests in flight, each with a JPEG as its body.

python -m bench.drivers.http URL
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import List, Optional

import aiohttp

from bench.drive import ANSWER_TIMEOUT, WINDOW, Order, Outcome, serve


class _Run:
    """One order on its way."""

    def __init__(self, session: aiohttp.ClientSession, url: str, order: Order) -> None:
        self._session, self._url, self._order = session, url, order
        self._room = asyncio.Semaphore(WINDOW if order.rate is None else order.frames)
        self._latencies: List[float] = []
        self._seconds = 0.0
        self._failure: Optional[Exception] = None

    async def outcome(self) -> Outcome:
        self._began = time.perf_counter()
        requests: List[asyncio.Task[None]] = []
        for due, jpeg in zip(self._order.due(), self._order.jpegs()):
            await self._room.acquire()
            if self._failure is not None:
                raise self._failure
            ahead = due - self._now()
            if ahead > 0:
                await asyncio.sleep(ahead)
            sent = self._now() if self._order.rate is None else due
            requests.append(asyncio.create_task(self._request(jpeg, sent)))
        await asyncio.gather(*requests)
        return Outcome(self._seconds, len(self._latencies), self._latencies)

    async def _request(self, jpeg: bytes, due: float) -> None:
        try:
            async with self._session.post(self._url, data=jpeg) as response:
                answer = await response.read()
                if response.status != 200:
                    raise RuntimeError(f"{self._url} answered {response.status}: {answer[:500]!r}")
        except Exception as error:
            self._failure = error
            raise
        finally:
            self._room.release()
        self._seconds = self._now()
        self._latencies.append((self._seconds - due) * 1000)

    def _now(self) -> float:
        return time.perf_counter() - self._began


async def _run(url: str, order: Order) -> Outcome:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT)
    ) as session:
        return await _Run(session, url, order).outcome()


if __name__ == "__main__":
    serve(lambda order: asyncio.run(_run(sys.argv[1], order)))
