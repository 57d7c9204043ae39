"""Keys: only the hash is kept, roles may what the table says, revoked keys are refused."""

import hashlib

import pytest
from sqlmodel import select

from feedback import assistants, keys
from feedback.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from feedback.models import ApiKey, AuditEntry
from feedback.states import Role
from feedback.testing import House

DEEDS = ("chat", "feedback", "review", "operate", "administer")
MAY = {
    Role.CHAT: {"chat", "feedback"},
    Role.FEEDBACK: {"feedback"},
    Role.REVIEWER: {"feedback", "review"},
    Role.OPERATOR: {"chat", "feedback", "review", "operate"},
    Role.ADMIN: set(DEEDS),
}


def create(house: House, role: Role = Role.CHAT, *only: str) -> tuple[int, str]:
    with house.database.write() as session:
        key, token = keys.create(session, "page", role, only, actor="test")
        return key.id, token


def authenticate(house: House, token: str) -> keys.Caller:
    with house.database.read() as session:
        return keys.authenticate(session, token)


def test_only_the_hash_of_a_key_is_stored(embedded: House) -> None:
    key_id, token = create(embedded)
    with embedded.database.read() as session:
        stored = session.get_one(ApiKey, key_id)
        everything = " ".join(
            str(row.model_dump()) for table in (ApiKey, AuditEntry) for row in session.exec(select(table))
        )
    assert stored.hash == hashlib.sha256(token.encode()).hexdigest()
    assert token.startswith(stored.prefix)
    assert token not in everything
    assert token[len("sk-burnish-") + 8 :] not in everything


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("deed", DEEDS)
def test_a_role_may_what_the_table_says(role: Role, deed: str) -> None:
    caller = keys.Caller(1, "page", role, None)
    if deed in MAY[role]:
        caller.require(deed)
    else:
        with pytest.raises(Forbidden, match=f"may not {deed}"):
            caller.require(deed)


def test_a_key_authenticates_until_it_is_revoked(embedded: House) -> None:
    key_id, token = create(embedded, Role.OPERATOR)
    assert authenticate(embedded, token) == keys.Caller(key_id, "page", Role.OPERATOR, None)
    for _ in range(2):
        with embedded.database.write() as session:
            keys.revoke(session, key_id, actor="test")
    with pytest.raises(Unauthenticated, match="burnish key create"):
        authenticate(embedded, token)
    with embedded.database.read() as session:
        assert len(session.exec(select(AuditEntry).where(AuditEntry.action == "key.revoke")).all()) == 1


@pytest.mark.parametrize("token", ["", "sk-burnish-", "sk-burnish-" + "x" * 43])
def test_an_unknown_key_is_refused(embedded: House, token: str) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(embedded, token)


def test_a_key_sees_the_assistants_it_lists_or_all(embedded: House) -> None:
    with embedded.database.write() as session:
        school = assistants.create(session, "school", "tiny", actor="test")
    limited, free = (authenticate(embedded, create(embedded, Role.CHAT, *only)[1]) for only in (["school"], []))
    assert [limited.sees(one) for one in (school, embedded.assistant)] == [True, False]
    assert [free.sees(one) for one in (school, embedded.assistant)] == [True, True]


def test_a_key_for_an_unknown_assistant_or_without_a_name_is_not_made(embedded: House) -> None:
    with pytest.raises(NotFound):
        create(embedded, Role.CHAT, "nobody")
    with pytest.raises(InvalidInput), embedded.database.write() as session:
        keys.create(session, " ", Role.CHAT, actor="test")
    with embedded.database.read() as session:
        assert [key.name for key in keys.list_keys(session)] == ["test"]


def test_revoking_an_unknown_key_says_where_to_look(embedded: House) -> None:
    with pytest.raises(NotFound, match="burnish key list"), embedded.database.write() as session:
        keys.revoke(session, 99, actor="test")
