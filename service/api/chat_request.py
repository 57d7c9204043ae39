"""What a chat request may say, in OpenAI's and vLLM's spelling, and what it means. Unknown parameters are ignored."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from feedback.config import Settings
from feedback.errors import InvalidInput
from service.api.ui_tasks import is_ui_task
from service.chat import ChatTurn
from service.engines.base import MOST_BIASES, MOST_LOGPROBS, ChatMessage, SamplingParams

MOST_SCHEMA_CHARACTERS = 1 << 16
MOST_PARTS = 1000
"""Of a message's content."""

StopString = Annotated[str, Field(max_length=500)]
TokenId = Annotated[int, Field(ge=0)]
Bias = Annotated[float, Field(ge=-100, le=100)]
Penalty = Annotated[float, Field(ge=-2, le=2)]

# Lists and dicts end at their first wrong item (`fail_fast`): to describe each of a million takes gigabytes.


class TextPart(BaseModel):
    type: str
    text: str = ""


class RequestMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(max_length=MOST_PARTS, fail_fast=True)] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            other = next((part.type for part in self.content if part.type != "text"), None)
            if other is not None:
                raise InvalidInput(f"Content parts of type '{other}' can't be read: send text.", param="messages")
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    include_usage: bool = False


class JsonSchema(BaseModel):
    name: str = Field(max_length=64)
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def schema_text(self) -> str | None:
        """The schema as JSON; None if the reply is plain text."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return '{"type": "object"}'
        if self.json_schema is None:
            raise InvalidInput("A response_format of type json_schema needs `json_schema`.", param="response_format")
        text = json.dumps(self.json_schema.schema_)
        if len(text) > MOST_SCHEMA_CHARACTERS:
            most = MOST_SCHEMA_CHARACTERS
            raise InvalidInput(f"The schema has {len(text)} characters, over {most}.", param="response_format")
        return text


class ChatRequest(BaseModel):
    model: str
    messages: list[RequestMessage] = Field(min_length=1, max_length=1000, fail_fast=True)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=MOST_BIASES, fail_fast=True)] | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=4, fail_fast=True)] | None = None
    ignore_eos: bool | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)
    response_format: ResponseFormat | None = None
    n: int | None = Field(None, ge=1, le=4)
    user: str | None = Field(None, max_length=200)
    safety_identifier: str | None = Field(None, max_length=200)
    metadata: dict[str, Any] | None = None
    store: bool | None = None

    def turn(self, settings: Settings) -> ChatTurn:
        """The request without OpenAI's spelling, its gaps filled from the settings."""
        roles = {"developer": "system"}
        messages: list[ChatMessage] = [
            {"role": roles.get(message.role, message.role), "content": message.text()} for message in self.messages
        ]
        if all(message["role"] == "system" for message in messages):
            raise InvalidInput("`messages` needs at least one user message.", param="messages")
        conversation_id = (self.metadata or {}).get("conversation_id")
        if conversation_id is not None and (not isinstance(conversation_id, str) or len(conversation_id) > 200):
            raise InvalidInput("`metadata.conversation_id` is a string of at most 200 characters.", param="metadata")
        ui_task = is_ui_task(messages, self.metadata)
        return ChatTurn(
            model=self.model,
            messages=messages,
            sampling=self.sampling(settings),
            choices=self.n or 1,
            user=self.user or self.safety_identifier or None,  # an empty string is nobody's name
            conversation_id=conversation_id,
            store=False if ui_task else self.store,
            ui_task=ui_task,
        )

    def sampling(self, settings: Settings) -> SamplingParams:
        if self.top_logprobs and not self.logprobs:
            raise InvalidInput("`top_logprobs` needs `logprobs: true`.", param="top_logprobs")
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return SamplingParams(
            max_tokens=self.max_completion_tokens or self.max_tokens or settings.default_max_tokens,
            temperature=settings.default_temperature if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            top_k=max(self.top_k or 0, 0),  # -1 is vLLM's other word for all tokens
            min_p=self.min_p or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            logit_bias=self.logit_bias or {},
            stop=tuple(stop for stop in stops if stop),
            seed=self.seed,
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            json_schema=self.response_format.schema_text() if self.response_format is not None else None,
            ignore_eos=bool(self.ignore_eos),
        )
