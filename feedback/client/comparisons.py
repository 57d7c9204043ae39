"""Blind comparisons: two replies to one message, whose order and writers tell nothing, and the choice between them."""

from typing import Literal, Unpack

from feedback.client.calls import Call, given, id_of, one, path
from feedback.client.chat import ChatOptions, Completion, Messages, chat_body
from feedback.client.giving import Aside, give
from feedback.client.receipts import Receipt
from feedback.client.resource import Resource, S, asks

Choice = Literal[0, 1, "good", "bad"]
"""Which one is better, or that both are good, or bad."""


class Comparison(Completion):
    """Its `version` is the assistant alone."""

    identical: bool
    """Both came out the same."""


class Comparisons(Resource[S]):
    @asks
    def create(
        self,
        model: str,
        messages: Messages,
        *,
        versions: tuple[int, int] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Call[Comparison]:
        """`versions`: for operators, whose replies they should be."""
        body = chat_body(model, messages, options) | given(versions=versions)
        return Call("POST", "/v1/comparisons", one(Comparison), body)

    @asks
    def choose(self, comparison: Comparison | str, choice: Choice, **aside: Unpack[Aside]) -> Call[Receipt[S]]:
        where = path("/v1/comparisons/{}/choice", id_of(comparison))
        return give(self._sender, where, {"choice": choice}, aside)
