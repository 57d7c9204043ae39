"""`burnish key assistant`: who may do what, and what the assistants are."""

from typing import Annotated

import typer

from feedback import assistants, guidelines, keys, releases
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_json, print_rows
from feedback.errors import InvalidInput
from feedback.policy_changes import parse_changes
from feedback.states import Consent, Role

key_app = typer.Typer(help="API keys: make, list, revoke.", no_args_is_help=True)
assistant_app = typer.Typer(help="Assistants: make, list, change.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(key_app, name="key")
    app.add_typer(assistant_app, name="assistant")


@key_app.command("create")
def key_create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.CHAT,
    assistant: Annotated[list[str] | None, typer.Option(help="Only this assistant; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its text is shown this once."""
    _, database = open_all()
    with database.write() as session:
        key, token = keys.create(session, name, role, assistant or (), actor=ACTOR)
    print_fields({"id": key.id, "name": key.name, "role": key.role.value, "key": token}, as_json)


@key_app.command("list")
def key_list(as_json: AsJson = False) -> None:
    """All keys, without their texts."""
    _, database = open_all()
    with database.read() as session:
        rows = [
            {"id": key.id, "name": key.name, "role": key.role.value, "begins": key.prefix, "revoked": key.revoked_at}
            for key in keys.list_keys(session)
        ]
    print_rows(rows, as_json, empty="None: `burnish key create NAME --role operator` makes one.")


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[int, typer.Argument(max=2**31 - 1, help="The key's number.")], as_json: AsJson = False
) -> None:
    """Make a key useless at once."""
    _, database = open_all()
    with database.write() as session:
        key = keys.revoke(session, key_id, actor=ACTOR)
    print_fields({"id": key.id, "name": key.name, "revoked": key.revoked_at}, as_json)


@assistant_app.command("create")
def assistant_create(
    name: AssistantName,
    system_prompt: Annotated[str, typer.Option(help="What every conversation begins with.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make an assistant on this deployment's base model."""
    settings, database = open_all()
    with database.write() as session:
        made = assistants.create(session, name, settings.base_model, system_prompt=system_prompt, actor=ACTOR)
    print_fields({"assistant": made.name, "base_model": made.base_model}, as_json)


@assistant_app.command("list")
def assistant_list(as_json: AsJson = False) -> None:
    """All assistants."""
    _, database = open_all()
    with database.read() as session:
        rows = [
            {
                "assistant": one.name,
                "base_model": one.base_model,
                "consent": one.consent,
                "promotion": assistants.policies(one).release.promotion,
                "system_prompt": assistants.current_guidelines(session, one).system_prompt,
            }
            for one in assistants.list_assistants(session)
        ]
    print_rows(rows, as_json, empty="None.")


@assistant_app.command("show")
def assistant_show(name: AssistantName, as_json: AsJson = False) -> None:
    """An assistant: what serves, its system prompt, and every policy with what it means."""
    _, database = open_all()
    with database.read() as session:
        assistant = assistants.get_assistant(session, name)
        fields = {
            "assistant": name,
            "live": f"{name}@{releases.live(session, assistant).version.number}",
            "base_model": assistant.base_model,
            "consent": assistant.consent,
            "system_prompt": assistants.current_guidelines(session, assistant).system_prompt,
        }
        policies = assistants.policies(assistant)
    if as_json:
        print_json(fields | policies.model_dump())
        return
    print_fields(fields, as_json=False)
    print_rows(
        [
            {"policy": f"{section}.{field}", "value": getattr(values, field), "what it means": about.description}
            for section, values in policies
            for field, about in type(values).model_fields.items()
        ],
        as_json=False,
        empty="",
    )


@assistant_app.command("set")
def assistant_set(
    name: AssistantName,
    policy: Annotated[list[str] | None, typer.Argument(help="section.name=value, e.g. release.promotion=auto")] = None,
    system_prompt: Annotated[str | None, typer.Option(help="The guidelines' system prompt; a new version.")] = None,
    consent: Annotated[Consent | None, typer.Option(help="What silence means when data is gathered.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change policies, the system prompt or consent; `--json` prints the policies then."""
    if not policy and system_prompt is None and consent is None:
        raise InvalidInput(
            "Say what to change, such as release.promotion=auto; `burnish assistant show` has all names."
        )
    _, database = open_all()
    with database.write() as session:
        assistant = assistants.get_assistant(session, name)
        changed = assistants.set_policies(session, assistant, parse_changes(policy or []), actor=ACTOR)
        if system_prompt is not None:
            current = assistants.current_guidelines(session, assistant)
            draft = guidelines.draft_of(current).model_copy(update={"system_prompt": system_prompt})
            guidelines.revise(session, assistant, draft, actor=ACTOR, made_from=current.version)
        if consent is not None:
            assistants.set_consent(session, assistant, consent, actor=ACTOR)
    if as_json:
        print_json({"assistant": name, "consent": assistant.consent, **changed.model_dump()})
    else:
        print(f"{name} is changed: `burnish assistant show {name}` shows all of it.")
