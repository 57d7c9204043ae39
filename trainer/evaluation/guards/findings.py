"""What guards may look at: the engine, both versions, what was measured so far, and the run's frozen suites."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from feedback.policies import VerdictPolicy
from feedback.run_folder import SUITES, FrozenGuidelines, Row, Split, Turn
from feedback.suites.formats import read_frozen
from feedback.suites.kinds import Item, SuiteKind
from service.engines.base import ChatMessage, Engine
from trainer.evaluation.generate import messages
from trainer.evaluation.guards.kept import Kept
from trainer.evaluation.metrics import MeanLogProbs
from trainer.evaluation.record import PairResult, RatingResult, RowResult


@dataclass(frozen=True)
class Findings:
    engine: Engine
    folder: Path
    candidate_version: str
    baseline_version: str
    policy: VerdictPolicy
    splits: dict[Split, list[Row]]
    rows: list[RowResult]
    pairs: list[PairResult]
    ratings: list[RatingResult]
    log_probs: MeanLogProbs
    kept: Kept
    guidelines: FrozenGuidelines | None = None
    planted: frozenset[str] = frozenset()
    """Ids of the run's own canaries that training has planted."""

    def asked(self, turns: Sequence[Turn]) -> list[ChatMessage]:
        """As serving puts it: the assistant's guidelines first, unless there is a system message already."""
        said = messages(turns)
        if self.guidelines is None or not self.guidelines.system_prompt or said[0]["role"] == "system":
            return said
        return [{"role": "system", "content": self.guidelines.system_prompt}, *said]

    @property
    def versions(self) -> tuple[str, str]:
        return self.candidate_version, self.baseline_version

    @cached_property
    def suites(self) -> dict[SuiteKind, dict[str, list[Item]]]:
        """Kind → suite's name → items, as frozen in `suites/<kind>.<name>.jsonl`."""
        found: dict[SuiteKind, dict[str, list[Item]]] = {kind: {} for kind in SuiteKind}
        for path in sorted((self.folder / SUITES).glob("*.jsonl")):
            kind, _, name = path.stem.partition(".")
            found[SuiteKind(kind)][name] = read_frozen(path.read_bytes(), SuiteKind(kind))
        return found
