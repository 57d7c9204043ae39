"""The two clients: the same resources, asked by one that waits and by one that is awaited."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from feedback.client.assistants import Assistants
from feedback.client.calls import Call, readable
from feedback.client.cases import Cases
from feedback.client.chat import Chat
from feedback.client.comparisons import Comparisons
from feedback.client.erasures import Erasures
from feedback.client.evaluations import Evaluations
from feedback.client.feedback import Feedback
from feedback.client.guidelines import GuidelinesBook
from feedback.client.lineage import Lineage
from feedback.client.receipts import Receipts
from feedback.client.resource import Resource, S, asks
from feedback.client.review import Review
from feedback.client.runs import Runs
from feedback.client.senders import AsyncSender, Connection, SyncSender
from feedback.client.versions import Versions

TIMEOUT_SECONDS = 600.0
"""As long as a reply may take, by default (`BURNISH_REQUEST_SECONDS`)."""
MAX_RETRIES = 2


class Client(Resource[S]):
    """What both have."""

    def __init__(self, sender: S) -> None:
        super().__init__(sender)
        self.chat = Chat(sender)
        self.comparisons = Comparisons(sender)
        self.feedback = Feedback(sender)
        self.receipts = Receipts(sender)
        self.assistants = Assistants(sender)
        self.versions = Versions(sender)
        self.runs = Runs(sender)
        self.evaluations = Evaluations(sender)
        self.guidelines = GuidelinesBook(sender)
        self.review = Review(sender)
        self.cases = Cases(sender)
        self.lineage = Lineage(sender)
        self.erasures = Erasures(sender)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sender.connection.base_url!r})"

    @asks
    def request(
        self,
        method: Literal["GET", "POST", "PUT", "DELETE"],
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Call[Any]:
        """For what has no method here; the answer is its JSON."""
        return Call(method, path, lambda content: readable(content or b"null", lambda found: found), body, params)


class Burnish(Client[SyncSender]):
    """Ask and wait. `transport` is for tests and proxies: httpx's."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        max_retries: int = MAX_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(SyncSender(Connection.chosen(base_url, api_key, timeout_seconds, max_retries), transport))

    def close(self) -> None:
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class AsyncBurnish(Client[AsyncSender]):
    """Ask and await. `transport` is for tests and proxies: httpx's."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        max_retries: int = MAX_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(AsyncSender(Connection.chosen(base_url, api_key, timeout_seconds, max_retries), transport))

    async def close(self) -> None:
        await self._sender.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()
