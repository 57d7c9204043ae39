"""`burnish lineage`: from a version, a dataset, a run, a message or a piece of feedback to all that hangs on it.

Leaves out what is shown of each (lineage_nodes.py) and how it is printed (cli/lineage.py).
"""

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from feedback import adapters, assistants, datasets, lineage, review, runs
from feedback.conversations import get_reply
from feedback.erasure.subjects import OWN_LABEL
from feedback.errors import InvalidInput, NotFound
from feedback.lineage import Outcome, Use
from feedback.lineage_nodes import (
    DatasetNode,
    DatasetTree,
    FeedbackNode,
    FeedbackTree,
    MessageNode,
    MessageTree,
    ReleaseNode,
    RowNode,
    RunNode,
    RunTree,
    ShareNode,
    SourceNode,
    SourcesNode,
    Tree,
    VersionNode,
    VersionTree,
)
from feedback.models import (
    AdapterVersion,
    Assistant,
    Conversation,
    DatasetVersion,
    Evaluation,
    Example,
    ExampleSource,
    Feedback,
    Guidelines,
    Message,
    Release,
    Run,
)
from feedback.states import Side

MOST_FEEDBACK = 200
"""Pieces on a page."""
_DATASET = re.compile(r"(?:dataset[ :])?(?P<assistant>[a-z0-9._-]+)[ :]v(?P<number>[0-9]{1,9})")
_REPLY = re.compile(r"(?P<id>chatcmpl-[^:]+)(?::(?P<choice>[0-9]{1,9}))?")
_ROW = re.compile(r"(?P<run>run-[^ ]+) (?P<row>(?:sft|dpo|kto)-[0-9a-f]{1,40})")
_FORMS = (
    "a version (support@5), a dataset (dataset support v3), a run (run-…), a row that it trained on (run-… sft-…), a "
    "completion (chatcmpl-…, with :1 its second choice) or feedback (fb-…)"
)


def trace(
    session: Session,
    reference: str,
    *,
    assistant_ids: frozenset[int] | None = None,
    after: str | None = None,
    limit: int = 50,
) -> Tree:
    """Everything that hangs on what `reference` names. Raises NotFound, also for what `assistant_ids` leaves out."""
    limit = max(1, min(limit, MOST_FEEDBACK))
    reference = reference.strip()
    try:
        assistant, tree = _Tracer(session, assistant_ids, after, limit).trace(reference)
        if assistant_ids is None or assistant.id in assistant_ids:
            return tree
    except NotFound:
        pass
    raise NotFound(f"Nothing is known as '{reference[:100]}': name {_FORMS}.", param="id", code="reference_not_found")


class _Tracer:
    def __init__(self, session: Session, assistant_ids: frozenset[int] | None, after: str | None, limit: int) -> None:
        self._session = session
        self._after = 0 if after is None else review.get_feedback(session, after, assistant_ids).id
        self._limit = limit

    def trace(self, reference: str) -> tuple[Assistant, Tree]:
        if "@" in reference:
            assistant, version = adapters.get_version(self._session, reference)
            return assistant, self._of_version(assistant, version)
        if named := _DATASET.fullmatch(reference):
            assistant = assistants.get_assistant(self._session, named["assistant"])
            dataset = datasets.get_dataset(self._session, assistant, int(named["number"]))
            tree = DatasetTree(dataset=self._whole_dataset(assistant, dataset), sources=self._sources(dataset))
            return assistant, tree
        if row := _ROW.fullmatch(reference):
            return self._of_feedback(self._behind(runs.get_run(self._session, row["run"]), row["row"]))
        if reference.startswith("run-"):
            run = runs.get_run(self._session, reference)
            assistant = self._session.get_one(Assistant, run.assistant_id)
            return assistant, self._of_run(assistant, run)
        if reply := _REPLY.fullmatch(reference):
            message, conversation = get_reply(self._session, None, reply["id"], int(reply["choice"] or 0))
            assistant = self._session.get_one(Assistant, conversation.assistant_id)
            return assistant, self._of_message(assistant, message, conversation)
        if reference.startswith("fb-"):
            return self._of_feedback(review.get_feedback(self._session, reference))
        raise InvalidInput(f"'{reference[:100]}' names nothing: name {_FORMS}.", param="id")

    def _behind(self, run: Run, row_id: str) -> Feedback:
        """The first piece of feedback that a row was made of. Raises NotFound, also where that was erased."""
        of_row = (
            select(Feedback)
            .join(ExampleSource, col(ExampleSource.feedback_id) == col(Feedback.id))
            .join(Example, col(Example.id) == col(ExampleSource.example_id))
            .where(Example.dataset_version_id == run.dataset_version_id, Example.row_id == row_id)
            .order_by(col(Feedback.id))
        )
        found = self._session.exec(of_row.limit(1)).first()
        if found is None:
            raise NotFound(f"{run.id} has no row {row_id} whose feedback is still there.", param="id")
        return found

    # ── trees ──

    def _of_feedback(self, feedback: Feedback) -> tuple[Assistant, FeedbackTree]:
        assistant = self._session.get_one(Assistant, feedback.assistant_id)
        message = self._session.get_one(Message, feedback.message_id)
        conversation = self._session.get_one(Conversation, message.conversation_id)
        (node,) = self._feedback(assistant, [feedback])
        return assistant, FeedbackTree(feedback=node, message=self._message(assistant, message, conversation))

    def _of_version(self, assistant: Assistant, version: AdapterVersion) -> VersionTree:
        run = self._session.get(Run, version.run_id) if version.run_id else None
        guidelines = self._guidelines(version.guidelines_id)
        if run is None:
            releases = lineage.releases_of(self._session, [version.id])[version.id]
            node = _version(assistant, version, None, releases)
            return VersionTree(version=node, guidelines=guidelines, learned=None)
        learned = self._of_run(assistant, run)
        assert learned.run.version is not None
        return VersionTree(version=learned.run.version, guidelines=guidelines, learned=learned)

    def _of_run(self, assistant: Assistant, run: Run) -> RunTree:
        if run.dataset_version_id is None:
            return RunTree(run=_run(assistant, Outcome(run)), dataset=None, sources=None)
        dataset = self._session.get_one(DatasetVersion, run.dataset_version_id)
        whole = self._whole_dataset(assistant, dataset)
        return RunTree(
            run=next(node for node in whole.runs if node.run == run.id), dataset=whole, sources=self._sources(dataset)
        )

    def _of_message(self, assistant: Assistant, message: Message, conversation: Conversation) -> MessageTree:
        about = select(Feedback).where(Feedback.message_id == message.id, Feedback.id > self._after)
        total = select(func.count()).select_from(Feedback).where(Feedback.message_id == message.id)
        said = self._session.exec(about.order_by(col(Feedback.id)).limit(self._limit)).all()
        nodes = self._feedback(assistant, said)
        return MessageTree(
            message=self._message(assistant, message, conversation),
            learned_by=_versions_in(nodes, trained=True),
            judged=_versions_in(nodes, trained=False),
            feedback_total=self._session.exec(total).one(),
            feedback=nodes,
        )

    # ── nodes ──

    def _message(self, assistant: Assistant, message: Message, conversation: Conversation) -> MessageNode:
        writer = self._session.get(AdapterVersion, message.adapter_version_id) if message.adapter_version_id else None
        return MessageNode(
            completion_id=message.completion_id,
            choice=message.choice_index,
            conversation=conversation.external_id or f"{OWN_LABEL}{conversation.id}",
            contributor=conversation.contributor_id,
            written_by=f"{assistant.name}@{writer.number}" if writer else None,
            guidelines=self._guidelines(message.guidelines_id),
            status=message.status,
            at=message.created_at,
        )

    def _feedback(self, assistant: Assistant, said: Sequence[Feedback]) -> list[FeedbackNode]:
        uses = lineage.uses_of(self._session, [one.id for one in said])
        outcomes = lineage.outcomes_of(self._session, {use.dataset.id for rows in uses.values() for use in rows})
        nodes = []
        for one in said:
            by_dataset: dict[int, list[Use]] = {}
            for use in uses[one.id]:
                by_dataset.setdefault(use.dataset.id, []).append(use)
            nodes.append(
                FeedbackNode(
                    id=one.public_id,
                    kind=one.kind,
                    status=one.status,
                    status_reason=one.status_reason,
                    contributor=one.contributor_id,
                    source=one.source,
                    given=one.created_at,
                    datasets=[
                        _dataset(assistant, rows[0].dataset, rows, outcomes[dataset_id])
                        for dataset_id, rows in by_dataset.items()
                    ],
                )
            )
        return nodes

    def _whole_dataset(self, assistant: Assistant, dataset: DatasetVersion) -> DatasetNode:
        return _dataset(assistant, dataset, [], lineage.outcomes_of(self._session, [dataset.id])[dataset.id])

    def _sources(self, dataset: DatasetVersion) -> SourcesNode:
        found = lineage.sources_of(self._session, dataset.id)
        page = lineage.page_of(self._session, dataset.id, after=self._after, limit=self._limit + 1)
        shown = page[: self._limit]
        return SourcesNode(
            feedback=found.feedback,
            by_side=found.by_side,
            contributors=found.contributors,
            anonymous=found.anonymous,
            largest_shares=[
                ShareNode(contributor=person, feedback=count, share=round(count / found.feedback, 4))
                for person, count in found.largest
            ],
            page=[
                SourceNode(
                    id=one.public_id,
                    kind=one.kind,
                    contributor=one.contributor_id,
                    given=one.created_at,
                    rows=_rows(uses),
                )
                for one, uses in shown
            ],
            next=shown[-1][0].public_id if len(page) > len(shown) else None,
        )

    def _guidelines(self, guidelines_id: int | None) -> int | None:
        return self._session.get_one(Guidelines, guidelines_id).version if guidelines_id else None


def _dataset(
    assistant: Assistant, dataset: DatasetVersion, rows: Iterable[Use], outcomes: Iterable[Outcome]
) -> DatasetNode:
    return DatasetNode(
        dataset=f"{assistant.name} v{dataset.number}",
        sha256=dataset.sha256,
        frozen=dataset.created_at,
        rows_erased=dataset.rows_erased,
        rows=_rows(rows),
        runs=[_run(assistant, outcome) for outcome in outcomes],
    )


def _rows(uses: Iterable[Use]) -> list[RowNode]:
    return [RowNode(id=use.row_id, side=use.side, erased=use.erased) for use in uses]


def _run(assistant: Assistant, outcome: Outcome) -> RunNode:
    version = outcome.version
    return RunNode(
        run=outcome.run.id,
        status=outcome.run.status,
        reason=outcome.run.reason,
        requested=outcome.run.created_at,
        version=_version(assistant, version, outcome.evaluation, outcome.releases) if version else None,
    )


def _version(
    assistant: Assistant, version: AdapterVersion, evaluation: Evaluation | None, releases: Iterable[Release]
) -> VersionNode:
    return VersionNode(
        version=f"{assistant.name}@{version.number}",
        sha256=version.sha256,
        made=version.created_at,
        tainted_at=version.tainted_at,
        tainted_reason=version.tainted_reason,
        verdict=evaluation.verdict if evaluation else None,
        releases=[
            ReleaseNode(
                state=one.state,
                traffic_percent=one.traffic_percent,
                reason=one.reason,
                since=one.live_at or one.created_at,
                until=one.ended_at,
            )
            for one in releases
        ],
    )


def _versions_in(nodes: Iterable[FeedbackNode], *, trained: bool) -> list[str]:
    """The versions that trained on any of these, or were judged by them (early stopping included)."""
    found = {
        run.version.version: None
        for node in nodes
        for dataset in node.datasets
        if any((row.side == Side.TRAIN) == trained for row in dataset.rows)
        for run in dataset.runs
        if run.version is not None
    }
    return list(found)
