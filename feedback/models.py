"""Every table but the workers' own (workers.py). What leaves the house is none of these: the API has its read models.

Times are UTC. JSON columns hold what may widen without a migration; what is looked up or constrained is a column.
"""

import secrets
from datetime import date, datetime

from sqlalchemy import Index, UniqueConstraint, false, text
from sqlmodel import Field

from feedback.columns import (
    BIG,
    Json,
    Table,
    flag,
    index_where,
    json_column,
    json_list,
    json_or_none,
    moment,
    primary_key,
    reference,
    unique_where,
    word,
)
from feedback.states import (
    CaseOutcome,
    CaseStatus,
    Consent,
    ErasureKind,
    ErasureState,
    FeedbackKind,
    FeedbackStatus,
    MessageStatus,
    ReleaseState,
    ReviewDecision,
    Role,
    RunStatus,
    Side,
    VerdictWord,
)

# ── who ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Assistant(Table, table=True):
    """A named chat model: base model + guidelines + the release that serves. The boundary of tenancy."""

    __tablename__ = "assistant"
    id: int = primary_key()
    name: str = Field(unique=True, max_length=64)
    base_model: str
    consent: str = Field(default=Consent.OPT_OUT, max_length=16)  # states.Consent
    policies: Json = json_column()  # feedback.policies.Policies
    scheduled_since: datetime | None = moment(nullable=True)  # earlier times of training.schedule don't count
    created_at: datetime = moment()


class Guidelines(Table, table=True):
    """What an assistant is for and how it should speak; a new version for every change."""

    __tablename__ = "guidelines"
    __table_args__ = (UniqueConstraint("assistant_id", "version"),)
    id: int = primary_key()
    assistant_id: int = reference("assistant.id")
    version: int
    system_prompt: str = ""
    purpose: str = ""
    tone: str = ""
    boundaries: list[str] = json_list()
    sensitive_topics: list[str] = json_list()
    disclaimer: str = ""
    review_due: date | None = None  # when a person should read them again
    created_at: datetime = moment()


class ApiKey(Table, table=True):
    __tablename__ = "api_key"
    id: int = primary_key()
    name: str = Field(max_length=100)
    role: Role = word(Role)
    hash: str = Field(unique=True, max_length=64)  # sha256 of the key; the key itself is shown once
    prefix: str = Field(max_length=16)  # its first characters, to tell keys apart
    created_at: datetime = moment()
    revoked_at: datetime | None = moment(nullable=True)


class ApiKeyAssistant(Table, table=True):
    """The assistants a key may see. A key without a row here sees all of them."""

    __tablename__ = "api_key_assistant"
    api_key_id: int = Field(foreign_key="api_key.id", primary_key=True, sa_type=BIG)
    assistant_id: int = Field(foreign_key="assistant.id", primary_key=True, sa_type=BIG)


class Contributor(Table, table=True):
    """Whoever gave feedback, known only as an HMAC; its side of the split is fixed at first sight."""

    __tablename__ = "contributor"
    __table_args__ = (
        Index("ix_contributor_newest", "assistant_id", "created_at", "id"),
        index_where("ix_contributor_held_back", "assistant_id", "created_at", "id", where="quarantined_at IS NOT NULL"),
    )
    id: str = Field(primary_key=True, max_length=32)
    assistant_id: int = reference("assistant.id", index=False)
    side: Side = word(Side)
    created_at: datetime = moment()
    quarantined_at: datetime | None = moment(nullable=True)  # since when everything of theirs is held back
    quarantine_reason: str | None = Field(default=None, max_length=500)


# ── what was said ────────────────────────────────────────────────────────────────────────────────────────────


class Conversation(Table, table=True):
    __tablename__ = "conversation"
    __table_args__ = (
        Index(
            "uq_conversation_external_id",
            "assistant_id",
            "api_key_id",
            "external_id",
            text("coalesce(contributor_id, '')"),
            unique=True,
        ),
        Index("ix_conversation_own", "api_key_id", "contributor_id", "id"),  # for own_conversations.py
    )
    id: int = primary_key()
    assistant_id: int = reference("assistant.id")
    api_key_id: int = reference("api_key.id", index=False)
    external_id: str | None = Field(default=None, max_length=200)  # the client's metadata.conversation_id
    contributor_id: str | None = Field(default=None, index=True, max_length=32)  # whose it is, where the client said so
    ui_task: bool = Field(default=False, sa_column_kwargs={"server_default": false()})  # see conversations.Turn
    title: str | None = Field(default=None, max_length=200)  # the name that its person gave it
    created_at: datetime = moment()


class Message(Table, table=True):
    """One turn. A reply is (completion_id, choice_index); siblings share a parent."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("completion_id", "choice_index"),
        Index("ix_message_conversation_history", "conversation_id", "history_sha256"),
        Index("ix_message_release", "release_id", "created_at"),
        Index("ix_message_version", "adapter_version_id", "created_at"),
    )
    id: int = primary_key()
    conversation_id: int = reference("conversation.id")
    parent_id: int | None = reference("message.id", nullable=True)
    role: str = Field(max_length=16)
    content: str
    history_sha256: str = Field(max_length=64, index=True)  # of every (role, content) up to and including this one
    status: MessageStatus = word(MessageStatus, default=MessageStatus.COMPLETE)
    store: bool | None = None  # the client's `store`: its grant for training; None leaves it to the assistant
    created_at: datetime = moment()
    completion_id: str | None = Field(default=None, max_length=64)  # from here on: replies only
    choice_index: int = 0
    adapter_version_id: int | None = reference("adapter_version.id", nullable=True, index=False)  # None: imported
    release_id: int | None = Field(default=None, sa_type=BIG)  # the release that a share gave it to; None: by name
    guidelines_id: int | None = reference("guidelines.id", nullable=True, index=False)
    finish_reason: str | None = Field(default=None, max_length=16)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sampling: Json = json_column()
    completed_at: datetime | None = moment(nullable=True)


# ── what was thought of it ───────────────────────────────────────────────────────────────────────────────────


class Feedback(Table, table=True):
    __tablename__ = "feedback"
    __table_args__ = (
        UniqueConstraint("api_key_id", "idempotency_key"),
        Index("ix_feedback_came_in", "assistant_id", "kind", text("coalesce(imported_at, created_at)")),  # for due.py
        index_where("ix_feedback_in_review", "assistant_id", "id", where="status = 'in_review'"),
        Index("ix_feedback_cell", "assistant_id", "kind", "status", "id"),  # for review/cells.py
        index_where("ix_feedback_claimed", "assistant_id", "claimed_by", where="claimed_by IS NOT NULL"),
    )
    id: int = primary_key()
    public_id: str = Field(unique=True, max_length=40)
    assistant_id: int = reference("assistant.id")
    message_id: int = reference("message.id")
    api_key_id: int = reference("api_key.id")
    contributor_id: str | None = Field(default=None, foreign_key="contributor.id", index=True, max_length=32)
    kind: FeedbackKind = word(FeedbackKind)
    score: float | None = None  # a rating as -1 … +1; a tie as +1 (both good) or -1 (both bad)
    value: Json = json_column()  # the kind's own payload, see feedback.collect
    comment: str | None = None
    tags: list[str] = json_list()
    training: bool | None = None  # the giver's grant for training; None leaves it to the assistant
    status: FeedbackStatus = word(FeedbackStatus, default=FeedbackStatus.RECEIVED)
    status_reason: str | None = None
    slot: str | None = Field(default=None, unique=True, max_length=120)  # one current word per giver, reply and kind
    receipt_sha256: str = Field(unique=True, max_length=64)
    salt: str = Field(default_factory=lambda: secrets.token_hex(16), max_length=32)  # of the rows made of it
    idempotency_key: str | None = Field(default=None, max_length=200)
    request_sha256: str = Field(max_length=64)  # keyed; tells a repeated request from another under the same key
    wants_second_opinion: bool = flag()  # one reviewer's decision isn't enough
    claimed_by: str | None = Field(default=None, max_length=120)  # the reviewer who looks at it now
    claimed_until: datetime | None = moment(nullable=True)
    source: str | None = Field(default=None, max_length=200)  # `operator`, `import:FILE`: vouched for
    imported_at: datetime | None = moment(nullable=True)  # when it came in, where that isn't when it was said
    created_at: datetime = moment(index=True)


class ReportCase(Table, table=True):
    """What reports about a reply open: somebody has to decide. All reports about one reply are one case."""

    __tablename__ = "report_case"
    __table_args__ = (Index("ix_report_case_status", "assistant_id", "status", "id"),)
    id: int = primary_key()
    public_id: str = Field(unique=True, max_length=40)
    assistant_id: int = reference("assistant.id")
    message_id: int = reference("message.id", unique=True, index=False)
    category: str = Field(max_length=16)  # the first report's, unless a person knew better
    status: CaseStatus = word(CaseStatus, default=CaseStatus.OPEN)
    outcome: CaseOutcome | None = word(CaseOutcome, nullable=True)
    assignee: str | None = Field(default=None, max_length=120)
    answer: str | None = None  # shown to the reporters on their receipts
    notes: list[Json] = json_list()  # internal: {at, by, text}
    created_at: datetime = moment()
    resolved_at: datetime | None = moment(nullable=True)


class Review(Table, table=True):
    """A person's decision on a piece of feedback. `feedback.review` says which of them counts, if any does."""

    __tablename__ = "review"
    __table_args__ = (unique_where("uq_review_one_counts", "feedback_id", "counts"),)
    id: int = primary_key()
    feedback_id: int = reference("feedback.id")
    decision: ReviewDecision = word(ReviewDecision)
    edited: Json | None = json_or_none()  # the reviewer's words, as a correction's `value`
    note: str | None = None  # shown to the giver on the receipt
    comment: str | None = None  # for other reviewers only
    actor: str = Field(max_length=120)
    independent: bool = flag()  # given before another's decision could be seen
    final: bool = flag()  # settles it whatever others said
    counts: bool = flag()
    created_at: datetime = moment()


# ── what was learned ─────────────────────────────────────────────────────────────────────────────────────────


class DatasetVersion(Table, table=True):
    """A frozen, content-addressed set of examples; its rows lie in the folder of the run that froze it."""

    __tablename__ = "dataset_version"
    __table_args__ = (UniqueConstraint("assistant_id", "number"),)
    id: int = primary_key()
    assistant_id: int = reference("assistant.id")
    number: int
    sha256: str = Field(max_length=64, index=True)
    datasheet: Json = json_column()
    rows_erased: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    erased_at: datetime | None = moment(nullable=True)  # when rows of it were erased last
    created_at: datetime = moment()


class Example(Table, table=True):
    """One row of a dataset version; `row_id` finds it in the run folder's files."""

    __tablename__ = "example"
    __table_args__ = (UniqueConstraint("dataset_version_id", "row_id"),)
    id: int = primary_key()
    dataset_version_id: int = reference("dataset_version.id")
    row_id: str = Field(max_length=64)
    sha256: str | None = Field(default=None, max_length=64)  # of its line; None: frozen before rows had salts
    side: Side = word(Side)
    method: str = Field(max_length=8)
    erasure_id: int | None = Field(default=None, index=True, sa_type=BIG)  # the erasure that took its row


class ExampleSource(Table, table=True):
    """Lineage: the feedback an example was made of."""

    __tablename__ = "example_source"
    example_id: int = Field(foreign_key="example.id", primary_key=True, sa_type=BIG)
    feedback_id: int = Field(foreign_key="feedback.id", primary_key=True, index=True, sa_type=BIG)


class Run(Table, table=True):
    """One training. At most one is open per assistant (the unique index below)."""

    __tablename__ = "run"
    __table_args__ = (unique_where("uq_run_one_open", "assistant_id", "status IN ('queued', 'running')"),)
    id: str = Field(primary_key=True, max_length=40)
    assistant_id: int = reference("assistant.id")
    status: RunStatus = word(RunStatus, default=RunStatus.QUEUED, index=True)
    reason: str  # why it was requested, in words
    requested_by: str = Field(max_length=120)
    seed: int = 0
    priority: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # highest first, then the oldest
    search_trials: int | None = None  # of this run alone; None: as the assistant's hyperparameters say
    base_model: str | None = None  # to move to; None: the assistant's
    attempt: int = 1  # grows when one fails; a takeover goes on with the same one, but for a run without a dataset
    attempts_before: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # a retry by hand starts anew
    lease_token: str | None = Field(default=None, max_length=32)
    lease_expires_at: datetime | None = moment(nullable=True)
    not_before: datetime = moment()  # when a failed attempt may be tried again
    worker: str | None = Field(default=None, max_length=120)
    error: str | None = None
    dataset_version_id: int | None = reference("dataset_version.id", nullable=True, index=False)
    created_at: datetime = moment(index=True)
    started_at: datetime | None = moment(nullable=True)
    finished_at: datetime | None = moment(nullable=True)


class AdapterVersion(Table, table=True):
    """The immutable result of a run. `<assistant>@0` is the bare base: it has no run and no files."""

    __tablename__ = "adapter_version"
    __table_args__ = (UniqueConstraint("assistant_id", "number"),)
    id: int = primary_key()
    assistant_id: int = reference("assistant.id")
    number: int
    sha256: str = Field(max_length=64)  # of its files, or `base`
    base_model: str = Field(default="", sa_column_kwargs={"server_default": ""})  # that it is an adapter of
    run_id: str | None = Field(default=None, foreign_key="run.id", unique=True, max_length=40)
    guidelines_id: int | None = reference("guidelines.id", nullable=True, index=False)
    began_from_id: int | None = Field(default=None, sa_type=BIG)  # the version of a warm start; None: the base
    created_at: datetime = moment()
    tainted_at: datetime | None = moment(nullable=True)  # when something that it learned from, or was judged by, went
    tainted_reason: str | None = None


class Evaluation(Table, table=True):
    """A candidate held against the baseline, and the verdict."""

    __tablename__ = "evaluation"
    id: int = primary_key()
    run_id: str = Field(foreign_key="run.id", index=True, max_length=40)
    candidate_id: int = reference("adapter_version.id")
    baseline_id: int = reference("adapter_version.id", index=False)
    verdict: VerdictWord = word(VerdictWord)
    reasons: list[str] = json_list()
    statistics: Json = json_column()
    created_at: datetime = moment()


class Release(Table, table=True):
    """Which adapter version serves an assistant, since when and by whose word. One is live per assistant."""

    __tablename__ = "release"
    __table_args__ = (
        unique_where("uq_release_one_live", "assistant_id", "state = 'live'"),
        unique_where("uq_release_one_on_trial", "assistant_id", "state IN ('shadow', 'canary')"),
        unique_where("uq_release_one_holdout", "assistant_id", "state = 'holdout'"),
    )
    id: int = primary_key()
    assistant_id: int = reference("assistant.id")
    adapter_version_id: int = reference("adapter_version.id")
    state: ReleaseState = word(ReleaseState)
    traffic_percent: int = 100
    replaces_id: int | None = reference("release.id", nullable=True, index=False)  # what roll back returns to
    evaluation_id: int | None = reference("evaluation.id", nullable=True, index=False)
    actor: str = Field(max_length=120)
    reason: str
    created_at: datetime = moment()
    tried_at: datetime | None = moment(nullable=True)  # when its trial began
    stage_at: datetime | None = moment(nullable=True)  # since when it has its present state and share
    carried_evidence: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})  # of stages that are over
    live_at: datetime | None = moment(nullable=True)
    ended_at: datetime | None = moment(nullable=True)


class Erasure(Table, table=True):
    """That something was taken out for good, and how far that has got; never what it said. `public_id` is a receipt."""

    __tablename__ = "erasure"
    id: int = primary_key()
    public_id: str = Field(unique=True, max_length=40)
    assistant_id: int = reference("assistant.id")
    kind: ErasureKind = word(ErasureKind)
    subject_sha256: str = Field(max_length=64, index=True)  # what was erased, for whoever knows its name
    actor: str = Field(max_length=120)
    state: ErasureState = word(ErasureState, default=ErasureState.ROWS_GONE, index=True)
    counts: Json = json_column()  # rows by table
    created_at: datetime = moment()
    files_gone_at: datetime | None = moment(nullable=True)
    completed_at: datetime | None = moment(nullable=True)


class AuditEntry(Table, table=True):
    """Who did what, when. Never message text."""

    __tablename__ = "audit_entry"
    id: int = primary_key()
    created_at: datetime = moment(index=True)
    actor: str = Field(max_length=120)
    action: str = Field(max_length=60)
    subject: str = Field(max_length=200)
    details: Json = json_column()
    previous: str | None = Field(default=None, max_length=64)  # the signature before this one
    signature: str | None = Field(default=None, max_length=64)  # see audit.py
