"""Random arrivals, cancellations, loads and unloads: every reply is what its version writes when it is alone."""

import itertools
from pathlib import Path

import pytest
import torch
from families import House, make_house, open_scheduler, read, spell, tokens
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from service.engines.base import BASE, SamplingParams
from service.engines.local.native import library

LONGEST = 12
PROMPTS = [tokens(length, seed=length) for length in (1, 9, 70, 300)]
PROMPTS += [[*PROMPTS[2], *tokens(length, seed=length)] for length in (3, 40)]  # they go on where another ends
VERSIONS = (BASE, "one", "two")


@pytest.mark.parametrize("way", [pytest.param("compiled", marks=pytest.mark.compiled), "transformers"])
def test_whoever_comes_and_goes_everybody_gets_their_own_reply(way: str, tmp_path: Path) -> None:
    library.load.cache_clear()
    if way == "compiled" and library.load() is None:
        pytest.skip("compiled: the decoder wasn't built, or this processor can't run it")
    house = make_house("llama-bfloat16", way, tmp_path)
    adapters = {version: house.decoder.prepare(*read(tmp_path / version)) for version in ("one", "two")}
    alone = {
        (version, number): written(house, version, number) for version in VERSIONS for number in range(len(PROMPTS))
    }
    machine = type("Machine", (Company,), {"house": house, "adapters": adapters, "alone": alone})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def written(house: House, version: str, number: int) -> list[str]:
    """What transformers and PEFT write after a prompt, token by token, past any end."""
    ids = list(PROMPTS[number])
    for _ in range(LONGEST):
        with torch.no_grad():
            ids.append(int(house.models[version](torch.tensor([ids])).logits[0, -1].argmax()))
    return [spell([id]) for id in ids[len(PROMPTS[number]) :]]


class Company(RuleBasedStateMachine):
    """The model: which requests are under way, what they will say, what they said; which versions are loaded."""

    house: House
    adapters: dict[str, object]
    alone: dict[tuple[str, int], list[str]]

    def __init__(self) -> None:
        super().__init__()
        ticks = itertools.count()
        self.scheduler = open_scheduler(self.house.decoder, clock=lambda: next(ticks) ** 1.1 / 100)  # ever slower
        self.ids = iter(range(1_000_000))
        self.due: dict[int, tuple[str, str]] = {}  # version and the text to come
        self.leaving: set[str] = set()
        for version in self.adapters:
            if version not in self.house.decoder.versions:
                self.house.decoder.add(version, self.adapters[version])

    @rule(
        version=st.sampled_from(VERSIONS),
        number=st.integers(0, len(PROMPTS) - 1),
        count=st.integers(1, LONGEST),
        key=st.sampled_from("ab"),
    )
    def arrive(self, version: str, number: int, count: int, key: str) -> None:
        if version in self.leaving or (version != BASE and version not in self.house.decoder.versions):
            return
        id = next(self.ids)
        sampling = SamplingParams(count, temperature=0, ignore_eos=True)
        self.scheduler.submit(id, version, PROMPTS[number], sampling, key)
        self.due[id] = version, "".join(self.alone[version, number][:count])

    @precondition(lambda self: self.due)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.due)))
        del self.due[id]
        self.scheduler.cancel(id)

    @rule(times=st.integers(1, 4))
    def step(self, times: int) -> None:
        for _ in range(times):
            for id, delta in self.scheduler.step().deltas:
                version, text = self.due[id]  # nobody else's, nobody's who left
                assert text.startswith(delta.text)
                self.due[id] = version, text.removeprefix(delta.text)
                assert (delta.finish_reason is not None) == (self.due[id][1] == "")
                if delta.finish_reason is not None:
                    assert delta.finish_reason == "length"
                    del self.due[id]
            self.retire()

    @rule(version=st.sampled_from(VERSIONS[1:]))
    def unload(self, version: str) -> None:
        if version in self.house.decoder.versions:
            self.leaving.add(version)
            self.retire()

    @rule(version=st.sampled_from(VERSIONS[1:]))
    def load(self, version: str) -> None:
        self.leaving.discard(version)
        if version not in self.house.decoder.versions:
            self.house.decoder.add(version, self.adapters[version])

    def retire(self) -> None:
        for version in [version for version in self.leaving if not self.scheduler.uses(version)]:
            self.leaving.discard(version)
            self.house.decoder.remove(version)
            self.scheduler.forget(version)

    @invariant()
    def a_version_in_use_stays(self) -> None:
        used = {version for version, _ in self.due.values()}
        assert all(self.scheduler.uses(version) == (version in used) for version in VERSIONS)
        assert used - {BASE} <= self.house.decoder.versions
        assert self.scheduler.busy == bool(self.due)

    def teardown(self) -> None:
        for _ in range(2000):
            if not self.due:
                return
            self.step(1)
        raise AssertionError(f"never finished: {sorted(self.due)}")
