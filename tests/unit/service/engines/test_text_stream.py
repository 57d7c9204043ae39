"""Text out of tokens: whole characters, and never a piece of a stop string."""

from hypothesis import given
from hypothesis import strategies as st

from service.engines.base import TokenLogprob
from service.engines.local.text_stream import MAX_PENDING_TOKENS, TextStream


def decode(tokens: list[int]) -> str:
    """The hardest tokenizer there is: a token is a byte."""
    return bytes(tokens).decode("utf-8", errors="replace")


def run(text: str, stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    stream = TextStream(decode, stop)
    pieces: list[str] = []
    for byte in text.encode():
        pieces.append(stream.push(byte))
        if stream.stopped:
            return pieces, True
    pieces.append(stream.finish())
    return pieces, stream.stopped


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")))
def test_pieces_are_whole_characters_and_add_up(text: str) -> None:
    pieces, stopped = run(text)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert not stopped


@given(
    st.text(alphabet="ab你😀", max_size=30), st.lists(st.text(alphabet="ab你😀", min_size=1, max_size=4), max_size=3)
)
def test_stops_at_the_first_stop_string_and_leaks_nothing_of_it(text: str, stop: list[str]) -> None:
    pieces, stopped = run(text, tuple(stop))
    shown = "".join(pieces)
    # The reply ends with the character that completes a stop string; the earliest start among those wins.
    ends = [length for length in range(len(text) + 1) if any(text[:length].endswith(one) for one in stop)]
    assert stopped == bool(ends)
    if ends:
        seen = text[: ends[0]]
        assert shown == seen[: min(at for one in stop if (at := seen.find(one)) >= 0)]
    else:
        assert shown == text


def test_holds_back_only_what_may_become_a_stop_string() -> None:
    stream = TextStream(decode, ("\n\nUser:",))
    assert [stream.push(byte) for byte in b"a\n\nb"] == ["a", "", "", "\n\nb"]


def test_a_stop_string_that_began_is_shown_when_the_reply_ends() -> None:
    pieces, stopped = run("see you\n\nUs", ("\n\nUser:",))
    assert "".join(pieces) == "see you\n\nUs"
    assert not stopped


def test_bytes_that_never_become_a_character_do_not_hold_the_reply_up() -> None:
    stream = TextStream(decode)
    pieces = [stream.push(0x80) for _ in range(3 * MAX_PENDING_TOKENS)]
    assert any(pieces)
    assert set("".join(pieces) + stream.finish()) == {"\ufffd"}


def test_a_character_cut_by_the_token_limit_ends_as_a_replacement_character() -> None:
    stream = TextStream(decode)
    assert [stream.push(byte) for byte in "😀".encode()[:3]] == ["", "", ""]
    assert stream.finish() == "\ufffd"


def run_with_logprobs(text: str, stop: tuple[str, ...] = ()) -> tuple[str, list[TokenLogprob]]:
    """What was shown, and the entries that came with it; an entry's logprob is its token's place."""
    stream = TextStream(decode, stop)
    shown, taken = "", []
    for place, byte in enumerate(text.encode()):
        piece = stream.push(byte, TokenLogprob("", float(place), (byte,)))
        if piece:
            shown += piece
            taken += stream.take_logprobs()
            assert bytes(byte for entry in taken for byte in entry.bytes).startswith(shown.encode())
        if stream.stopped:
            break
    if not stream.stopped:
        shown += stream.finish()
    return shown, [*taken, *stream.take_logprobs()]


@given(
    st.text(alphabet="ab你😀", max_size=30), st.lists(st.text(alphabet="ab你😀", min_size=1, max_size=4), max_size=3)
)
def test_every_tokens_logprobs_go_out_once_with_its_text(text: str, stop: list[str]) -> None:
    shown, taken = run_with_logprobs(text, tuple(stop))
    assert shown == "".join(run(text, tuple(stop))[0])
    assert [entry.logprob for entry in taken] == [float(place) for place in range(len(taken))]
    assert bytes(byte for entry in taken for byte in entry.bytes) == shown.encode()


def test_tokens_without_text_keep_their_logprobs() -> None:
    stream = TextStream(lambda tokens: "".join("x" for token in tokens if token), ("xy",))
    entries = [TokenLogprob(str(place), 0.0, ()) for place in range(4)]
    assert [stream.push(token, entry) for token, entry in zip([1, 0, 1, 0], entries, strict=True)] == ["", "", "x", ""]
    assert stream.take_logprobs() == (entries[0],)
    assert stream.finish() == "x"
    assert stream.take_logprobs() == tuple(entries[1:])


@given(st.text(alphabet="ab你😀", max_size=8), st.integers(0, 40), st.integers(0, 2))
def test_tokens_without_text_cost_no_more_the_more_they_are(text: str, every: int, stray: int) -> None:
    """A zero stands for no text, as a special token does."""
    longest = 0

    def decode_seen(tokens: list[int]) -> str:
        nonlocal longest
        longest = max(longest, len(tokens))
        return decode([token for token in tokens if token])

    stream = TextStream(decode_seen)
    shown = "".join(stream.push(byte) for byte in [0x80] * stray)
    for character in text:
        for byte in character.encode():
            shown += stream.push(byte)
        shown += "".join(stream.push(0) for _ in range(every))
    shown += stream.finish()
    assert shown.lstrip("\ufffd") == text
    assert longest <= 3 * MAX_PENDING_TOKENS
