"""The base's own answers: written once, never replayed where divergence is measured, written anew for another base."""

import asyncio
from pathlib import Path

import numpy
from safetensors.numpy import save_file

from service.engines.base import BASE
from service.engines.echo import EchoEngine
from trainer.evaluation.divergence import measure_divergence
from trainer.own_answers import held_out, kept_at, own_answers, prompts, read_answers, replayed


async def ask(kept: Path, told: list[int]) -> None:
    engine = EchoEngine()
    await engine.start()
    try:
        await own_answers(engine, kept, lambda done, total: told.append(done))
    finally:
        await engine.close()


def test_they_are_written_once_and_the_held_out_ones_are_not_replayed(tmp_path: Path) -> None:
    kept, told = tmp_path / "replay" / "base.json", []
    asyncio.run(ask(kept, told))
    answers = read_answers(kept)
    assert answers is not None
    assert [answer.prompt for answer in answers] == prompts()
    assert all(answer.answer for answer in answers)
    assert sorted(told) == list(range(1, len(answers) + 1))
    before = kept.read_bytes()
    asyncio.run(ask(kept, told))
    assert len(told) == len(answers)
    assert kept.read_bytes() == before

    assert sorted([*replayed(answers), *held_out(answers)], key=answers.index) == answers
    assert not set(replayed(answers)) & set(held_out(answers))
    assert len(held_out(answers)) == len(answers) // 4 == 24


def test_another_base_has_other_answers(tmp_path: Path) -> None:
    base, folder = tmp_path / "base", tmp_path / "replay"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"12")
    first = kept_at(folder, str(base))
    assert first == kept_at(folder, str(base))
    (base / "config.json").write_text('{"model_type": "llama"}')
    second = kept_at(folder, str(base))
    (base / "model.safetensors").write_bytes(b"123")
    assert len({first, second, kept_at(folder, str(base)), kept_at(folder, "owner/base")}) == 4


def test_a_base_that_was_trained_further_in_place_has_other_answers(tmp_path: Path) -> None:
    """The file is as long as before, and it begins and ends as before."""
    weights, folder = tmp_path / "model.safetensors", tmp_path / "replay"
    shapes = {"a": 9000, "b": 9000, "c": 3, "d": 9000}
    tensors = {name: numpy.zeros(size, numpy.float32) for name, size in shapes.items()}
    save_file(tensors, weights, {"format": "pt"})
    first, size = kept_at(folder, str(tmp_path)), weights.stat().st_size
    found = {first}
    for name in ("b", "c"):
        save_file(tensors | {name: tensors[name] + 1}, weights, {"format": "pt"})
        assert weights.stat().st_size == size
        found.add(kept_at(folder, str(tmp_path)))
    assert len(found) == 3
    save_file(tensors, weights, {"format": "pt"})
    assert kept_at(folder, str(tmp_path)) == first


def test_the_base_has_not_moved_from_itself(tmp_path: Path) -> None:
    async def measure() -> tuple[float, float, int]:
        engine = EchoEngine()
        await engine.start()
        try:
            found = await measure_divergence(engine, tmp_path / "kept.json", (BASE, BASE), lambda *_: None)
        finally:
            await engine.close()
        assert found is not None
        return found.candidate, found.baseline, found.prompts

    assert asyncio.run(measure()) == (0.0, 0.0, 24)
