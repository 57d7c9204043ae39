"""Picking tokens against a plain implementation of the same rules, and worked by hand on a vocabulary of four."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from feedback.errors import InvalidInput
from service.engines.base import MOST_BIASES, SamplingParams
from service.engines.local.sampling import Picked, Picking, pick

LOGITS = torch.tensor([0.4, 0.1, 0.3, 0.2]).log()
NEAR = 1e-5
"""Closer to a border than this, single and double precision may differ."""


class Loaded(Picking):
    """Its dice show what they are told to."""

    def __init__(self, uniform: float, sampling: SamplingParams, prompt: Sequence[int] = ()) -> None:
        super().__init__(sampling, prompt)
        self._shown = uniform

    def uniform(self) -> float:
        return self._shown


def params(**settings: Any) -> SamplingParams:
    return SamplingParams(**{"max_tokens": 100, **settings})


def draw(uniform: float, logits: torch.Tensor = LOGITS, **settings: Any) -> int:
    return pick(logits.unsqueeze(0), [Loaded(uniform, params(**settings))])[0].token


def write(logits: Sequence[float], count: int, prompt: Sequence[int] = (), **settings: Any) -> list[int]:
    """A reply by a model that always has the same logits."""
    row = Picking(params(**{"temperature": 0, **settings}), prompt)
    return [pick(torch.tensor([logits]), [row])[0].token for _ in range(count)]


# ── by hand ──


def test_temperature_zero_takes_the_likeliest() -> None:
    assert {draw(uniform, temperature=0) for uniform in (0, 0.5, 0.999)} == {0}


def test_a_draw_inverts_the_distribution() -> None:
    uniforms = (0.0, 0.39, 0.41, 0.49, 0.51, 0.79, 0.81, 0.9999)
    assert [draw(uniform) for uniform in uniforms] == [0, 0, 1, 1, 2, 2, 3, 3]
    # p^4 normalized: .0256, .0001, .0081, .0016 of .0354; 0 takes 72%.
    assert [draw(uniform, temperature=0.25) for uniform in (0.72, 0.73)] == [0, 2]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_p": 0.5}, {0, 2}),  # .4 doesn't reach it, .4 + .3 does
        ({"top_p": 0.39}, {0}),
        ({"top_k": 3}, {0, 2, 3}),
        ({"top_k": 100}, {0, 1, 2, 3}),
        ({"min_p": 0.6}, {0, 2}),  # at least .24
        ({"top_k": 2, "top_p": 0.5}, {0}),  # .4 of the .7 that top_k leaves
        ({"top_p": 0.95, "min_p": 0.3}, {0, 2, 3}),
        ({"top_k": 3, "min_p": 0.6}, {0, 2}),
    ],
)
def test_top_k_top_p_and_min_p_keep_the_likeliest(settings: dict[str, Any], kept: set[int]) -> None:
    assert {draw(uniform / 100, **settings) for uniform in range(100)} == kept


def test_what_is_kept_keeps_its_proportions() -> None:
    assert [draw(uniform, top_p=0.5) for uniform in (0.56, 0.58)] == [0, 2]  # .4 of .7 is .571


def test_penalties_and_bias_by_hand() -> None:
    logits = [2.0, 1.5, 1.0, -1.0]
    # 0 falls by 0.4 each time it is written: 2, 1.6, then 1.2 < 1.5; then 1 has 1.1 < 1.2; then 0 has 0.8, 1 has 1.1
    assert write(logits, 5, frequency_penalty=0.4) == [0, 0, 1, 0, 1]
    # only the first time counts: 0 and 1 have 1.4 and 0.9 from then on
    assert write(logits, 4, presence_penalty=0.6) == [0, 1, 0, 0]
    # what is in the prompt counts for the repetition penalty alone: 0 has 1.0 and 1 wins, then has 0.75
    assert write(logits, 1, prompt=[0, 0], frequency_penalty=0.4) == [0]
    assert write([2.0, 1.5, 0.9, -1.0], 3, prompt=[0, 0], repetition_penalty=2.0) == [1, 0, 0]
    # a negative logit is multiplied: -1 becomes -2 and loses to -1.5
    assert write([-1.0, -1.5], 1, prompt=[0], repetition_penalty=2.0) == [1]
    assert write(logits, 1, logit_bias={3: 4.0}) == [3]
    # bias comes before the repetition penalty: (0.6 + 1) / 2 < 1
    assert write([0.6, 1.0], 1, prompt=[0], logit_bias={0: 1.0}, repetition_penalty=2.0) == [1]
    assert write(logits, 2, logit_bias={0: -100.0, 1: -100.0}, frequency_penalty=0.1) == [2, 2]


def test_logprobs_are_the_models_own_whatever_the_settings() -> None:
    asked = params(temperature=0, logprobs=2, logit_bias={1: 100.0}, top_k=1)
    silent, none, two = pick(LOGITS.repeat(3, 1), [Picking(s, []) for s in (params(), params(logprobs=0), asked)])
    assert silent.logprob is None
    assert silent.top == none.top == ()
    assert none.logprob == pytest.approx(float(LOGITS[none.token]))
    assert two.token == 1
    assert two.logprob == pytest.approx(math.log(0.1))
    assert [token for token, _ in two.top] == [0, 2]
    assert [logprob for _, logprob in two.top] == pytest.approx([math.log(0.4), math.log(0.3)])


def test_the_logits_stay_as_they_are() -> None:
    logits = LOGITS.repeat(2, 1)
    pick(logits, [Picking(params(logit_bias={0: 5.0}), []), Picking(params(temperature=0), [])])
    assert torch.equal(logits, LOGITS.repeat(2, 1))


def test_logits_that_are_no_numbers_still_give_tokens() -> None:
    rows = [Picking(params(**settings), []) for settings in ({"temperature": 0}, {}, {"top_p": 0.5}, {"top_k": 3})]
    assert all(0 <= picked.token < 5000 for picked in pick(torch.full((4, 5000), torch.nan), rows))


# ── against a plain implementation ──


def reference(
    logits: list[float], sampling: SamplingParams, prompt: list[int], written: list[int], uniform: float
) -> int:
    """One token by the rules, in double precision and one at a time; gives up where rounding decides."""
    changed = []
    for token, value in enumerate(logits):
        value += sampling.logit_bias.get(token, 0.0)
        if token in {*prompt, *written}:
            value = value / sampling.repetition_penalty if value > 0 else value * sampling.repetition_penalty
        value -= sampling.frequency_penalty * written.count(token)
        value -= sampling.presence_penalty * (token in written)
        changed.append(value)
    if sampling.temperature == 0:
        best, *others = sorted(changed, reverse=True)
        assume(not others or best - others[0] > NEAR)
        return changed.index(best)
    weights = [math.exp((value - max(changed)) / sampling.temperature) for value in changed]
    least = 0.0
    if 0 < sampling.top_k < len(weights):
        least = sorted(weights, reverse=True)[sampling.top_k - 1]
    left = sorted((weight for weight in weights if weight >= least * (1 - NEAR)), reverse=True)
    assume(not any(0 < abs(weight - least) <= 2 * NEAR * least for weight in weights))
    if sampling.top_p < 1:
        sums = list(accumulate(left))
        assume(not any(abs(part - sampling.top_p * sums[-1]) < NEAR * sums[-1] for part in sums))
        least = next(weight for weight, part in zip(left, sums, strict=True) if part > sampling.top_p * sums[-1])
        assume(not any(0 < abs(weight - least) <= 2 * NEAR * least for weight in left))
    assume(not any(0 < abs(weight - sampling.min_p) <= NEAR for weight in weights))
    least = max(least * (1 - NEAR), sampling.min_p - NEAR)
    sums = list(accumulate(weight if weight >= least else 0.0 for weight in weights))
    assume(not any(abs(part - uniform * sums[-1]) < NEAR * sums[-1] for part in (0.0, *sums)))
    return next(token for token, part in enumerate(sums) if part > uniform * sums[-1])


TOKENS = st.integers(0, 11)


@given(
    logits=st.lists(st.integers(-20, 20).map(lambda quarter: quarter / 4), min_size=12, max_size=12),
    prompt=st.lists(TOKENS, max_size=6),
    uniforms=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5),
    settings=st.fixed_dictionaries(
        {},
        optional={
            "temperature": st.sampled_from([0.0, 0.3, 0.7, 1.0, 2.0]),
            "top_k": st.integers(0, 15),
            "top_p": st.floats(0.05, 1),
            "min_p": st.floats(0, 1),
            "frequency_penalty": st.floats(-2, 2),
            "presence_penalty": st.floats(-2, 2),
            "repetition_penalty": st.floats(0.5, 2),
            "logit_bias": st.dictionaries(TOKENS, st.floats(-10, 10), max_size=4),
        },
    ),
)
def test_every_setting_does_what_the_rules_say(
    logits: list[float], prompt: list[int], uniforms: list[float], settings: dict[str, Any]
) -> None:
    sampling = params(**settings)
    row = Loaded(0, sampling, prompt)
    written: list[int] = []
    for uniform in uniforms:
        row._shown = uniform
        expected = reference(logits, sampling, prompt, written, uniform)
        assert pick(torch.tensor([logits]), [row])[0].token == expected
        written.append(expected)


@pytest.mark.parametrize("vocabulary", [49152, 50257])
def test_a_draw_from_a_whole_vocabulary_is_exact(vocabulary: int) -> None:
    logits = 3 * torch.randn(64, vocabulary, generator=torch.Generator().manual_seed(vocabulary))
    uniforms = [place / 64 for place in range(64)]
    for settings in ({}, {"top_k": vocabulary - 1}):
        picked = pick(logits, [Loaded(uniform, params(**settings)) for uniform in uniforms])
        sums = logits.double().softmax(-1).cumsum(-1)
        for row, (uniform, one) in enumerate(zip(uniforms, picked, strict=True)):
            assert sums[row, one.token] > uniform - NEAR
            assert one.token == 0 or sums[row, one.token - 1] < uniform + NEAR


# ── streams of numbers, and company ──


def replies(logits: list[torch.Tensor], settings: Sequence[dict[str, Any]]) -> list[list[Picked]]:
    rows = [Picking(params(**one), [1, 2, 3]) for one in settings]
    steps = [pick(step, rows) for step in logits]
    return [list(row) for row in zip(*steps, strict=True)]


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [3 * torch.randn(12, 50257, generator=generator) for _ in range(10)]
    settings: list[dict[str, Any]] = [
        {"temperature": 0},
        {"temperature": 0.7},
        {"temperature": 0.7, "top_p": 0.9},
        {"temperature": 1.5, "top_p": 0.999, "logprobs": 3},
        {"top_k": 40},
        {"top_k": 40, "top_p": 0.9, "min_p": 0.05, "logprobs": 0},
        {"min_p": 0.1},
        {"repetition_penalty": 1.3, "temperature": 0, "logprobs": 20},
        {"frequency_penalty": 0.5, "presence_penalty": 0.5},
        {"logit_bias": {5: 10.0, 50256: 12.0}},
        {"temperature": 2.0},
        {"temperature": 0.01},
    ]
    settings = [{**one, "seed": 7} for one in settings]
    together = replies(logits, settings)
    for row, one in enumerate(settings):
        assert replies([step[row : row + 1] for step in logits], [one]) == [together[row]]


def test_a_seed_fixes_the_stream_of_numbers() -> None:
    logits = [torch.zeros(1, 1000)] * 20
    streams = {seed: replies(logits, [{"seed": seed}]) for seed in (-1, 0, 1, 2)}
    assert replies(logits, [{"seed": 1}]) == streams[1]
    for seed, stream in streams.items():
        assert all(stream != other for name, other in streams.items() if name != seed)
    assert replies(logits, [{}]) != replies(logits, [{}])


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_k": -1},
        {"min_p": 1.1},
        {"frequency_penalty": 2.1},
        {"presence_penalty": -2.1},
        {"repetition_penalty": 0.0},
        {"logit_bias": {1: 101.0}},
        {"logit_bias": dict.fromkeys(range(MOST_BIASES + 1), 1.0)},
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        params(**settings)
    assert refused.value.param == next(iter(settings))
