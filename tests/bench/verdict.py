"""How often the verdict, and the live evidence, err: simulated streams of choices through the code that decides.

Promises: `judge` itself, as the worker calls it, on evaluations whose candidate is equal (false promotions, for one
candidate and for a family of twenty held against one baseline on the same gate rows) or better by a known share (power,
beside what theory says of so many pairs, clustered so). Contributors and prompt clusters are of uneven size, cross each
other, and their rows are correlated. And `feedback.evidence`, as a canary uses it: how often an equal canary is taken
back under a look after every vote, and how many votes a worse one takes. Rates come with Wilson's 95 % interval. Leaves
out the model: what a real candidate's rows look like is measured by `burnish bench flattery` and the demo.
"""

import argparse
import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path
from statistics import NormalDist, fmean, median
from typing import Any

import numpy as np
from bench.figures import Result, tell

from feedback.evidence import ACT_AT, Evidence
from feedback.live_evidence import LiveEvidence
from feedback.policies import VerdictPolicy
from feedback.states import GuardOutcome, VerdictWord
from trainer.evaluation.record import Evaluation, GuardResult, PairResult
from trainer.evaluation.verdict import judge

FAMILY = 20
GAINS = (0.05, 0.10, 0.20)
VOTES = 1_000
"""A canary's votes are looked at until there are so many."""
WORSE = 0.35
"""The share of blind choices that a bad canary wins."""
POLICY = VerdictPolicy()


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=2_000, help="of each figure")
    parser.add_argument("--pairs", type=int, default=300, help="held-out choices")
    parser.add_argument("--contributors", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=150, help="prompt clusters")
    parser.add_argument("--discordance", type=float, default=0.2, help="share of pairs on which the versions differ")
    parser.add_argument("--correlation", type=float, default=0.1, help="of two rows of one contributor, or cluster")
    parser.add_argument("--spread", type=float, default=0.7, help="of the logarithm of a contributor's share of rows")
    parser.add_argument("--seed", type=int, default=1)


@dataclass(frozen=True)
class Crowd:
    """Whose choices they are, about what; drawn anew in every trial."""

    pairs: int
    contributors: int
    prompts: int
    discordance: float
    correlation: float
    spread: float

    def labels(self, random: np.random.Generator) -> tuple[Any, Any]:
        return self._uneven(random, self.contributors), self._uneven(random, self.prompts)

    def _uneven(self, random: np.random.Generator, clusters: int) -> Any:
        shares = random.lognormal(0, self.spread, clusters)
        return random.choice(clusters, self.pairs, p=shares / shares.sum())

    def gains(self, random: np.random.Generator, contributor: Any, prompt: Any, gain: float) -> Any:
        """-1, 0 or 1 a pair, `gain` on average. A row takes its contributor's draw with chance √ρ, else its prompt
        cluster's with chance √ρ of all, else its own: two rows of a cluster are then correlated by ρ."""
        up, down = (self.discordance + gain) / 2, (self.discordance - gain) / 2

        def draw(count: int) -> Any:
            chance = random.random(count)
            return np.where(chance < up, 1, np.where(chance < up + down, -1, 0))

        theirs, its, own = draw(self.contributors)[contributor], draw(self.prompts)[prompt], draw(self.pairs)
        source, root = random.random(self.pairs), math.sqrt(self.correlation)
        return np.where(source < root, theirs, np.where(source < 2 * root, its, own))

    def power(self, contributor: Any, prompt: Any, gain: float, alpha: float) -> float:
        """What a one-sided test at `alpha` finds, by the variance that this crowd's mean has: each axis inflates it by
        ρ for every pair of its rows (the design effect; Donner & Klar 2000)."""
        inflated = self.pairs
        for labels in (contributor, prompt):
            sizes = np.bincount(labels)
            inflated += self.correlation * float((sizes * (sizes - 1)).sum())
        error = math.sqrt((self.discordance - gain**2) * inflated) / self.pairs
        return NormalDist().cdf(gain / error - NormalDist().inv_cdf(1 - alpha))


def measure(options: argparse.Namespace, models: Path) -> Result:
    crowd = Crowd(
        options.pairs, options.contributors, options.prompts, options.discordance, options.correlation, options.spread
    )
    trials, seed = options.trials, options.seed
    tell(f"{trials} families of {FAMILY} equal candidates")
    families = _spread(_family, crowd, trials, seed)
    power, of_theory = {}, {}
    for gain in GAINS:
        tell(f"{trials} candidates better by {gain:g}")
        found = _spread(_better, crowd, trials, seed, gain)
        power[f"{gain:.2f}"] = _rate([won for won, _ in found])
        of_theory[f"{gain:.2f}"] = fmean(chance for _, chance in found)
    tell(f"{trials} canaries, equal and worse")
    alarms, votes = _canaries(trials, seed)
    first = _rate([promoted == 1 for promoted in families])
    any_try = _rate([promoted > 0 for promoted in families])
    return {
        "false_promotion_rate": first["rate"],
        "false_promotion_interval": first["interval"],
        "false_promotion_rate_after_20_tries": any_try["rate"],
        "false_promotion_after_20_tries_interval": any_try["interval"],
        "power": {gain: found["rate"] for gain, found in power.items()},
        "power_interval": {gain: found["interval"] for gain, found in power.items()},
        "power_of_theory": of_theory,
        "rollback": {
            "false_alarm_rate": alarms["rate"],
            "false_alarm_interval": alarms["interval"],
            "median_votes_to_detect": median(votes),
            "detected": sum(math.isfinite(count) for count in votes) / len(votes),
        },
        "trials": trials,
        "ok": first["rate"] <= POLICY.alpha and any_try["rate"] <= POLICY.alpha and alarms["rate"] <= POLICY.alpha,
    }


def _spread(trial: Any, crowd: Crowd, trials: int, seed: int, *more: Any) -> list[Any]:
    """Over the cores; each trial has a random stream of its own."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rest = [repeat(value) for value in more]
        return list(pool.map(trial, repeat(crowd), range(seed * trials, (seed + 1) * trials), *rest, chunksize=25))


def _family(crowd: Crowd, seed: int) -> int:
    """Twenty equal candidates on the same gate rows: which of them was promoted first; 0: none."""
    random = np.random.default_rng(seed)
    labels = crowd.labels(random)
    for tries in range(1, FAMILY + 1):
        if _promotes(labels, crowd.gains(random, *labels, 0.0), tries):
            return tries
    return 0


def _better(crowd: Crowd, seed: int, gain: float) -> tuple[bool, float]:
    """Whether the first candidate that is better by `gain` is promoted, and how likely theory has that."""
    random = np.random.default_rng(seed)
    labels = crowd.labels(random)
    verdict, alpha = _verdict(labels, crowd.gains(random, *labels, gain), tries=1)
    return verdict is VerdictWord.PROMOTE, crowd.power(*labels, gain, alpha)


def _promotes(labels: tuple[Any, Any], gains: Any, tries: int) -> bool:
    return _verdict(labels, gains, tries)[0] is VerdictWord.PROMOTE


def _verdict(labels: tuple[Any, Any], gains: Any, tries: int) -> tuple[VerdictWord, float]:
    pairs = [
        PairResult.model_construct(
            id=str(place), contributor=f"c{contributor}", cluster=f"p{prompt}", topic=f"p{prompt}", decides=True,
            chosen_characters=100, rejected_characters=100,
            candidate_margin=1.0 if gain > 0 or (gain == 0 and place % 2) else -1.0,
            baseline_margin=1.0 if gain < 0 or (gain == 0 and place % 2) else -1.0,
        )
        for place, (contributor, prompt, gain) in enumerate(zip(*labels, gains, strict=True))
    ]  # fmt: skip
    guards = [GuardResult(name=name, outcome=GuardOutcome.PASSED, detail="") for name in POLICY.required_guards]
    found = judge(
        Evaluation.model_construct(
            run_id="simulated", assistant="simulated", base_model="none", dataset_sha256="", candidate_version="a",
            baseline_version="base", tries=tries, seed=0, rows=[], pairs=pairs, ratings=[], guards=guards, samples=[],
            divergence=None, too_long=0, seconds={},
        ),
        POLICY,
    )  # fmt: skip
    return found.verdict, float(found.statistics["alpha_per_family"])


def _canaries(trials: int, seed: int) -> tuple[dict[str, Any], list[float]]:
    """Looked at after every vote: whether an equal one was ever taken back; votes until a worse one was."""
    alarms, votes = [], []
    for trial in range(trials):
        random = np.random.default_rng((seed, trial))
        alarms.append(math.isfinite(_votes_until_rollback(random.random(VOTES) < 0.5)))
        votes.append(_votes_until_rollback(random.random(VOTES) < WORSE))
    return _rate(alarms), votes


def _votes_until_rollback(won: Any) -> float:
    wins = 0
    for count, one in enumerate(won.tolist(), start=1):
        wins += one
        if _takes_back(wins, count - wins):
            return float(count)
    return math.inf


@cache
def _takes_back(wins: int, losses: int) -> bool:
    """What a canary's votes alone bring about, as rollout.py has it: other kinds of evidence have said nothing yet."""
    silent = Evidence(0, 0)
    found = LiveEvidence(Evidence(wins, losses), silent, silent, silent, silent, (0, 0))
    return found.worse >= ACT_AT


def _rate(outcomes: Sequence[bool]) -> dict[str, Any]:
    """A share with its 95 % interval (Wilson 1927)."""
    count, share, z = len(outcomes), fmean(outcomes), NormalDist().inv_cdf(0.975)
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return {"rate": share, "interval": [max(0.0, centre - half), min(1.0, centre + half)]}
