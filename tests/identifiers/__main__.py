"""Recall of each kind, false alarms and time: `PYTHONPATH=tests python -m identifiers [HOW_MANY] [--missed]`.

`--missed` lists what wasn't found. The texts without identifiers are wikitext2_valid.txt, the typical ones
oasst_en_100_trees.jsonl, in the folder that BURNISH_TEST_DATA names.
"""

import sys

from real_data import real_data

from feedback.identifiers.find import find
from identifiers import MAKERS
from identifiers.measure import false_alarms, lines_of, messages_of, microseconds, missed


def main(arguments: list[str]) -> None:
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    recall(numbers[0] if numbers else 10_000, list_missed="--missed" in arguments)
    general, conversations = real_data("wikitext2_valid.txt"), real_data("oasst_en_100_trees.jsonl")
    for file in (general, conversations):
        if not file.exists():
            sys.exit(f"\nFalse alarms and time need {file}: set BURNISH_TEST_DATA to the folder that has it.")
    lines, texts = lines_of(general), messages_of(conversations)
    alarms = false_alarms(find, lines)
    print(f"\nFalse alarms: {len(alarms)} of {len(lines)} lines ({len(alarms) / len(lines):.2%}).")
    print("".join(f"- `{alarm}`\n" for alarm in alarms), end="")
    length, taken = sum(map(len, texts)) / len(texts), microseconds(find, texts)
    print(f"Time: {taken:.0f} µs a text on one core, over {len(texts)} texts of {length:.0f} characters.")


def recall(count: int, *, list_missed: bool) -> None:
    """`count` identifiers, as many of each kind."""
    each = count // len(MAKERS)
    print("| kind | made | found | recall |", "|---|---:|---:|---:|", sep="\n")
    not_found = {kind: list(missed(find, kind, each)) for kind in MAKERS}
    for kind, sentences in not_found.items():
        print(f"| {kind} | {each} | {each - len(sentences)} | {1 - len(sentences) / each:.2%} |")
        if list_missed:
            print(*(f"    {one.text[one.start : one.end]!r} in {one.text!r}" for one in sentences), sep="\n")
    made, lost = each * len(MAKERS), sum(map(len, not_found.values()))
    print(f"| all | {made} | {made - lost} | {1 - lost / made:.2%} |")


if __name__ == "__main__":
    main(sys.argv[1:])
