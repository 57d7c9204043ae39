"""What the privacy detectors find and what they leave alone; the generators in tests/identifiers know the standards."""

import pickle
import re
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identifiers import MAKERS, make
from identifiers.measure import false_alarms, lines_of, missed
from real_data import real_data_or_skip

from feedback.identifiers.find import Kind, find


def found(text: str) -> list[tuple[str, str]]:
    return [(one.kind.value, text[one.start : one.end]) for one in find(text)]


# ── how many of the valid ones ───────────────────────────────────────────────────────────────────────────────

VALID = 10_000


@pytest.mark.parametrize("kind", MAKERS)
def test_99_of_100_are_found(kind: str) -> None:
    out = list(missed(find, kind, VALID // len(MAKERS) + 1))
    assert len(out) <= VALID / len(MAKERS) / 100, [sentence.text for sentence in out]


def test_hardly_a_line_of_an_encyclopedia_is_taken_for_private() -> None:
    lines = lines_of(real_data_or_skip("wikitext2_valid.txt"))
    alarms = false_alarms(find, lines)
    assert len(lines) > 2000
    assert len(alarms) <= len(lines) / 1000, alarms


# ── what is found ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to ada.lovelace+news@mail.example.co.uk.", "email", "ada.lovelace+news@mail.example.co.uk"),
        ("发到zhang_san@example.com吧", "email", "zhang_san@example.com"),
        ("jürgen@müller.de", "email", "jürgen@müller.de"),
        ("иван@пример.рф", "email", "иван@пример.рф"),
        ("“用户@例子.公司”", "email", "用户@例子.公司"),
        ("https://example.com/?email=ada@example.com&a=b", "email", "ada@example.com"),
        ("mailto:ada@example.com", "email", "ada@example.com"),
        ("'ada@example.com'", "email", "ada@example.com"),
        ("ada (at) example (dot) com", "email", "ada (at) example (dot) com"),
        ("mail me: ada at example dot com", "email", "ada at example dot com"),
        ("ada.lovelace @ example.com", "email", "ada.lovelace @ example.com"),
        ("/unsubscribe?user=ada%40example.com&a=b", "email", "ada%40example.com"),
        ("_ada@example.com_", "email", "ada@example.com"),
        ("ask at +44 (0)20 7946 0958.", "phone", "+44 (0)20 7946 0958"),
        ("(+49) 30 1234567", "phone", "(+49) 30 1234567"),
        ("call (0)171 7654321 or", "phone", "(0)171 7654321"),
        ("(202) 555-0143 x12", "phone", "(202) 555-0143 x12"),
        ("手机13812345678谢谢", "phone", "13812345678"),
        ("138-1234-5678", "phone", "138-1234-5678"),
        ("010-12345678转123", "phone", "010-12345678转123"),
        ("My number is 612 345 678.", "phone", "612 345 678"),
        ("8 (912) 345-67-89", "phone", "8 (912) 345-67-89"),
        ("in 2023 202-555-0143 rang", "phone", "202-555-0143"),
        ("06 12 34 56 78", "phone", "06 12 34 56 78"),
        ("📞 555 123 4567", "phone", "555 123 4567"),
        ("客服4008208820", "phone", "4008208820"),
        ("SSN: 536-22-1234", "ssn", "536-22-1234"),
        ("my social security number is 536 22 1234", "ssn", "536 22 1234"),
        ("110101199003070716和", "resident_id", "110101199003070716"),
        ("ID110101199003070716", "resident_id", "110101199003070716"),
        ("号码11010519491231002x。", "resident_id", "11010519491231002x"),
        ("91350211M000100Y46", "company_id", "91350211M000100Y46"),
        ("4111 1111 1111 1111 123", "card", "4111 1111 1111 1111"),
        ("in 2023 4111-1111-1111-1111", "card", "4111-1111-1111-1111"),
        ("3782 822463 10005", "card", "3782 822463 10005"),
        ("4111 1111 1111 1111 12/27 123", "card", "4111 1111 1111 1111"),
        ("IBAN:DE89370400440532013000,", "iban", "DE89370400440532013000"),
        ("gb82 west 1234 5698 7654 32 or", "iban", "gb82 west 1234 5698 7654 32"),
        ("http://192.0.2.7:80/", "ip", "192.0.2.7"),
        ("[2001:db8::7]:443", "ip", "2001:db8::7"),
        ("fe80::1%eth0", "ip", "fe80::1%eth0"),
        ("ssh root@192.0.2.7", "ip", "192.0.2.7"),
        ("10.0.0.1-", "ip", "10.0.0.1"),
        ("ssh://root:hunter2@example.com/", "secret", "root:hunter2"),
        ("password: hunter2.", "secret", "hunter2"),
        ("我的密码是abc123XYZ，", "secret", "abc123XYZ"),
        ('{"api_key": "0123456789abcdef0123"}', "secret", "0123456789abcdef0123"),
        ("Authorization: Basic dXNlcjpwYXNzMQ==", "secret", "dXNlcjpwYXNzMQ=="),
        ("密码是123456", "secret", "123456"),
        ("the wifi password is sunshine99", "secret", "sunshine99"),
        ("my pin is 4821", "secret", "4821"),
        ("**Password:** hunter2", "secret", "hunter2"),
        ("curl -u ada:hunter2 https://example.com", "secret", "ada:hunter2"),
        ("<password>Summer2024</password>", "secret", "Summer2024"),
        ("Passwort: Sommer2024", "secret", "Sommer2024"),
        ("https://example.com/?token=aB3xz9QQk1Lm7Zp2", "secret", "aB3xz9QQk1Lm7Zp2"),
        ("I live at 12 Maple Street", "address", "12 Maple Street"),
        ("i live at 12 maple st", "address", "12 maple st"),
        ("12 Maple Street\nSpringfield, IL 62701-0142", "address", "12 Maple Street\nSpringfield, IL 62701-0142"),
        ("Via Roma 12, 00184 Roma", "address", "Via Roma 12, 00184 Roma"),
        ("Goethestr. 12a, 10115 Berlin", "address", "Goethestr. 12a, 10115 Berlin"),
        ("5 bis, rue de la Paix", "address", "5 bis, rue de la Paix"),
        ("我住在北京市朝阳区建国路88号3号楼2单元1101室。", "address", "北京市朝阳区建国路88号3号楼2单元1101室"),
    ],
)
def test_found(text: str, kind: str, value: str) -> None:
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.org", "ada@example.org"),
        ("ada (at) example (dot) org", "ada@example.org"),
        ("ａｄａ＠ｅｘａｍｐｌｅ．ｏｒｇ", "ada@example.org"),
        ("１３８１２３４５６７８", "138-1234-5678"),
        ("+86 138 1234 5678", "13812345678"),
        ("0086-13812345678", "13812345678"),
        ("+1 (202) 555-0143", "202.555.0143"),
        ("+44 (0)20 7946 0958", "0044 20 7946 0958"),
        ("138\u200b1234\u20605678", "13812345678"),
        ("4111-1111-1111-1111", "4111111111111111"),
        ("de89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
        ("11010519491231002x", "110105 19491231 002X"),
        ("I live at 12 Maple Street, Apt 3", "at 12 maple street apt 3".title()),
    ],
)
def test_spellings_of_one_thing_have_one_value(one: str, other: str) -> None:
    assert [mark.value for mark in find(one)] == [mark.value for mark in find(other)] != []


# ── what isn't ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "From 1998 to 2003, 1998-2003, 2001 - 2002 and 1990/91",
        "Python 3.11.4, version 10.0.19041.1, v1.2.3.4, build 1.2.3.4, log4j-1.2.17.1",
        "$1,299.99, 12 345 678 € and 1.234.567,89; 7 800 000 000 people, 13800000000元",
        "ISBN 978-0-306-40615-7, ISBN 0-306-40615-2, ISBN: 0306406152, ISSN 0378-5955",
        "2023-01-31 12:30:45, 31.01.2023 12:30, 01/02/2003 04:05:06, 20230131T123045",
        "12 345 678 901 stars; 1,000,000,000,000; 1700000000 and 1700000000000 milliseconds",
        "51.5007° N, 0.1246° W; 40.712776, -74.005974; 0.13812345678",
        "1 @,@ 234 , 5 @.@ 6 and mid @-@ 1990s on 4 @,@ 111 @,@ 111",
        "12345678901234567890123456789012, 0000012345, 0123456789, #00ff00",
        "Windows 10.0.22621.1992, Chrome/114.0.5735.199, figure 3.2.1.1, numpy@2.1.0",
        "ISBN 9780306406157, order 113-1234567-1234567, 10.1073/pnas.0601602103, invoice 2023-00123-4567",
        "04 08 15 16 23 42, 0171 0172 0173, (2019) 123 456, p. 8577-8582, Boston, MA 02110-1301",
        "13 71 2 9 95 23 60 24 98 86 35 52 55 55 44 23 46 89, 541983.236432269, 000-12-3456 and 12-345-6789",
        "git commit 3f2a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a, md5: d41d8cd98f00b204e9800998ecf8427e",
        "https://open.spotify.com/playlist/37i9dQZF1DXcBWIGoYBM5M",
        "https://example.com/commit/3f2a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ",
        "T5Gemma2EncoderLayer, Wav2Vec2ForPreTraining, AutoModelForSeq2SeqLM, Llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "postgresql://user:password@localhost/x, first pass: 1234, pwd: /home/ada1, password SHA-256, passing: 3456",
        "During 2019, 45000 Swedes moved; 20 minutes drive to the lake; look at this dot com boom",
        "Nature 405 (12) 345-360 (1998) 123-130, pp. 1203-1210, 2:1 and 12:15",
        "card 4111 1111 1111 1112, ID 110101199003070717, code 91350211M000100Y47, DE88370400440532013000",
        "127.0.0.1, ::1, 0.0.0.0, 255.255.255.0, 224.0.0.1, 1.2.3, 1.2.3.4.5, 300.1.1.1",
        "std::vector<int>, a::b, Foo::Bar, c::1, 10:20:30, 00:1a:2b:3c:4d:5e",
        "Password: required. password = input('Password: '), password=os.environ['X1'], token = tokenizer.encode(text)",
        "The password is required; a secret is kept; the key is here; pass: fail, API key: YOUR_API_KEY, $PASSWORD1",
        "550e8400-e29b-41d4-a716-446655440000, sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxx, sk-burnish-...",
        "how-to-learn-python-3-in-2021-for-free, AbstractSingletonProxyFactoryBean2, Top-10-Best-Of-The-Web-2021",
        "@ada, a @ b, x@y, icon@2x.png, lodash@4.17.21, git@github.com:burnish/burnish.git, @app.route('/')",
        "10 Downing Street, 221B Baker Street and 5th Avenue; Route 66; World War 2 Road; 3 Way split",
        "第3路公交车，2号线，1号楼，街上有5个人，30路1号线",
        "3 + 4 = 7, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15, 23786 - 17509 = 6277, 2+1234567890",
        "call it 3, text of 2003 2004, call 911, phone 7 of 10, ring 12.3456789",
    ],
)
def test_left_alone(text: str) -> None:
    assert found(text) == []


# ── whatever the text ────────────────────────────────────────────────────────────────────────────────────────

IDENTIFIERS = st.builds(
    lambda kind, seed: MAKERS[kind](Random(seed)).text, st.sampled_from(list(MAKERS)), st.integers(0, 2**32)
)
GLUE = st.sampled_from(
    [" ", ", ", "\n", "。", "（", ")", "", "@", "+", "-", "1", "a", "call ", "password: ", "[", "号"]
)
TEXTS = st.lists(IDENTIFIERS | GLUE | st.text(st.characters(), max_size=8), max_size=8).map("".join)


@given(TEXTS)
def test_finds_lie_in_order_within_the_text(text: str) -> None:
    place = 0
    for one in find(text):
        assert place <= one.start < one.end <= len(text)
        assert one.value
        place = one.end


@given(st.integers(0, 2**32), st.sampled_from(["email", "resident_id", "company_id", "card", "iban", "ip"]))
def test_the_value_is_the_identifiers_own(seed: int, kind: str) -> None:
    """Whatever sentence it stands in."""
    sentences = [make(kind, Random(seed)) for _ in range(2)]
    values = [one.value for sentence in sentences for one in find(sentence.text) if one.kind == kind]
    assert len(set(values)) <= 1


UNITS = [
    "1", "1 ", "12 ", "1234-", "0171 ", "+", "+1", "+49 ", "(0", "(030) ", "1.", "1.2.", "1:", "::", "f:", "@", "a@",
    "a@a.", "@a", "a@b.co ", "a@b.co+4930123456", "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n", "eyJ", "eyJaaaaaaaa.", "sk-", "sk-a1B", "password", "password: ",
    "pass:a1b2", "api_key=", "A", "aA1", "aB3/", "a1-", "1 Aa ", "12 Aa Bb Cc Dd ", "12 Main Street, ",
    "1 rue de la ", "街1", "街1号", "街1号1号", "北", "call ", "电话1", "DE89", "DE89 ", "9111", "http://",
    "http://a:", "://a:b@", "[at]", "a [at] b.", " [dot] ", "9 - ", "00 4", "1 Main Street\n", "A 1, 12345 A",
    "12-34-", "a at b dot ", "a%40", "08 15 ", "4111 1111 1111 1111 ", "\u200b", "\u200b1", "１ ", "İpass:a1b2c3 ",
    "Straße 1 ", "Apt 1, 1 Aa ", "\n", "[EMAIL_1]",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_work_grows_with_the_text_and_no_faster(unit: str) -> None:
    """In calls, which no noise disturbs; patterns that backtrack make none, so the clock has a word, a generous one."""
    small, large = (unit * (size // len(unit)) for size in (2_000, 8_000))
    assert calls(large) <= 5 * calls(small) + 200
    before = time.process_time()
    find(large * 4)
    assert time.process_time() - before < 10


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_takes_seconds(unit: str) -> None:
    before = time.process_time()
    find(unit * (1_000_000 // len(unit)))
    assert time.process_time() - before < 60


def calls(text: str) -> int:
    count = 0

    def saw(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += 1

    sys.setprofile(saw)
    try:
        find(text)
    finally:
        sys.setprofile(None)
    return count


def test_a_text_that_can_hold_nothing_asks_no_detector() -> None:
    """That most texts are such makes a million of them affordable."""
    assert calls("Yes, I think so too! Thank you very much, and have a nice day." * 50) < 20


def test_worker_processes_can_be_given_it() -> None:
    assert pickle.loads(pickle.dumps(find)) is find


def test_the_generators_know_nothing_of_the_detectors() -> None:
    for file in (Path(__file__).parents[2] / "identifiers").glob("*.py"):
        if file.name != "__main__.py":
            assert not re.search("^(?:from|import) (?:feedback|stdnum)", file.read_text(), re.MULTILINE), file


def test_every_kind_but_names_is_made_and_found() -> None:
    assert set(MAKERS) == {kind.value for kind in Kind} - {"name"}
