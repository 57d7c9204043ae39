"""Which versions may not go live, and what to do instead: tainted ones, unproven ones, another base's on trial, and
any while releases are frozen.

Leaves out the moves themselves (releases.py).
"""

from sqlmodel import Session, select

from feedback import assistants, evaluations
from feedback.errors import InvalidInput
from feedback.models import AdapterVersion, Assistant, Evaluation


def refuse_unproven(
    session: Session,
    assistant: Assistant,
    version: AdapterVersion,
    evaluation: Evaluation | None,
    serving: AdapterVersion,
) -> None:
    if evaluations.may_serve(session, version, evaluation, serving):
        return
    found = str(evaluation.verdict) if evaluation else "never evaluated"
    if evaluation is not None and evaluation.baseline_id != serving.id:
        found += f" against @{session.get_one(AdapterVersion, evaluation.baseline_id).number}"
    label = f"{assistant.name}@{version.number}"
    raise InvalidInput(
        f"{label} was not found better than @{serving.number}, which serves ({found}): read why "
        f'(`burnish adapters show {label}`), then promote it with `--force` (over HTTP `"force": true`) '
        "if you mean it.",
        code="verdict_not_promote",
    )


def refuse_tainted(session: Session, assistant: Assistant, version_id: int, otherwise: str = "") -> None:
    """Locks the version until the transaction ends: an erasure taints it before that, and is seen, or after."""
    version = session.get_one(AdapterVersion, version_id, populate_existing=True, with_for_update={"read": True})
    if version.tainted_at is None:
        return
    name = assistant.name
    bare = session.exec(
        select(AdapterVersion.base_model).where(AdapterVersion.assistant_id == assistant.id, AdapterVersion.number == 0)
    ).one()
    or_bare = f", or {name}@0, the bare base" if bare == version.base_model else ""
    remedies = [f"take a version from after that (`burnish train {name}` makes one){or_bare}"]
    raise InvalidInput(
        f"{name}@{version.number} is tainted and can't go live: {version.tainted_reason} "
        f"Instead {'; '.join([*remedies, *([otherwise] if otherwise else [])])}.",
        code="version_tainted",
    )


def refuse_to_move(assistant: Assistant, version: AdapterVersion, current: AdapterVersion) -> None:
    """Services have to be started with the other base: nobody should find that out afterwards."""
    if version.base_model != current.base_model:
        raise InvalidInput(
            f"{assistant.name}@{version.number} is for {version.base_model}, what serves for {current.base_model}: it "
            "can't be tried beside that, nor served before a service runs that base. If you mean it, promote it with "
            '`--at-once` (over HTTP `"at_once": true`), then start the service with BURNISH_BASE_MODEL set to it.',
            code="other_base_model",
        )


def refuse_frozen(assistant: Assistant) -> None:
    if assistants.policies(assistant).release.frozen:
        raise InvalidInput(
            f"Releases of '{assistant.name}' are frozen: `burnish assistant set {assistant.name} release.frozen=false` "
            "first.",
            code="releases_frozen",
        )
