"""A scoring step's logits stay within their memory, whatever the vocabulary."""

from collections.abc import Sequence

import pytest
import torch
from families import VOCABULARY, House, Tokenless, open_scheduler, run, tiny_model, tokens

from service.engines.base import BASE
from service.engines.local import scoring
from service.engines.local.decoder import Chunk, open_decoder
from service.engines.local.scoring import ScoreJob

MOST_KEPT = 40


def test_a_steps_logits_stay_within_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "LOGITS_BYTES", MOST_KEPT * 4 * VOCABULARY)
    model = tiny_model("llama")
    decoder = open_decoder(model, Tokenless(), context_tokens=1024, compiled=False)
    kept: list[int] = []
    forward = decoder.forward

    def counted(chunks: Sequence[Chunk]) -> torch.Tensor:
        logits = forward(chunks)
        kept.append(len(logits))
        return logits

    monkeypatch.setattr(decoder, "forward", counted)
    prompts = [tokens(3, seed=seed) for seed in range(50)]  # all end in the same step if nothing hinders them
    jobs = [ScoreJob(1, index, BASE, [*prompt, 5], len(prompt)) for index, prompt in enumerate(prompts)]
    jobs += [
        ScoreJob(1, len(prompts) + index, BASE, [*prompts[0], *tokens(90, seed=100 + index)], 3) for index in range(12)
    ]
    house = House(open_scheduler(decoder), decoder, {BASE: model})
    house.scheduler.score(jobs)
    _, _, total = run(house.scheduler)
    assert max(kept) <= MOST_KEPT
    assert max(kept) > MOST_KEPT / 2
    assert {job.index for job in total.scored} == set(range(len(jobs)))
    for job in total.scored:
        assert job.scores == pytest.approx(house.log_probabilities(BASE, job.tokens, job.first), abs=1e-4)


def test_a_vocabulary_of_49152_words_leaves_steps_as_wide_as_they_may_be() -> None:
    assert scoring.LOGITS_BYTES // (4 * 49_152) >= scoring.STEP_TOKENS
    assert scoring.LOGITS_BYTES // (4 * 151_936) < scoring.STEP_TOKENS
