"""Several LoRA adapters on one base model, mixed freely in a batch, never merged into its weights.

Promises: each row of a batch gets exactly its own version's B·A; rows on the base get none; a batch without
adapters pays one check a module. The active versions' halves are stacked along the rank, so that a module costs
three more operations however many versions a batch mixes; a row's mask silences the others' ranks. What they add goes
into the sum of the module's own product before that is rounded: added to a product that is bfloat16 already, much of a
lightly trained adapter would be lost.
Leaves out reading and checking them (`adapter_format`, `decoder`).
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from service.engines.base import BASE
from service.engines.local.decoder import linear_features

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
        self.inputs, self.outputs = linear_features(module)
        self.index = index
        self._forward: Callable[[torch.Tensor], torch.Tensor] = module.forward
        self._module = module
        self._plan = plan

    def __call__(self, x: torch.Tensor) -> torch.Tensor:  # (B, Q, in) -> (B, Q, out)
        if self._plan.halves is None:
            return self._forward(x)
        a, b = self._plan.halves[self.index]
        low = functional.linear(x, a)  # (B, Q, R)
        if self._plan.rows is not None:
            low = low * self._plan.rows
        weight, bias = self._module.weight, self._module.bias
        added = low.view(-1, a.shape[0]) @ b
        y = added.addmm_(x.reshape(-1, self.inputs), weight if isinstance(self._module, Conv1D) else weight.t())
        if bias is not None:
            y += bias
        return y.view(*x.shape[:-1], self.outputs)


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

    def pack(self, modules: Mapping[str, Halves]) -> dict[str, Halves]:
        """Each module's A (r, in) and scaled B (out, r) as the model's device and dtype want them, B transposed."""
        packed = {}
        for name, (a, b) in modules.items():
            weight = self._modules[name].weight
            packed[name] = a.to(weight), b.t().to(weight).contiguous()
        return packed

    def add(self, version: str, packed: dict[str, Halves]) -> None:
        for name in packed:
            if name not in self._sites:
                module = self._modules[name]
                self._sites[name] = site = _Site(module, len(self._sites), self._plan)
                module.forward = site
        self._versions[version] = packed
        self._ranks[version] = max(len(a) for a, _ in packed.values())
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
