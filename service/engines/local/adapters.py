"""Several LoRA adapters on one base model, mixed freely in a batch, never merged into its weights.

Promises: each row of a batch gets exactly its own version's B·A; rows on the base get none; a batch without
adapters pays one check a module. The active versions' halves are stacked along the rank, so that a module costs
three more operations however many versions a batch mixes; a row's mask silences the others' ranks.
Leaves out reading files (`adapter_format`) and the probe (`decoder`).
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from feedback.errors import AdapterRefused
from service.engines.adapter_format import AdapterFormat, tensor_name
from service.engines.base import BASE

KEPT_STACKS = 4
Halves = tuple[torch.Tensor, torch.Tensor]
"""A (r, in) and the scaled B, transposed (r, out)."""


class _Plan:
    """What the batch at hand needs: per site the stacked halves, and which ranks each row may use."""

    def __init__(self) -> None:
        self.halves: list[Halves] | None = None
        self.rows: torch.Tensor | None = None  # (B, 1, R); None when every row uses the only version


class _Site:
    """Stands in for the `forward` of one linear module of the base."""

    def __init__(self, module: nn.Module, index: int, plan: _Plan) -> None:
        self.inputs, self.outputs = _features(module)
        self.index = index
        self._forward: Callable[[torch.Tensor], torch.Tensor] = module.forward
        self._plan = plan

    def __call__(self, x: torch.Tensor) -> torch.Tensor:  # (B, Q, in) -> (B, Q, out)
        y = self._forward(x)
        if self._plan.halves is None:
            return y
        a, b = self._plan.halves[self.index]
        low = functional.linear(x, a)  # (B, Q, R)
        if self._plan.rows is not None:
            low = low * self._plan.rows
        y.view(-1, self.outputs).addmm_(low.view(-1, a.shape[0]), b)
        return y


class Adapters:
    """The adapter versions on one model. `select` says, before each forward, which version each row uses."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = {
            name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)
        }
        self._sites: dict[str, _Site] = {}
        self._versions: dict[str, dict[str, Halves]] = {}
        self._ranks: dict[str, int] = {}
        self._stacks: OrderedDict[tuple[str, ...], list[Halves]] = OrderedDict()
        self._plan = _Plan()

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(self._versions)

    def check(self, described: AdapterFormat) -> None:
        """Refuse an adapter whose modules the base doesn't have, or has in other shapes."""
        for name, (a, b) in described.modules.items():
            module = self._modules.get(name)
            if module is None:
                raise AdapterRefused(
                    f"The adapter changes {name}, which is no linear module of the base model. "
                    "It was trained for another base model; train it on this one."
                )
            if (a.shape[1], b.shape[0]) != _features(module):
                raise AdapterRefused(
                    f"The adapter takes {name} for {a.shape[1]} → {b.shape[0]} features, the base model has "
                    "{} → {}. It was trained for another base model; train it on this one.".format(*_features(module))
                )

    def add(self, version: str, described: AdapterFormat, tensors: dict[str, torch.Tensor]) -> None:
        """Make a checked adapter available. Raises AdapterRefused if a number isn't finite."""
        self.check(described)
        halves: dict[str, Halves] = {}
        for name in described.modules:
            weight = self._modules[name].weight
            a = tensors[tensor_name(name, "A")].to(weight)  # (r, in)
            b = (tensors[tensor_name(name, "B")].float() * described.scaling).t().to(weight).contiguous()  # (r, out)
            if not (a.isfinite().all() and b.isfinite().all()):
                raise AdapterRefused(f"The adapter's weights of {name} aren't finite; its training diverged.")
            halves[name] = a, b
        for name in halves:
            if name not in self._sites:
                module = self._modules[name]
                self._sites[name] = site = _Site(module, len(self._sites), self._plan)
                module.forward = site
        self._versions[version] = halves
        self._ranks[version] = described.r
        self._stacks.clear()  # a new site may have been added, which older stacks don't cover

    def remove(self, version: str) -> None:
        self._versions.pop(version, None)
        self._ranks.pop(version, None)
        self._stacks.clear()
        self._plan.halves = self._plan.rows = None

    def select(self, rows: Sequence[str]) -> None:
        """Say which version each row of the next batch uses."""
        active = tuple(sorted({version for version in rows if version != BASE}))
        if not active:
            self._plan.halves = self._plan.rows = None
            return
        self._plan.halves = self._stack(active)
        self._plan.rows = None if set(rows) == {active[0]} else self._row_mask(active, rows)

    def _stack(self, active: tuple[str, ...]) -> list[Halves]:
        if active not in self._stacks:
            self._stacks[active] = [self._stack_site(name, site, active) for name, site in self._sites.items()]
            while len(self._stacks) > KEPT_STACKS:
                self._stacks.popitem(last=False)
        self._stacks.move_to_end(active)
        return self._stacks[active]

    def _stack_site(self, name: str, site: _Site, active: tuple[str, ...]) -> Halves:
        weight = self._modules[name].weight
        halves = [
            self._versions[version].get(name)
            or (
                weight.new_zeros(self._ranks[version], site.inputs),
                weight.new_zeros(self._ranks[version], site.outputs),
            )
            for version in active
        ]
        if len(halves) == 1:
            return halves[0]
        return torch.cat([a for a, _ in halves]), torch.cat([b for _, b in halves])  # (R, in), (R, out)

    def _row_mask(self, active: tuple[str, ...], rows: Sequence[str]) -> torch.Tensor:
        weight = next(iter(self._modules.values())).weight
        owner = torch.tensor([number for number, version in enumerate(active) for _ in range(self._ranks[version])])
        used = torch.tensor([active.index(version) if version != BASE else -1 for version in rows])
        return (used[:, None, None] == owner).to(weight)  # (B, 1, R)


def _features(module: nn.Module) -> tuple[int, int]:
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    if isinstance(module, Conv1D):  # GPT-2's linear keeps its weight transposed
        return weight.shape[0], weight.shape[1]
    return weight.shape[1], weight.shape[0]
