"""Sends what webhooks are to be told, for as long as the service runs: signed, in time, again after a failure.

Follows no redirect, reads little of an answer. Leaves out what is told and when it is tried again (feedback.webhooks).
"""

import asyncio

import httpx
import structlog

from feedback.database import Database
from feedback.logs import whereabouts
from feedback.webhooks import deliveries
from feedback.webhooks.deliveries import Parcel

_log = structlog.get_logger()

SECONDS_BETWEEN_LOOKS = 2.0
TIMEOUT_SECONDS = 10.0


async def send_all(database: Database, *, every_seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
    failing = False
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        while True:
            try:
                due = await asyncio.to_thread(deliveries.take_due, database)
                await asyncio.gather(*(_send(database, client, parcel) for parcel in due))
                failing = False
            except Exception as error:
                if not failing:  # once, however long it lasts
                    _log.error("webhooks not sent", **whereabouts(error))
                failing = True
            await asyncio.sleep(every_seconds)


async def _send(database: Database, client: httpx.AsyncClient, parcel: Parcel) -> None:
    try:
        async with client.stream("POST", parcel.url, content=parcel.body, headers=parcel.headers) as answer:
            arrived, told = answer.is_success, f"HTTP {answer.status_code}"
    except httpx.HTTPError as error:
        arrived, told = False, f"{type(error).__name__}: {error}"
    except ValueError as error:  # an address that httpx can't read
        arrived, told = False, str(error)
    await asyncio.to_thread(deliveries.note, database, parcel.delivery_id, arrived=arrived, answer=told)
