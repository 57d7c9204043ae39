"""`POST /v1/comparisons`: two replies to one message in blind order; and the choice between them, which is feedback."""

from dataclasses import replace
from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.params import JSONBody
from pydantic import Field, field_validator

from feedback.collect import comparisons
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import InvalidInput
from feedback.keys import Caller
from service.api.chat import CLIENT_GONE, usage, while_connected, whole
from service.api.chat_request import ChatRequest
from service.api.feedback import Aside, FeedbackAccepted, idempotency_key
from service.auth import may
from service.chat import Chat, ChatTurn
from service.comparisons import Comparison
from service.reply import Reply
from service.secret import Secret

Number = Annotated[int, Field(ge=0, lt=2**31)]


class ComparisonRequest(ChatRequest):
    versions: tuple[Number, Number] | None = None

    def turn(self, settings: Settings) -> ChatTurn:
        if self.stream:
            raise InvalidInput("A comparison comes whole, so that it stays blind: leave `stream` out.", param="stream")
        if self.n not in (None, 2):
            raise InvalidInput("A comparison has two replies: leave `n` out.", param="n")
        if "@" in self.model:
            raise InvalidInput(
                "A comparison is blind: name the assistant alone. An operator's key may choose `versions`.",
                param="model",
            )
        turn = super().turn(settings)
        sampling = replace(turn.sampling, logprobs=None)
        return replace(turn, sampling=sampling, choices=2, comparison=Comparison(self.versions))


class ChoiceCreate(Aside):
    choice: comparisons.Choice

    @field_validator("choice", mode="before")
    @classmethod
    def _is_no_flag(cls, choice: Any) -> Any:
        """Python takes true for 1."""
        return str(choice) if isinstance(choice, bool) else choice


@post("/v1/comparisons", guards=[may("chat")], status_code=200)
async def create_comparison(
    request: Request[Any, Any, Any],
    data: JSONBody[ComparisonRequest],
    caller: Caller,
    chat: Chat,
    settings: Settings,
) -> Response[Any]:
    if data.versions is not None:
        caller.require("operate")
    reply = await while_connected(request, chat.begin(caller, data.turn(settings)))
    if reply is None or await whole(request, reply) is None:
        return Response({}, status_code=CLIENT_GONE)
    return Response(comparison_body(reply))


@post("/v1/comparisons/{comparison_id:str}/choice", guards=[may("feedback")], status_code=201, sync_to_thread=True)
def choose(
    request: Request[Any, Any, Any],
    comparison_id: str,
    data: JSONBody[ChoiceCreate],
    caller: Caller,
    database: Database,
    secret: Secret,
) -> FeedbackAccepted:
    accepted = comparisons.choose(
        database,
        secret.value,
        caller,
        comparison_id,
        data.choice,
        idempotency_key=idempotency_key(request),
        **data.aside(),
    )
    return FeedbackAccepted.of(accepted)


def comparison_body(reply: Reply) -> dict[str, Any]:
    """Nothing in it tells which version wrote which."""
    return {
        "id": reply.completion_id,
        "object": "comparison",
        "created": reply.created,
        "model": reply.model,
        "choices": [
            {
                "index": choice.index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "finish_reason": choice.finish_reason,
            }
            for choice in reply.choices
        ],
        "identical": len({choice.text for choice in reply.choices}) == 1,
        "usage": usage(reply),
    }
