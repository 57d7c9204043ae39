"""The seam between Burnish and whatever turns messages into tokens.

An engine holds one base model and any number of adapter versions, each named by its content hash. A request is
pinned to the version it names from its first token to its last. Engines know neither the web nor the database.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from feedback.errors import InvalidInput

BASE = "base"
"""The version with no adapter: the base model as it came."""

TOO_LONG = "context_length_exceeded"
"""OpenAI's code, and an InvalidInput's, for what the model's context can't hold."""

MOST_BIASES = 1024
MOST_LOGPROBS = 20

FinishReason = Literal["stop", "length"]
ChatMessage = dict[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`, as OpenAI and chat templates spell it."""


@dataclass(frozen=True)
class SamplingParams:
    """How to pick tokens; names and meanings as OpenAI's and vLLM's.

    `temperature` 0 is greedy. `top_k` 0 and `min_p` 0 leave all tokens in. `repetition_penalty` 1 leaves all as they
    are. `logit_bias` is by token id. `seed` gives the request a random stream of its own. `logprobs` says how many
    likeliest tokens to report beside each one written; None reports nothing. `json_schema` (JSON text) lets only
    replies through that follow the schema. `ignore_eos` writes on to `max_tokens`, for benchmarks. Raises InvalidInput
    for what is out of range; whether the model has a token of `logit_bias` only its engine knows.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    json_schema: str | None = None
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        biases = self.logit_bias.values()
        for name, holds, allowed in (
            ("max_tokens", self.max_tokens >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature <= 100, "0 (greedy) to 100"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
            ("min_p", 0 <= self.min_p <= 1, "0 to 1"),
            ("frequency_penalty", -2 <= self.frequency_penalty <= 2, "-2 to 2"),
            ("presence_penalty", -2 <= self.presence_penalty <= 2, "-2 to 2"),
            ("repetition_penalty", 0.01 <= self.repetition_penalty <= 100, "0.01 to 100"),
            ("logit_bias", all(-100 <= bias <= 100 for bias in biases), "-100 to 100 for each token"),
            ("logit_bias", len(biases) <= MOST_BIASES, f"at most {MOST_BIASES} tokens"),
            ("top_logprobs", self.logprobs is None or 0 <= self.logprobs <= MOST_LOGPROBS, f"0 to {MOST_LOGPROBS}"),
        ):
            if not holds:
                raise InvalidInput(f"{name} must be {allowed}.", param=name)


@dataclass(frozen=True)
class GenerationRequest:
    messages: Sequence[ChatMessage]
    sampling: SamplingParams
    version: str = BASE
    key: str = ""
    """Whose share of the engine it takes: requests of different keys are served in turn."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token's log-probability (nats), by the model's own distribution before any setting changed it."""

    token: str
    logprob: float
    bytes: tuple[int, ...]
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True)
class Delta:
    """A piece of a reply. The last one carries `finish_reason` (its text may be empty); counts are so far.

    `cached_tokens` of the prompt didn't have to be read again. `logprobs` has an entry for each token since the last
    piece, if they were asked for.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class ScoreRequest:
    """Asks for log p(completion | messages), token by token, the end-of-turn token included."""

    messages: Sequence[ChatMessage]
    completion: str
    version: str = BASE


@dataclass(frozen=True)
class EngineHealth:
    """`running` replies are being written or their prompts read, `waiting` ones have no slot yet."""

    ready: bool
    detail: str
    loaded: tuple[str, ...] = field(default=())
    running: int = 0
    waiting: int = 0


@runtime_checkable
class Engine(Protocol):
    async def start(self) -> None:
        """Begin serving; returns once the base model answers. Raises ModelMissing, EngineUnavailable."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        """Stream a reply. Closing the generator (`aclose`) frees its slot at once.

        Raises InvalidInput (prompt longer than the context, code `context_length_exceeded`), NotFound
        (version not loaded), QueueFull and EngineUnavailable (engine crashed or is restarting).
        """

    async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Token log-probabilities (nats) of each completion, in the serving dtype and path."""

    async def score_text(self, texts: Sequence[str], version: str = BASE) -> list[list[float]]:
        """Token log-probabilities (nats) of plain text without a chat template: perplexity's input.

        A text's first token has nothing before it and gets none: n tokens give n - 1 numbers.
        """

    async def load(self, version: str, folder: Path) -> None:
        """Verify, load and probe an adapter; it can be generated with once this returns.

        `version` is the adapter's content hash, `adapter_format.adapter_sha256(folder)`.
        Loading a version that is loaded is a no-op. Raises AdapterRefused; what was loaded stays as it was.
        """

    async def unload(self, version: str) -> None:
        """Forget a version once its running requests have finished. Unknown versions are ignored."""

    async def close(self) -> None:
        """Stop and free everything; running requests get EngineUnavailable."""

    def health(self) -> EngineHealth: ...
