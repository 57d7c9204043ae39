"""Evidence from people's words that may be weighed after each of them: e-values.

An e-value of 20 against "as good as before" comes about by chance at most once in twenty releases, however often and
whenever somebody looks (Ville 1939; Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid inference").
So a canary can grow, or be taken back, the moment that the evidence is there.
Leaves out which words count (live_evidence.py) and what follows (canary.py).
"""

import math
from dataclasses import dataclass

ACT_AT = 20.0
"""An e-value from which it is acted on: a false alarm in at most one of twenty."""


def e_value(wins: int, losses: int, share: float = 0.5) -> float:
    """How much likelier these are if a win's chance is above `share`, anywhere there, than if it is `share`.

    The chance is given a uniform prior above `share`, so that with n = w + l
    E = B(w+1, l+1) · P(Beta(w+1, l+1) > s) / ((1-s) · s^w · (1-s)^l), a likelihood ratio by the method of mixtures
    (Robbins 1970); at s = ½ it is 2ⁿ⁺¹ · B(w+1, l+1) · P(Beta > ½). If the chance is at most `share`, the e-value is a
    supermartingale over the votes, whose maximum passes 20 with a chance of 1/20 at most.

    Nothing was said: 1. One win at even chances: the mean of 2p over p above ½ is 1½; ten of ten: 2¹¹/11·(1-2⁻¹¹).

    >>> e_value(0, 0), round(e_value(1, 0), 9), round(e_value(10, 0), 6), round(2**11 / 11 * (1 - 2**-11), 6)
    (1.0, 1.5, 186.090909, 186.090909)
    >>> e_value(0, 10) < 0.1
    True
    """
    return math.exp(min(log_e_value(wins, losses, share), 700.0))


def log_e_value(wins: int, losses: int, share: float = 0.5) -> float:
    if not 0 < share < 1:
        raise ValueError(f"A share of {share} leaves nothing to be told: it must be between 0 and 1.")
    votes = wins + losses
    log_yes, log_no = math.log(share), math.log1p(-share)
    # P(Beta(w+1, l+1) > s) is the chance of at most w successes in n+1 trials (Abramowitz & Stegun 26.5.24)
    above = _log_sum([_log_choose(votes + 1, k) + k * log_yes + (votes + 1 - k) * log_no for k in range(wins + 1)])
    log_beta = -math.log(votes + 1) - _log_choose(votes, wins)
    return log_beta + min(above, 0.0) - log_no - wins * log_yes - losses * log_no


@dataclass(frozen=True)
class Evidence:
    """For and against: that a win's chance is above `share`, and below it."""

    wins: int
    losses: int
    share: float = 0.5

    @property
    def better(self) -> float:
        return e_value(self.wins, self.losses, self.share)

    @property
    def worse(self) -> float:
        return e_value(self.losses, self.wins, 1 - self.share)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_sum(logs: list[float]) -> float:
    most = max(logs)
    return most + math.log(math.fsum(math.exp(one - most) for one in logs))
