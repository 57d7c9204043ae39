"""Recall of each kind and false alarms: `python -m identifiers [HOW_MANY]`, with `tests` on PYTHONPATH.

The text without identifiers is wikitext2_valid.txt in the folder that BURNISH_TEST_DATA names.
"""

import os
import sys
from pathlib import Path

from feedback.identifiers.find import find
from identifiers import MAKERS
from identifiers.measure import false_alarms, missed

if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for kind in MAKERS:
        out = list(missed(find, kind, count))
        print(f"{kind:12} {1 - len(out) / count:8.2%} of {count}")
        for sentence in out[:20]:
            print("   ", repr(sentence.text[sentence.start : sentence.end]), "in", repr(sentence.text))
    text = Path(os.environ.get("BURNISH_TEST_DATA", "."), "wikitext2_valid.txt")
    if text.exists():
        lines = [line for line in text.read_text().splitlines() if line.strip()]
        alarms = false_alarms(find, lines)
        print(f"false alarms {len(alarms) / len(lines):8.2%} of {len(lines)} lines", *alarms, sep="\n    ")
