"""Burnish's own suites: what every run's folder gets. Leaves out the operators' (feedback.suites)."""

from pathlib import Path

from feedback.run_folder import GENERAL_TEXT
from feedback.suites.freezing import Files

FOLDER = Path(__file__).parent / "evaluation" / "suites"


def own_suites() -> Files:
    """general.txt, and `<kind>.own.jsonl` for each kind that there is one of."""
    found = {GENERAL_TEXT.name: (FOLDER / GENERAL_TEXT.name).read_bytes()}
    return found | {f"{path.stem}.own.jsonl": path.read_bytes() for path in sorted(FOLDER.glob("*.jsonl"))}
