"""`burnish lineage`: where a version comes from, and what became of a message or a piece of feedback."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.tree import Tree as Branch

from feedback import lineage_nodes as nodes
from feedback.cli.app import AsJson, console, harmless, open_all, print_json
from feedback.lineage_tree import MOST_FEEDBACK, trace


def register(app: typer.Typer) -> None:
    app.command()(lineage)


def lineage(
    reference: Annotated[
        list[str],
        typer.Argument(
            help="support@5, dataset support v3, run-… (run-… sft-…: a row of it), chatcmpl-… (chatcmpl-…:1) or fb-…"
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, max=MOST_FEEDBACK, help="Most pieces of feedback to show.")] = 20,
    after: Annotated[str | None, typer.Option(help="Go on after this piece of feedback.")] = None,
    as_json: AsJson = False,
) -> None:
    """Walk from feedback to the versions that learned it, or from a version to the feedback behind it."""
    _, database = open_all()
    with database.read() as session:
        found = trace(session, " ".join(reference), after=after, limit=limit)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        console.print(_tree(found))


def _tree(found: nodes.Tree) -> Branch:
    match found:
        case nodes.FeedbackTree():
            root = _feedback(found.feedback)
            root.children.insert(0, _message(found.message))
        case nodes.MessageTree():
            root = _message(found.message)
            root.add(f"learned by {_listed(found.learned_by)}; judged {_listed(found.judged)}")
            said = root.add(f"feedback on it: {found.feedback_total}")
            said.children += map(_feedback, found.feedback)
            _tell_rest(said, found.feedback_total > len(found.feedback), [one.id for one in found.feedback])
        case nodes.DatasetTree():
            root = _dataset(found.dataset)
            root.children.append(_sources(found.sources))
        case nodes.RunTree():
            root = _learned(found)
        case nodes.VersionTree():
            root = _version(found.version)
            root.add(f"guidelines {found.guidelines or '–'}")
            if found.learned is not None:
                run = Branch(_run_line(found.learned.run))
                run.children += _dataset_and_sources(found.learned)
                root.children.append(run)
    return root


def _feedback(node: nodes.FeedbackNode) -> Branch:
    why = f", {node.status_reason}" if node.status_reason else ""
    by = f" by {node.contributor}" if node.contributor else ", anonymous"
    branch = Branch(harmless(f"{node.kind} {node.id}{by}, {node.given:%Y-%m-%d %H:%M} ({node.status}{why})"))
    branch.children += map(_dataset, node.datasets)
    if not node.datasets:
        branch.add("in no dataset")
    return branch


def _message(node: nodes.MessageNode) -> Branch:
    name = f"{node.completion_id}:{node.choice}" if node.completion_id else "an imported message"
    branch = Branch(harmless(f"{name}, {node.at:%Y-%m-%d %H:%M} ({node.status})"))
    branch.add(
        harmless(f"written by {node.written_by or 'nobody knows whom'}, under guidelines {node.guidelines or '–'}")
    )
    branch.add(harmless(f"in conversation {node.conversation}{f' of {node.contributor}' if node.contributor else ''}"))
    return branch


def _dataset(node: nodes.DatasetNode) -> Branch:
    erased = f", {node.rows_erased} rows erased since" if node.rows_erased else ""
    branch = Branch(harmless(f"dataset {node.dataset} ({node.sha256[:16]}), {node.frozen:%Y-%m-%d %H:%M}{erased}"))
    for row in node.rows:
        branch.add(_row(row))
    for run in node.runs:
        branch.children.append(_run(run))
    return branch


def _row(row: nodes.RowNode) -> str:
    return harmless(f"{row.side}: row {row.id}{' (erased)' if row.erased else ''}")


def _run(node: nodes.RunNode) -> Branch:
    branch = Branch(_run_line(node))
    if node.version is not None:
        branch.children.append(_version(node.version))
    return branch


def _run_line(node: nodes.RunNode) -> str:
    return harmless(f"{node.run} ({node.status}): {node.reason}")


def _version(node: nodes.VersionNode) -> Branch:
    branch = Branch(harmless(f"{node.version} ({node.sha256[:16]}), {node.verdict or 'not judged'}"))
    if node.tainted_at is not None:
        branch.add(f"[red]tainted {node.tainted_at:%Y-%m-%d %H:%M}[/red]: {harmless(node.tainted_reason or '')}")
    for release in node.releases:
        until = f" to {release.until:%Y-%m-%d %H:%M}" if release.until else ""
        branch.add(harmless(f"{release.state} since {release.since:%Y-%m-%d %H:%M}{until}: {release.reason}"))
    return branch


def _learned(node: nodes.RunTree) -> Branch:
    branch = _run(node.run)
    branch.children += _dataset_and_sources(node)
    return branch


def _dataset_and_sources(node: nodes.RunTree) -> Iterable[Branch]:
    if node.dataset is None or node.sources is None:
        return [Branch("no dataset")]
    others = [run for run in node.dataset.runs if run.run != node.run.run]
    branch = _dataset(node.dataset.model_copy(update={"runs": others}))
    branch.children.append(_sources(node.sources))
    return [branch]


def _sources(node: nodes.SourcesNode) -> Branch:
    people = f"{node.contributors} contributors" + (f", {node.anonymous} anonymous" if node.anonymous else "")
    branch = Branch(f"made of {node.feedback} pieces of feedback by {people}")
    for side, kinds in sorted(node.by_side.items()):
        branch.add(f"{side}: " + ", ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items())))
    shares = branch.add("largest shares")
    for share in node.largest_shares:
        shares.add(harmless(f"{share.contributor}: {share.feedback} ({share.share:.1%})"))
    for one in node.page:
        said = branch.add(harmless(f"{one.kind} {one.id} by {one.contributor or 'somebody anonymous'}"))
        for row in one.rows:
            said.add(_row(row))
    _tell_rest(branch, node.next is not None, [node.next or ""])
    return branch


def _tell_rest(branch: Branch, more: bool, shown: list[str]) -> None:
    if more:
        branch.add(f"… more: --after {shown[-1]}")


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
