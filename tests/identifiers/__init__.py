"""Valid identifiers as the standards define them, set into sentences: what the privacy detectors are measured on.

Nothing here comes from the detectors or from the library that they check digits with. All are made up: random digits
and letters in the forms that numbering plans, registries and vendors publish. `python -m identifiers` (from `tests`)
prints the recall of each kind.
"""

from collections.abc import Callable
from random import Random

from identifiers import addresses, internet, numbers, phones, secrets
from identifiers.sentences import Made, Sentence, set_in_sentence

MAKERS: dict[str, Callable[[Random], Made]] = {
    "email": internet.email,
    "phone": phones.phone,
    "resident_id": numbers.resident_id,
    "company_id": numbers.company_id,
    "ssn": numbers.ssn,
    "card": numbers.card,
    "iban": numbers.iban,
    "ip": internet.ip,
    "secret": secrets.secret,
    "address": addresses.address,
}


def make(kind: str, random: Random) -> Sentence:
    return set_in_sentence(MAKERS[kind](random), kind, random)
