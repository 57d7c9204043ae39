"""Recall of each kind, false alarms and time: `python -m identifiers [HOW_MANY] [--missed]`, with `tests` on PYTHONPATH.

`--missed` lists what wasn't found. The texts without identifiers are wikitext2_valid.txt, the typical ones
oasst_en_100_trees.jsonl, in the folder that BURNISH_TEST_DATA names.
"""

import sys

from feedback.identifiers.find import find
from identifiers import MAKERS
from identifiers.measure import false_alarms, lines_of, messages_of, microseconds, missed, real_data


def main(arguments: list[str]) -> None:
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    recall(numbers[0] if numbers else 10_000, list_missed="--missed" in arguments)
    general, conversations = real_data("wikitext2_valid.txt"), real_data("oasst_en_100_trees.jsonl")
    if general.exists():
        lines = lines_of(general)
        alarms = false_alarms(find, lines)
        print(f"\nFalse alarms: {len(alarms)} of {len(lines)} lines ({len(alarms) / len(lines):.2%}).")
        print("".join(f"- `{alarm}`\n" for alarm in alarms), end="")
    if conversations.exists():
        texts = messages_of(conversations)
        length = sum(map(len, texts)) / len(texts)
        print(f"\n{microseconds(find, texts):.0f} µs of processor time a text, the mean of {len(texts)} texts of {length:.0f} characters.")


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
