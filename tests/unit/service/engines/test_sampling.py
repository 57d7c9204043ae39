"""Picking tokens: worked by hand on a vocabulary of four."""

import torch

from service.engines.local.sampling import pick_tokens

LOGITS = torch.tensor([0.4, 0.1, 0.3, 0.2]).log()


def pick(temperature: float, top_p: float, uniform: float) -> int:
    return pick_tokens(LOGITS.unsqueeze(0), [temperature], [top_p], [uniform])[0]


def test_temperature_zero_takes_the_likeliest() -> None:
    assert {pick(0, 1, uniform) for uniform in (0, 0.5, 0.999)} == {0}


def test_sampling_inverts_the_distribution() -> None:
    assert [pick(1, 1, uniform) for uniform in (0.0, 0.39, 0.41, 0.49, 0.51, 0.79, 0.81, 0.9999)] == [
        *(0, 0, 1, 1, 2, 2, 3, 3)
    ]


def test_top_p_keeps_the_token_that_reaches_it() -> None:
    # The likeliest are 0 (.4) and 2 (.3); together they reach .7, so that 0.5 needs both and 0.4 only the first.
    assert {pick(1, 0.5, uniform / 100) for uniform in range(100)} == {0, 2}
    assert {pick(1, 0.39, uniform / 100) for uniform in range(100)} == {0}
    assert pick(1, 0.5, 0.56) == 0  # .56 of .7 is below .4
    assert pick(1, 0.5, 0.58) == 2


def test_low_temperature_sharpens() -> None:
    # p^4 normalized: .0256, .0001, .0081, .0016 of .0354; 0 takes 72%.
    assert pick(0.25, 1, 0.72) == 0
    assert pick(0.25, 1, 0.73) == 2


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    logits = torch.randn(4, 3000, generator=torch.Generator().manual_seed(0))
    settings = [(0.0, 1.0, 0.5), (1.0, 1.0, 0.3), (0.7, 0.9, 0.8), (1.5, 0.999, 0.99)]
    together = pick_tokens(logits, *map(list, zip(*settings, strict=True)))
    alone = [pick_tokens(logits[row : row + 1], [t], [p], [u])[0] for row, (t, p, u) in enumerate(settings)]
    assert together == alone
