"""Resident IDs (GB 11643), social security numbers (SSA), company codes (GB 32100),
cards (ISO/IEC 7812), bank accounts (ISO 13616).
"""

from datetime import date, timedelta
from random import Random

from identifiers.sentences import Made

# GB/T 2260: some of the counties, at least one a province
COUNTIES = """
110101 110105 110108 120103 130102 130107 130633 140105 150102 210102 210726 211003 220104 220802 230102 230708 310101
310115 320102 320583 320924 330106 330327 330481 340104 341225 350203 350524 350681 360102 361128 370202 371525 410105
411329 411724 420106 422801 430104 430981 433127 440305 441781 441900 445281 450102 451229 460106 460202 460400 500103
500242 510107 511123 513436 520103 522301 522730 530102 530925 533421 540102 542621 610104 610926 612401 620102 623027
630103 632822 640104 650102 652923 654321 659001 710000 810000 820000 830000
""".split()  # noqa: SIM905 # a list of so many would fill the page


def resident_id(random: Random) -> Made:
    born = date(1930, 1, 1) + timedelta(days=random.randrange(34_000))
    number = f"{random.choice(COUNTIES)}{born:%Y%m%d}{random.randrange(1000):03}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999, table 1
    number += "10X98765432"[sum(int(digit) * weight for digit, weight in zip(number, weights, strict=True)) % 11]
    form = random.random()
    if form < 0.1:
        number = number.lower()
    elif form < 0.3:
        number = grouped(number, (6, 8, 4), random.choice(" -"))
    elif form < 0.35:
        number = grouped(number, (3, 3, 4, 4, 4), random.choice(" -"))
    return Made(
        number, random.choice(("{}", "{}", "{}", "身份证{}", "ID：{}", "身份证号码为{}", "证件号{}，", "id={}&"))
    )


# GB 32100-2015, table 2; businesses most of the time
DEPARTMENTS = (*("91",) * 12, *("92",) * 6, "93", "11", "12", "13", "19", "29", "31", "34", "35", "41", "51", "52",
               "53", "59", "61", "71", "72", "81", "A1", "N1", "N2", "N3", "Y1")  # fmt: skip


def company_id(random: Random) -> Made:
    """Department, kind, county, organisation code with its own check digit (GB 11714), check digit modulo 31."""
    signs = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    department = random.choice(DEPARTMENTS)
    if random.random() < 0.5:  # registered before 2015
        organisation = "".join(random.choices("0123456789", k=8))
    else:
        organisation = "MA" + "".join(random.choices(signs, k=6))
    body = [(int(sign, 36), weight) for sign, weight in zip(organisation, (3, 7, 9, 10, 5, 8, 4, 2), strict=True)]
    organisation += "0123456789X0"[(11 - sum(value * weight for value, weight in body) % 11)]
    number = department + random.choice((*COUNTIES, "100000")) + organisation
    total = sum(signs.index(sign) * pow(3, place, 31) for place, sign in enumerate(number))
    number += signs[-total % 31]
    form = random.random()
    if form < 0.05:
        number = number.lower()
    elif form < 0.15:
        number = grouped(number, random.choice(((2, 6, 9, 1), (4, 4, 4, 4, 2))), random.choice(" -"))
    return Made(number)


def ssn(random: Random) -> Made:
    """Social Security Administration: any area but 000, 666 and those from 900, no group of zeros."""
    area = random.choice([area for area in range(1, 900) if area != 666])
    digits = f"{area:03}-{random.randint(1, 99):02}-{random.randint(1, 9999):04}"
    if random.random() < 0.1:
        return Made(digits.replace("-", " "), random.choice(("SSN: {}", "my social security number is {}", "ssn {}")))
    return Made(
        digits, random.choice(("{}", "{}", "SSN: {}", "SSN {}", "social security number {}", "his social is {}"))
    )


# ISO/IEC 7812 issuer ranges: first digits, length, how the digits are printed
CARDS = (
    ("4", 16, (4, 4, 4, 4)), ("4", 16, (4, 4, 4, 4)), ("4", 13, (4, 3, 3, 3)), ("4", 19, (4, 4, 4, 4, 3)),
    ("51", 16, (4, 4, 4, 4)), ("53", 16, (4, 4, 4, 4)), ("55", 16, (4, 4, 4, 4)), ("2221", 16, (4, 4, 4, 4)),
    ("2720", 16, (4, 4, 4, 4)), ("34", 15, (4, 6, 5)), ("37", 15, (4, 6, 5)), ("36", 14, (4, 6, 4)),
    ("300", 14, (4, 6, 4)), ("38", 14, (4, 6, 4)), ("6011", 16, (4, 4, 4, 4)), ("644", 16, (4, 4, 4, 4)),
    ("65", 16, (4, 4, 4, 4)), ("3528", 16, (4, 4, 4, 4)), ("3589", 16, (4, 4, 4, 4)), ("62", 16, (4, 4, 4, 4)),
    ("622202", 19, (4, 4, 4, 4, 3)), ("621700", 19, (6, 13)), ("6228", 19, (4, 4, 4, 4, 3)), ("81", 16, (4, 4, 4, 4)),
    ("6759", 16, (4, 4, 4, 4)), ("5018", 18, (4, 4, 4, 4, 2)), ("2200", 16, (4, 4, 4, 4)), ("9792", 16, (4, 4, 4, 4)),
    ("6521", 16, (4, 4, 4, 4)), ("955880", 19, (4, 4, 4, 4, 3)), ("623052", 19, (6, 13)), ("6304", 17, (4, 4, 4, 5)),
    ("6761", 19, (4, 4, 4, 4, 3)), ("3096", 16, (4, 4, 4, 4)), ("39", 14, (4, 6, 4)),
    ("1800", 15, (4, 4, 4, 3)), ("2131", 15, (4, 4, 4, 3)),
)  # fmt: skip


def card(random: Random) -> Made:
    first, length, groups = random.choice(CARDS)
    number = first + "".join(random.choices("0123456789", k=length - len(first) - 1))
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(number))]
    number += str(-sum(value // 10 + value % 10 for value in doubled) % 10)  # ISO/IEC 7812-1, annex B
    form = random.random()
    written = number if form < 0.4 else grouped(number, groups, " " if form < 0.75 else "-")
    return Made(written, random.choice(("{}", "{}", "{}", "卡号{}", "card:{}", "{} exp 09/27", "{}, 09/27, 123")))


# The IBAN registry's structures of the part after the check digits: n digits, a capitals, c either
ACCOUNTS = dict(pair.split(":") for pair in """
AD:8n12c AE:19n AL:8n16c AT:16n AZ:4a20c BA:16n BE:12n BG:4a6n8c BH:4a14c BI:23n BR:23n1a1c BY:4c4n16c CH:5n12c CR:18n
CY:8n16c CZ:20n DE:18n DJ:23n DK:14n DO:4c20n EE:16n EG:25n ES:20n FI:14n FK:2a12n FO:14n FR:10n11c2n GB:4a14n
GE:2a16n GI:4a15c GL:14n GR:7n16c GT:4c20c HR:17n HU:24n IE:4a14n IL:19n IQ:4a15n IS:22n IT:1a10n12c JO:4a4n18c
KW:4a22c KZ:3n13c LB:4n20c LC:4a24c LI:5n12c LT:16n LU:3n13c LV:4a13c LY:21n MC:10n11c2n MD:2c18c ME:18n MK:3n10c2n
MN:16n MR:23n MT:4a5n18c MU:4a19n3a NI:4a20n NL:4a10n NO:11n OM:3n16c PK:4a16c PL:24n PS:4a21c PT:21n QA:4a21c
RO:4a16c RS:18n RU:14n15c SA:2n18c SC:4a20n3a SD:14n SE:20n SI:15n SK:20n SM:1a10n12c SO:19n ST:21n TL:19n TN:20n
TR:5n1n16c UA:6n19c VA:3n15n VG:4a16n XK:16n
""".split())  # fmt: skip # noqa: SIM905


def iban(random: Random) -> Made:
    country = random.choice((*ACCOUNTS, *("DE", "FR", "GB", "ES", "IT", "NL", "PL") * 4))
    body = ""
    count = ""
    for sign in ACCOUNTS[country]:
        if sign.isdigit():
            count += sign
            continue
        # where a letter may stand, most banks print digits
        pool = {
            "n": "0123456789",
            "a": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            "c": "0123456789" * 4 + "ABCDEFGHJKLMNPQRSTUVWXYZ",
        }
        body += "".join(random.choices(pool[sign], k=int(count)))
        count = ""
    remainder = int("".join(str(int(sign, 36)) for sign in body + country + "00")) % 97
    number = f"{country}{98 - remainder:02}{body}"
    form = random.random()
    if form < 0.55:
        number = " ".join(number[place : place + 4] for place in range(0, len(number), 4))
    elif form < 0.6:
        number = "-".join(number[place : place + 4] for place in range(0, len(number), 4))
    elif form < 0.65:
        number = number.lower()
    return Made(
        number, random.choice(("{}", "{}", "{}", "IBAN {}", "IBAN: {}", "账号{}", "{} BIC COBADEFFXXX", "{}, 2 EUR"))
    )


def grouped(number: str, groups: tuple[int, ...], separator: str) -> str:
    """
    >>> grouped("1234567", (3, 4), "-")
    '123-4567'
    """
    pieces = []
    for length in groups:
        pieces.append(number[:length])
        number = number[length:]
    assert not number, groups
    return separator.join(pieces)
