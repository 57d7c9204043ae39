"""Every state a thing can be in, with its meaning beside it. Transitions live in one module each."""

from enum import StrEnum


class Role(StrEnum):
    CHAT = "chat"  # chats, and gives feedback on what it chatted
    FEEDBACK = "feedback"  # only gives feedback, in no name but the chat's: safe to put into a page
    REVIEWER = "reviewer"  # reads feedback and decides on it
    OPERATOR = "operator"  # everything above, and runs, promotes, rolls back
    ADMIN = "admin"  # everything above; assistants and keys over HTTP will be for it alone


class Consent(StrEnum):
    OPT_OUT = "opt_out"  # what people say may be learned from unless they refused
    OPT_IN = "opt_in"  # only if they granted it


class MessageStatus(StrEnum):
    WRITING = "writing"  # committed before its first chunk; tokens are still coming
    COMPLETE = "complete"  # all there
    STOPPED = "stopped"  # the client went away; the text is what had been written until then
    FAILED = "failed"  # the engine failed or the service died in mid-reply


class FeedbackKind(StrEnum):
    RATING = "rating"  # thumb -1/+1, or 1 to 5 stars
    COMMENT = "comment"  # free words about the reply
    CORRECTION = "correction"  # what the reply should have been
    PREFERENCE = "preference"  # this reply rather than a sibling, or both alike
    REPORT = "report"  # abuse, bias, privacy, wrong, other; opens a case, never trains by itself
    SURVEY = "survey"  # answers to the assistant's questions about a conversation; never trains


LEARNABLE = (FeedbackKind.CORRECTION, FeedbackKind.PREFERENCE, FeedbackKind.RATING)


class FeedbackStatus(StrEnum):
    RECEIVED = "received"  # stored; will be looked at when the next dataset is made
    IN_REVIEW = "in_review"  # a person looks at it first; `status_reason` says why
    DECLINED = "declined"  # a reviewer or the curation decided not to learn from it; `status_reason` says why
    REPLACED = "replaced"  # its giver said something newer about the same thing


class CaseStatus(StrEnum):
    OPEN = "open"  # nobody looks into it yet, or somebody should again
    INVESTIGATING = "investigating"  # its assignee looks into it
    RESOLVED = "resolved"  # decided; `outcome` says how, `answer` is what the reporters are told


class CaseOutcome(StrEnum):
    UPHELD = "upheld"  # the report was right
    DISMISSED = "dismissed"  # there is nothing wrong with the reply


class ReviewDecision(StrEnum):
    APPROVED = "approved"  # may be learned from; of a report: it is right
    EDITED = "edited"  # may be learned from, in the reviewer's words; corrections only
    REJECTED = "rejected"  # must not be learned from; of a report: there is nothing to it


class Side(StrEnum):
    TRAIN = "train"  # what the model learns from
    DEV = "dev"  # what early stopping looks at
    GATE = "gate"  # what judges the candidate; never trained on
    SEALED = "sealed"  # kept from every run, for audits


class RunStatus(StrEnum):
    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker holds its lease
    SUCCEEDED = "succeeded"  # trained, judged, registered; the verdict says whether it was any good
    FAILED = "failed"  # three attempts failed, or there was nothing to learn from
    CANCELLED = "cancelled"  # an operator stopped it


OPEN_RUNS = (RunStatus.QUEUED, RunStatus.RUNNING)


class JobStatus(StrEnum):
    """A fine-tuning job's, until it has a run, whose status is then the job's."""

    VALIDATING_FILES = "validating_files"  # a worker will read the files, or does
    QUEUED = "queued"  # the files are good; waits for its turn behind another run of its assistant
    FAILED = "failed"  # a file is no good; `error` says why
    CANCELLED = "cancelled"  # an operator stopped it before it had a run


class VerdictWord(StrEnum):
    PROMOTE = "PROMOTE"  # better where it counts, and no guard got worse
    REJECT = "REJECT"  # worse, or not better by anything worthwhile
    INCONCLUSIVE = "INCONCLUSIVE"  # too little held-out data to tell
    BLOCKED = "BLOCKED"  # a guard failed, whatever was gained


class GuardOutcome(StrEnum):
    PASSED = "passed"  # a fall by the margin or more is ruled out
    FAILED = "failed"  # it fell beyond chance, and a fall by the margin isn't ruled out: BLOCKED
    NOT_MEASURABLE = "not measurable"  # so few items, or this model, can't tell; blocks where the policy requires it


class ReleaseState(StrEnum):
    PROPOSED = "proposed"  # judged PROMOTE; waits for an operator's word
    SHADOW = "shadow"  # answers beside the live version; nobody is shown it
    CANARY = "canary"  # serves a share of the conversations
    LIVE = "live"  # serves the assistant; one at a time
    HOLDOUT = "holdout"  # was live before, and keeps a small share of the conversations, to be compared with
    RETIRED = "retired"  # served once
    DECLINED = "declined"  # proposed, and overtaken
    VETOED = "vetoed"  # turned down by a person, or taken back from its trial: it needs force to be promoted again


ON_TRIAL = (ReleaseState.SHADOW, ReleaseState.CANARY)


class ErasureKind(StrEnum):
    CONTRIBUTOR = "contributor"  # everything of one person
    CONVERSATION = "conversation"  # a conversation, and what was said about it
    FEEDBACK = "feedback"  # a piece of feedback, by an operator or taken back by its giver
    RETENTION = "retention"  # conversations that were older than the assistant keeps them
    FILE = "file"  # the rows that fine-tuning jobs made of a file, which its owner deleted


LEARNED_ALL_THE_SAME = (ErasureKind.RETENTION, ErasureKind.FILE)
"""Nobody asked for these to be forgotten: versions that learned from them stay as they are."""


class ErasureState(StrEnum):
    ROWS_GONE = "rows_gone"  # in no table any more; the run folders' files are still to be rewritten
    FILES_GONE = "files_gone"  # nor in a file of the data folder; the database may hold what it has deleted
    COMPLETE = "complete"  # nor in the database's log and free space, as far as docs/erasure.md says
