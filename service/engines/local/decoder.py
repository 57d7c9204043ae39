"""The seam between scheduling and the model: tokens of several requests in, logits out.

Promises: each request continues its own slot with its own adapter version; an adapter that doesn't fit, isn't finite
or changes nothing is refused before anyone can use it. Leaves out scheduling and sampling, and how a forward is
computed: in compiled code for Llama-shaped models on a CPU (`native`), by transformers for everything else
(`transformers_decoder`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from feedback.errors import AdapterRefused
from service.engines.adapter_format import AdapterFormat, tensor_name
from service.engines.base import BASE
from service.engines.local.base_model import render

PROBE = [{"role": "user", "content": "What can you help me with today?"}]
PROBE_MINIMUM = 1e-4
"""An adapter that moves no log-probability of the probe by more than this (nats) does nothing."""

PROBE_POSITIONS = 8
"""How many last positions of the probe are compared."""

BLOCK_TOKENS = 16
"""Slots are read and written from multiples of this on."""

Halves = tuple[torch.Tensor, torch.Tensor]
"""A module's A (r, in) and B (out, r), the scaling in B; float32."""


class Slot(ABC):
    """Where one request's keys and values are."""

    @abstractmethod
    def read(self, start: int, end: int) -> torch.Tensor:
        """A copy of the positions from `start` (a multiple of BLOCK_TOKENS) to `end`: (…, positions · size)."""

    @abstractmethod
    def write(self, start: int, states: torch.Tensor) -> None:
        """Put back what `read` gave, one or several joined along the last dimension."""

    @abstractmethod
    def clear(self) -> None:
        """The request is over: the slot is empty, and ready for another."""


@dataclass(frozen=True)
class Chunk:
    """Some tokens of one request: `start` is the first one's position, `keep` how many last ones need logits."""

    tokens: Sequence[int]
    start: int
    version: str
    keep: int
    slot: Slot


class Backend(Protocol):
    """A way to compute: both are called from one thread, but for `pack_adapter`."""

    name: str
    kv_token_bytes: int
    """What a token's keys and values take."""

    def open_slots(self, count: int) -> Sequence[Slot]: ...

    def forward(self, chunks: Sequence[Chunk]) -> torch.Tensor: ...

    def pack_adapter(self, modules: Mapping[str, Halves]) -> Any: ...

    def add_adapter(self, version: str, packed: Any) -> None: ...

    def remove_adapter(self, version: str) -> None: ...


class Decoder:
    """`features`: inputs and outputs of each module that can be adapted. `probe`: a prompt that adapters are tried on.
    `vocabulary`: how many logits a token has."""

    def __init__(
        self, backend: Backend, features: Mapping[str, tuple[int, int]], probe: Sequence[int], vocabulary: int
    ) -> None:
        self.name = backend.name
        self.kv_token_bytes = backend.kv_token_bytes
        self.vocabulary = vocabulary
        self._backend = backend
        self._features = features
        self._probe = list(probe)
        self._versions: set[str] = set()
        self._unadapted: torch.Tensor | None = None  # what the base says to the probe, once somebody asked

    @property
    def versions(self) -> frozenset[str]:
        return frozenset(self._versions)

    def open_slots(self, count: int) -> Sequence[Slot]:
        """Slots that may share a forward."""
        return self._backend.open_slots(count)

    def forward(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """Run the chunks, each in its slot; returns the kept positions' logits (N, V) in float32, in their order.

        Call it under `torch.inference_mode()`, with slots that were opened together.
        """
        return self._backend.forward(chunks)

    def prepare(self, described: AdapterFormat, tensors: Mapping[str, torch.Tensor]) -> Any:
        """Check an adapter against the base model and lay it out; for a thread of its own. Raises AdapterRefused."""
        modules: dict[str, Halves] = {}
        for name, (a, b) in described.modules.items():
            self._check(name, a.shape[1], b.shape[0])
            halves = tensors[tensor_name(name, "A")].float(), tensors[tensor_name(name, "B")].float()
            if not all(bool(half.isfinite().all()) for half in halves):
                raise AdapterRefused(f"The adapter's weights of {name} aren't finite; its training diverged.")
            modules[name] = halves[0], halves[1] * described.scaling
        with torch.inference_mode():
            return self._backend.pack_adapter(modules)

    def add(self, version: str, prepared: Any) -> None:
        """Make a prepared adapter available if it works; otherwise nothing changes. Raises AdapterRefused."""
        try:
            self._backend.add_adapter(version, prepared)
            self._versions.add(version)
            self._try_out(version)
        except BaseException:  # out of memory as well: nobody may reach an adapter that wasn't tried
            self.remove(version)
            raise

    def remove(self, version: str) -> None:
        self._versions.discard(version)
        self._backend.remove_adapter(version)

    def _check(self, name: str, inputs: int, outputs: int) -> None:
        if name not in self._features:
            raise AdapterRefused(
                f"The adapter changes {name}, which can't be adapted here: only linear modules of the base model's "
                f"layers can, such as {next(iter(self._features), None)}. If it was trained for another base model, "
                f"train it on this one; otherwise train it without {name.rpartition('.')[2]} in `target_modules`."
            )
        if (inputs, outputs) != self._features[name]:
            raise AdapterRefused(
                f"The adapter takes {name} for {inputs} → {outputs} features, the base model has "
                "{} → {}. It was trained for another base model; train it on this one.".format(*self._features[name])
            )

    def _try_out(self, version: str) -> None:
        """Hold the version against the base. Raises AdapterRefused if the adapter breaks or idles."""
        if self._unadapted is None:
            self._unadapted = self._probed(BASE)
        try:
            adapted = self._probed(version)
        except RuntimeError as error:
            raise AdapterRefused(f"The base model can't run with this adapter: {error}") from error
        if not bool(adapted.isfinite().all()):
            raise AdapterRefused("With this adapter the model's output isn't finite; its training diverged.")
        if not bool((adapted - self._unadapted).abs().max() > PROBE_MINIMUM):
            raise AdapterRefused("This adapter changes nothing: B is zero. Train it before it is published.")

    def _probed(self, version: str) -> torch.Tensor:
        """Log-probabilities of the probe's last positions (kept, V)."""
        (slot,) = self.open_slots(1)
        kept = min(PROBE_POSITIONS, len(self._probe))
        with torch.inference_mode():
            return self.forward([Chunk(self._probe, 0, version, kept, slot)]).log_softmax(-1)


def open_decoder(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, *, context_tokens: int, compiled: bool = True
) -> Decoder:
    """The fastest way to run this model here; `compiled=False` leaves the compiled one out.

    The compiled decoder makes its own copy of the weights: drop the model afterwards.
    """
    from service.engines.local.native.decoder import open_native
    from service.engines.local.transformers_decoder import TransformersDecoder

    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}
    features = {name: linear_features(module) for name, module in linear.items()}
    probe = render(tokenizer, PROBE)[-context_tokens:]
    vocabulary = model.config.get_text_config().vocab_size
    native = open_native(model, context_tokens) if compiled else None
    if native is None:
        return Decoder(TransformersDecoder(model), features, probe, vocabulary)
    head = {name for name in features if not name.startswith("model.layers.")}  # computed for kept tokens only
    return Decoder(native, {name: shape for name, shape in features.items() if name not in head}, probe, vocabulary)


def linear_features(module: nn.Module) -> tuple[int, int]:
    """How many inputs and outputs a linear module has."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    if isinstance(module, Conv1D):  # GPT-2's linear keeps its weight transposed
        return weight.shape[0], weight.shape[1]
    return weight.shape[1], weight.shape[0]
