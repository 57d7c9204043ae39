"""Continuous batching against transformers and PEFT, token for token, on tiny random models of several families."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from families import WAYS, House, make_house, open_scheduler, read, run, save_adapter, spell, tokens
from safetensors.torch import load_file

from feedback.errors import AdapterRefused
from service.engines.adapter_format import TENSOR_FILE, read_adapter
from service.engines.base import BASE, SamplingParams
from service.engines.local.native import library
from service.engines.local.scoring import ScoreJob


@pytest.fixture(scope="module", params=WAYS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    family, way = request.param
    with pytest.MonkeyPatch.context() as patch:
        if way.endswith("avx2"):
            patch.setattr(library, "BUILDS", {"kernels_avx2": library.BUILDS["kernels_avx2"]})
        library.load.cache_clear()
        if way != "transformers" and library.load() is None:
            pytest.skip("compiled: the decoder wasn't built, or this processor can't run it")
        yield make_house(family, way, tmp_path_factory.mktemp(family))
    library.load.cache_clear()


def test_greedy_equals_generate_alone_and_in_a_mixed_batch(house: House) -> None:
    # More requests than slots, short prompts and ones that are read in pieces, versions side by side.
    requests = [
        (id, version, tokens(length, seed=id), 12 + id)
        for id, (version, length) in enumerate(
            [(BASE, 5), ("one", 300), ("two", 9), (BASE, 600), ("one", 4), ("two", 257), (BASE, 256), ("one", 31)]
        )
    ]
    expected = {id: house.greedy(version, prompt, count) for id, version, prompt, count in requests}
    assert len(set(expected.values())) == len(expected)
    for id, version, prompt, count in requests[:3]:
        house.scheduler.submit(id, version, prompt, SamplingParams(count, temperature=0))
        assert run(house.scheduler)[0][id] == expected[id]
    together: dict[int, str] = {}
    for id, version, prompt, count in requests:
        house.scheduler.submit(id, version, prompt, SamplingParams(count, temperature=0))
        for number, text in run(house.scheduler, steps=2)[0].items():  # the next joins while the others are under way
            together[number] = together.get(number, "") + text
    for number, text in run(house.scheduler)[0].items():
        together[number] = together.get(number, "") + text
    assert together == expected


def test_scores_equal_pefts_while_replies_are_written(house: House) -> None:
    shapes = [(BASE, 7, 3), ("one", 40, 1), ("two", 2, 1), ("one", 700, 650), (BASE, 258, 257), ("two", 513, 200)]
    jobs = [
        ScoreJob(1, index, version, tokens(length, seed=index), first)
        for index, (version, length, first) in enumerate(shapes)
    ]
    prompt = tokens(20, seed=50)
    expected_text = house.greedy("one", prompt, 30)
    house.scheduler.submit(2, "one", prompt, SamplingParams(30, temperature=0))
    house.scheduler.score(jobs)
    texts, _, total = run(house.scheduler)
    assert texts[2] == expected_text
    assert {job.index for job in total.scored} == set(range(len(jobs)))
    for job in total.scored:
        expected = house.log_probabilities(job.version, job.tokens, job.first)
        assert job.scores == pytest.approx(expected, abs=1e-4)


def test_completions_of_one_prompt_score_as_each_does_alone(house: House) -> None:
    prompts = [tokens(30, seed=1), tokens(300, seed=2)]
    jobs = [
        ScoreJob(1, index, version, [*prompt, *tokens(length, seed=index)], len(prompt))
        for index, (version, prompt, length) in enumerate(
            (version, prompt, length) for version in (BASE, "one") for prompt in prompts for length in (1, 5, 280)
        )
    ]
    house.scheduler.score(jobs)
    _, _, total = run(house.scheduler)
    assert len(total.scored) == len(jobs)
    for job in total.scored:
        expected = house.log_probabilities(job.version, job.tokens, job.first)
        assert job.scores == pytest.approx(expected, abs=1e-4)


def test_cancelling_frees_the_slot_and_disturbs_nobody(house: House) -> None:
    prompts = {id: tokens(10 + id, seed=id) for id in range(6)}
    versions = [BASE, "one", "two", BASE, "one", "two"]
    for id, prompt in prompts.items():
        house.scheduler.submit(id, versions[id], prompt, SamplingParams(400 if id < 2 else 9, temperature=0))
    run(house.scheduler, steps=3)
    house.scheduler.cancel(0)
    house.scheduler.cancel(1)
    house.scheduler.cancel(1)
    assert not house.scheduler.uses("one") or versions[4] == "one"
    texts, reasons, _ = run(house.scheduler)
    assert not ({0, 1} & texts.keys())
    assert texts[4] == house.greedy("one", prompts[4], 9)
    assert texts[5] == house.greedy("two", prompts[5], 9)
    assert reasons[5] in {"stop", "length"}


def test_a_seed_gives_the_same_reply_in_any_company(house: House) -> None:
    sampling = SamplingParams(20, temperature=1.2, top_p=0.9, seed=11)
    house.scheduler.submit(1, "one", tokens(6, seed=1), sampling)
    alone = run(house.scheduler)[0][1]
    for id in (5, 6, 7):
        house.scheduler.submit(id, BASE, tokens(9, seed=id), SamplingParams(30, temperature=1.0))
    house.scheduler.submit(1, "one", tokens(6, seed=1), sampling)
    assert run(house.scheduler)[0][1] == alone
    house.scheduler.submit(1, "one", tokens(6, seed=1), SamplingParams(20, temperature=1.2, top_p=0.9, seed=12))
    assert run(house.scheduler)[0][1] != alone


def test_stops_at_stop_strings_the_token_limit_and_the_context(house: House) -> None:
    prompt = tokens(20, seed=3)
    greedy = house.greedy(BASE, prompt, 12)
    stop = spell([int(token) for token in greedy[1:-1].split("><")][4:6])
    at = greedy.index(stop)
    house.scheduler.submit(1, BASE, prompt, SamplingParams(12, temperature=0, stop=(stop,)))
    house.scheduler.submit(2, BASE, prompt, SamplingParams(2, temperature=0))
    house.scheduler.submit(3, BASE, tokens(1020, seed=4), SamplingParams(100, temperature=0))
    texts, reasons, _ = run(house.scheduler)
    assert (texts[1], reasons[1]) == (greedy[:at], "stop")
    assert (greedy.startswith(texts[2]), texts[2].count("<"), reasons[2]) == (True, 2, "length")
    assert texts[3].count("<") <= 4


def test_a_long_prompt_is_read_beside_the_replies(house: House) -> None:
    seconds = itertools.count()
    scheduler = open_scheduler(house.decoder, clock=lambda: next(seconds))
    scheduler.submit(1, BASE, tokens(5, seed=5), SamplingParams(60, temperature=0, ignore_eos=True))
    scheduler.step()
    prompt = tokens(900, seed=6)
    scheduler.submit(2, "one", prompt, SamplingParams(1, temperature=0))
    steps = [scheduler.step().deltas]
    while {id for id, _ in steps[-1]} == {1}:  # every step writes a token of the reply under way
        steps.append(scheduler.step().deltas)
    assert len(steps) > 2
    assert [delta.text for id, delta in steps[-1] if id == 2] == [house.greedy("one", prompt, 1)]


@pytest.mark.parametrize("key", ["modest", "greedy"])
def test_a_short_prompt_is_not_held_up_by_long_ones(house: House, key: str) -> None:
    seconds = itertools.count()
    scheduler = open_scheduler(house.decoder, clock=lambda: next(seconds))
    for id in (1, 2):
        scheduler.submit(id, BASE, tokens(900, seed=id), SamplingParams(1, temperature=0), "greedy")
    scheduler.step()
    scheduler.submit(3, BASE, tokens(20, seed=3), SamplingParams(1, temperature=0), key)
    steps = 1
    while not (deltas := scheduler.step().deltas):
        steps += 1
    assert [id for id, _ in deltas] == [3]
    assert steps <= 3
    assert set(run(scheduler)[0]) == {1, 2}


def test_a_long_prompt_is_read_however_many_short_ones_come(house: House) -> None:
    seconds = itertools.count()
    scheduler = open_scheduler(house.decoder, clock=lambda: next(seconds))
    scheduler.submit(0, BASE, tokens(300, seed=0), SamplingParams(1, temperature=0), "patient")
    for id in itertools.count(1):
        scheduler.submit(id, BASE, tokens(40, seed=id), SamplingParams(1, temperature=0), "busy")
        if any(id == 0 for id, _ in scheduler.step().deltas):
            break
        assert id < 100
    run(scheduler)


def test_a_key_that_takes_every_slot_leaves_one_for_the_others(house: House) -> None:
    scheduler = open_scheduler(house.decoder)
    for id in range(1, 10):
        scheduler.submit(id, BASE, tokens(5, seed=id), SamplingParams(60, temperature=0, ignore_eos=True), "greedy")
    scheduler.step()
    scheduler.submit(10, BASE, tokens(5, seed=10), SamplingParams(1, temperature=0), "modest")
    first, _, _ = run(scheduler, steps=8)
    assert set(first) == {1, 2, 3, 4, 10}
    assert set(run(scheduler)[0]) >= set(range(5, 10))


def test_replies_wait_until_their_keys_and_values_have_room(house: House) -> None:
    scheduler = open_scheduler(house.decoder, kv_cache_tokens=100)
    for id, length in enumerate((30, 30, 200, 30)):
        scheduler.submit(id, BASE, tokens(length, seed=id), SamplingParams(20, temperature=0, ignore_eos=True))
    order: list[int] = []
    while scheduler.busy:
        order += [id for id, delta in scheduler.step().deltas if delta.finish_reason]
    assert order == [0, 1, 2, 3]  # the third is more than all the room: it has its turn, alone


def test_what_was_read_before_is_not_read_again(house: House) -> None:
    def cached(prompt: list[int], version: str) -> tuple[int, str]:
        house.scheduler.submit(1, version, prompt, SamplingParams(6, temperature=0))
        seen = [delta for _ in iter(lambda: house.scheduler.busy, False) for _, delta in house.scheduler.step().deltas]
        return seen[-1].cached_tokens, "".join(delta.text for delta in seen)

    prompt = tokens(100, seed=70)
    assert cached(prompt, "one")[0] == 0
    assert cached(prompt, "two")[0] == 0  # another version's are other keys and values
    longer = [*prompt, *tokens(50, seed=71)]
    count, text = cached(longer, "one")
    assert count >= 96
    assert text == house.greedy("one", longer, 6)
    other = [*prompt[:40], *tokens(50, seed=72)]
    count, text = cached(other, "two")
    assert count == 40
    assert text == house.greedy("two", other, 6)


def test_accepts_what_changes_something_and_refuses_the_rest(house: House, tmp_path: Path) -> None:
    family = house.models[BASE].config.model_type
    zero = save_adapter(family, tmp_path / "zero", seed=3)
    described, tensors = read_adapter(zero), load_file(zero / TENSOR_FILE)
    idle = {name: weight * ("lora_A" in name) for name, weight in tensors.items()}
    with pytest.raises(AdapterRefused, match="changes nothing"):
        house.decoder.add("idle", house.decoder.prepare(described, idle))
    wild = {name: weight * 1e18 for name, weight in tensors.items()}
    with pytest.raises(AdapterRefused, match="finite"):
        house.decoder.add("wild", house.decoder.prepare(described, wild))
    broken = {name: weight / 0 for name, weight in tensors.items()}
    with pytest.raises(AdapterRefused, match="finite"):
        house.decoder.prepare(described, broken)
    assert house.decoder.versions == {"one", "two"}
    prompt = tokens(8, seed=8)
    house.scheduler.submit(1, "two", prompt, SamplingParams(8, temperature=0))
    assert run(house.scheduler)[0][1] == house.greedy("two", prompt, 8)


def test_refuses_adapters_of_another_base(house: House, tmp_path: Path) -> None:
    family = house.models[BASE].config.model_type
    other = "llama" if family == "gpt2" else "gpt2"
    with pytest.raises(AdapterRefused, match="another base model"):
        house.decoder.prepare(*read(save_adapter(other, tmp_path / "other", seed=4)))
