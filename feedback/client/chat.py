"""Chat: a question, a reply whole or piece by piece, several replies to one question."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from pydantic import Field, model_validator

from feedback.client.calls import Call, Streaming, Told, given, one, unread
from feedback.client.resource import Resource, S, asks, streams


class Message(TypedDict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str


Messages = str | Sequence[Mapping[str, object]]
"""A conversation, of `Message`s or dicts like them; a string is what the user says first."""


class ChatOptions(TypedDict, total=False):
    """As OpenAI and vLLM spell them, but for `conversation_id`, which they put into `metadata`."""

    user: str
    conversation_id: str
    store: bool
    metadata: Mapping[str, Any]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    frequency_penalty: float
    presence_penalty: float
    repetition_penalty: float
    logit_bias: Mapping[int, float]
    stop: str | Sequence[str]
    seed: int
    ignore_eos: bool
    response_format: Mapping[str, Any]


class Usage(Told):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Reply(Told):
    """One of a completion's replies; feedback on it goes by `completion_id` and `index`."""

    completion_id: str
    index: int
    text: str
    finish_reason: str | None = None
    """stop, or length: it was cut off."""

    @property
    def message(self) -> Message:
        """To go on with the conversation."""
        return {"role": "assistant", "content": self.text}


class Completion(Told):
    id: str
    version: str = Field(alias="model")
    """Which version wrote it, such as `support@3`."""
    created: int
    replies: list[Reply]
    usage: Usage | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_replies(cls, body: Any) -> Any:
        """
        >>> body = {"id": "chatcmpl-1", "model": "support@3", "created": 0, "choices": [
        ...     {"index": 0, "message": {"role": "assistant", "content": "330 metres."}, "finish_reason": "stop"}
        ... ]}
        >>> Completion.model_validate(body).replies
        [Reply(completion_id='chatcmpl-1', index=0, text='330 metres.', finish_reason='stop')]
        """
        if not isinstance(body, dict) or "choices" not in body:
            return body
        replies = [
            {**choice, "completion_id": body["id"], "text": choice["message"]["content"] or ""}
            for choice in body["choices"]
        ]
        return {**body, "replies": replies}

    @property
    def text(self) -> str:
        """Of the first reply; often the only one."""
        return self.replies[0].text

    @property
    def finish_reason(self) -> str | None:
        return self.replies[0].finish_reason

    @property
    def message(self) -> Message:
        return self.replies[0].message


class Piece(str):
    """Some characters of a reply; of which one, if there are several, `choice` says."""

    choice: int

    def __new__(cls, text: str, choice: int) -> "Piece":
        made = super().__new__(cls, text)
        made.choice = choice
        return made


class CompletionReader:
    """Makes pieces of a stream's chunks, and a completion of them all.

    >>> reader = CompletionReader()
    >>> chunk = {"id": "chatcmpl-1", "model": "support@3", "created": 0}
    >>> said = {"choices": [{"index": 0, "delta": {"content": "330"}, "finish_reason": None}]}
    >>> list(reader.read({**chunk, **said}))
    ['330']
    >>> list(reader.read({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    []
    >>> reader.result.text, reader.result.finish_reason
    ('330', 'stop')
    """

    def __init__(self) -> None:
        self._completion: Completion | None = None

    @property
    def result(self) -> Completion:
        if self._completion is None:
            raise RuntimeError("Nothing of the reply has come yet: read its first piece.")
        return self._completion

    def read(self, event: dict[str, Any]) -> Iterable[Piece]:
        if self._completion is None:
            self._completion = Completion.model_validate({**event, "choices": []})
        if event.get("usage") is not None:
            self._completion.usage = Usage.model_validate(event["usage"])
        for choice in event["choices"]:
            reply = self._reply(choice["index"])
            reply.finish_reason = choice.get("finish_reason") or reply.finish_reason
            text = choice["delta"].get("content")
            if text:
                reply.text += text
                yield Piece(text, reply.index)

    def _reply(self, index: int) -> Reply:
        completion = self.result
        found = next((reply for reply in completion.replies if reply.index == index), None)
        if found is None:
            found = Reply(completion_id=completion.id, index=index, text="")
            completion.replies = sorted([*completion.replies, found], key=lambda reply: reply.index)
        return found


class Chat(Resource[S]):
    """`model` is an assistant, one of its versions (`support@3`), or `base`."""

    @asks
    def create(
        self, model: str, messages: Messages, *, n: int | None = None, **options: Unpack[ChatOptions]
    ) -> Call[Completion]:
        body = chat_body(model, messages, options) | given(n=n)
        return Call("POST", "/v1/chat/completions", one(Completion), body)

    @streams
    def stream(
        self, model: str, messages: Messages, *, n: int | None = None, **options: Unpack[ChatOptions]
    ) -> Streaming[Piece, Completion]:
        """Pieces of text; `result` is the completion as far as it has come."""
        body = chat_body(model, messages, options) | given(n=n)
        whole = {"stream": True, "stream_options": {"include_usage": True}}
        return Streaming(Call("POST", "/v1/chat/completions", unread, body | whole), CompletionReader())


def chat_body(model: str, messages: Messages, options: ChatOptions) -> dict[str, Any]:
    """
    >>> chat_body("support", "Hi!", {"conversation_id": "c-1", "seed": 7})["metadata"]
    {'conversation_id': 'c-1'}
    """
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else [dict(each) for each in messages]
    rest: dict[str, Any] = {**options}
    conversation_id = rest.pop("conversation_id", None)
    if conversation_id is not None:
        rest["metadata"] = {**rest.get("metadata", {}), "conversation_id": conversation_id}
    return {"model": model, "messages": said, **rest}
