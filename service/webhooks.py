"""Sends what webhooks are to be told, for as long as the service runs: signed, in time, again after a failure.

Promises that no address holds up another, and that none leads into the deployment's own network unless that is allowed
(BURNISH_WEBHOOKS_TO_PRIVATE): the address that was looked up and found public is the one that is connected to. Follows
no redirect and no proxy, reads nothing of an answer but its status. Leaves out what is told and when it is tried again
(feedback.webhooks).
"""

import asyncio
import ipaddress
import socket

import httpx
import structlog

from feedback.config import Settings
from feedback.database import Database
from feedback.logs import whereabouts
from feedback.webhooks import deliveries
from feedback.webhooks.deliveries import Parcel

_log = structlog.get_logger()

SECONDS_BETWEEN_LOOKS = 2.0
TIMEOUT_SECONDS = 10.0


class Refused(Exception):
    """An address that is not to be told anything."""


async def send_all(database: Database, settings: Settings, *, every_seconds: float = SECONDS_BETWEEN_LOOKS) -> None:
    failing, sending = False, set[asyncio.Task[None]]()
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client:
        while True:
            try:
                for parcel in await asyncio.to_thread(deliveries.take_due, database):
                    task = asyncio.create_task(_send(database, client, parcel, settings.webhooks_to_private))
                    sending.add(task)
                    task.add_done_callback(sending.discard)
                failing = False
            except Exception as error:
                if not failing:  # once, however long it lasts
                    _log.error("webhooks not sent", **whereabouts(error))
                failing = True
            await asyncio.sleep(every_seconds)


async def _send(database: Database, client: httpx.AsyncClient, parcel: Parcel, to_private: bool) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            request = await _request(client, parcel, to_private)
            answer = await client.send(request, stream=True)
            await answer.aclose()
        arrived, told = answer.is_success, f"HTTP {answer.status_code}"
    except TimeoutError:
        arrived, told = False, f"no answer within {TIMEOUT_SECONDS:g} s"
    except Exception as error:  # whatever an address may lead to, its delivery is noted
        arrived, told = False, f"{type(error).__name__}: {error}"
    try:
        await asyncio.to_thread(deliveries.note, database, parcel.delivery_id, arrived=arrived, answer=told)
    except Exception as error:
        _log.error("webhook not noted", **whereabouts(error))


async def _request(client: httpx.AsyncClient, parcel: Parcel, to_private: bool) -> httpx.Request:
    """To the very address that was looked up: looked up again, a name might lead elsewhere."""
    url = httpx.URL(parcel.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    address = ipaddress.ip_address(found[0][4][0])
    if not (address.is_global or to_private):
        raise Refused("the address is private: BURNISH_WEBHOOKS_TO_PRIVATE=true allows that")
    return client.build_request(
        "POST",
        url.copy_with(host=str(address)),
        content=parcel.body,
        headers=parcel.headers | {"host": url.netloc.decode()},
        extensions={"sni_hostname": url.host},
    )
