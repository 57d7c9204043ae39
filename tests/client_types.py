"""What a type checker must know of the client, on both sides; `test_client.py` has mypy read it, nothing runs it."""

from collections.abc import Sequence
from typing import assert_type

from feedback.client import AsyncBurnish, AsyncSender, Burnish, Completion, Fate, Piece, Receipt, Run, SyncSender
from feedback.client.calls import Page
from feedback.client.feedback import Form
from feedback.client.listings import AsyncListing, Listing
from feedback.client.review import Entry, Next
from feedback.client.streams import AsyncStream, Stream
from feedback.client.versions import Trial, Version


def waits(client: Burnish) -> None:
    completion = client.chat.create("support", "Hi!", user="reader-17", temperature=0.5)
    assert_type(completion, Completion)
    stream = client.chat.stream("support", [{"role": "user", "content": "Hi!"}, completion.message])
    assert_type(stream, Stream[Piece, Completion])
    with stream as opened:
        for piece in opened:
            assert_type(piece, Piece)
    assert_type(stream.result, Completion)
    receipt = client.feedback.correct(completion, "Hello!", key_facts=["Hello"], tags=["warm"])
    assert_type(receipt, Receipt[SyncSender])
    assert_type(receipt.look_up(), Fate)
    assert_type(client.feedback.prefer(completion.replies[0], ("chatcmpl-1", 1)), Receipt[SyncSender])
    assert_type(client.feedback.form(completion), Form)
    assert_type(client.versions.list("support"), Sequence[Version])
    assert_type(client.versions.trial("support"), Trial | None)
    assert_type(client.runs.list(), Listing[Run])
    assert_type(client.runs.list().page(), Page[Run])
    assert_type(client.runs.follow("run-1"), Stream[Run, Run])
    assert_type(client.review.next("support", show="unreviewed"), Next)
    for entry in client.review.list("support"):
        assert_type(entry, Entry)


async def awaits(client: AsyncBurnish) -> None:
    completion = await client.chat.create("support", "Hi!", user="reader-17", temperature=0.5)
    assert_type(completion, Completion)
    stream = client.chat.stream("support", [{"role": "user", "content": "Hi!"}, completion.message])
    assert_type(stream, AsyncStream[Piece, Completion])
    async with stream as opened:
        async for piece in opened:
            assert_type(piece, Piece)
    assert_type(stream.result, Completion)
    receipt = await client.feedback.correct(completion, "Hello!", key_facts=["Hello"], tags=["warm"])
    assert_type(receipt, Receipt[AsyncSender])
    assert_type(await receipt.look_up(), Fate)
    assert_type(await client.feedback.form(completion), Form)
    assert_type(await client.versions.trial("support"), Trial | None)
    assert_type(client.runs.list(), AsyncListing[Run])
    assert_type(await client.runs.list().page(), Page[Run])
    assert_type(client.runs.follow("run-1"), AsyncStream[Run, Run])
    assert_type(await client.runs.follow("run-1").finish(), Run)
    async for entry in client.review.list("support"):
        assert_type(entry, Entry)


async def is_told_what_is_wrong(client: Burnish, other: AsyncBurnish) -> None:
    """Each line has a mistake: mypy reports an ignore that nothing needs."""
    client.feedback.rate("chatcmpl-1", 2)  # type: ignore[arg-type]
    client.feedback.report("chatcmpl-1", "ugly")  # type: ignore[arg-type]
    client.feedback.rate("chatcmpl-1", 1, coment="Good.")  # type: ignore[call-arg]
    client.chat.create("support", "Hi!", temprature=0.5)  # type: ignore[call-arg]
    client.review.decide("fb-1", "accepted")  # type: ignore[arg-type]
    await client.assistants.list()  # type: ignore[misc]
    len(other.assistants.list())  # type: ignore[arg-type]
