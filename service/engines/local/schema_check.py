"""What may be compiled of a JSON schema. As a program: tries the schema on stdin and prints what is wrong with it.

The program exists because some schemas (a `multipleOf` of many digits, an `allOf` of patterns) would take hours or
all memory to compile, and nothing can stop that inside a process which has to go on: here the system does.
Imports nothing of Burnish, so that it starts in a twentieth of a second.
"""

import os
import sys

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

CPU_SECONDS = 1
MEMORY_BYTES = 1 << 30
NICENESS = 10
"""Replies go first: one that is being written has somebody reading it."""

WHITE_SPACE = r"[\x20\x0A\x0D\x09]{1,16}"
"""Between two symbols; without an end to it small models indent for ever."""


def compile_schema(tokenizer: LLTokenizer, schema: str) -> LLMatcher:
    """Never raises: `get_error()` says what is wrong. The limits keep a step's work at some milliseconds."""
    grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_pattern": WHITE_SPACE})
    limits = LLParserLimits(
        initial_lexer_fuel=200_000,  # about 4 ms
        step_lexer_fuel=50_000,  # about 4 ms
        step_max_items=10_000,  # about 1 ms
        max_lexer_states=20_000,  # about 40 MB
        max_grammar_size=50_000,
        precompute_large_lexemes=False,
        verbose_errors=False,
    )
    return LLMatcher(tokenizer, grammar, log_level=0, limits=limits)


def main() -> None:
    try:
        os.nice(NICENESS)
        import resource
    except (AttributeError, ImportError):  # Windows has neither
        pass
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    matcher = compile_schema(LLTokenizer("byte"), sys.stdin.buffer.read().decode())  # its tokens are the bytes
    if not matcher.is_error():
        matcher.compute_bitmask()
    sys.stdout.buffer.write(matcher.get_error().encode())


if __name__ == "__main__":
    main()
