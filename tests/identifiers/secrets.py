"""Keys and tokens in the forms that their vendors publish, private keys (RFC 7468), JSON web tokens, passwords."""

import base64
import json
import string
from random import Random

from identifiers.sentences import Made

LETTERS = string.ascii_letters + string.digits
URL_SAFE = LETTERS + "-_"
HEX = "0123456789abcdef"
# (prefix, alphabet, length)
VENDORS = (
    ("sk-", LETTERS, 48), ("sk-proj-", URL_SAFE, 64), ("sk-ant-api03-", URL_SAFE, 93), ("sk-burnish-", URL_SAFE, 43),
    ("ghp_", LETTERS, 36), ("gho_", LETTERS, 36), ("ghs_", LETTERS, 36), ("github_pat_", LETTERS + "_", 82),
    ("glpat-", URL_SAFE, 20), ("AKIA", string.ascii_uppercase + "234567", 16), ("ASIA", string.ascii_uppercase + "234567", 16),
    ("AIza", URL_SAFE, 35), ("hf_", string.ascii_letters, 34), ("npm_", LETTERS, 36), ("sk_live_", LETTERS, 24),
    ("rk_live_", LETTERS, 24), ("sk_test_", LETTERS, 24), ("dop_v1_", HEX, 64), ("shpat_", HEX, 32), ("ya29.", URL_SAFE, 60),
    ("GOCSPX-", URL_SAFE, 28),
)  # fmt: skip
NAMED = (
    "password: {}", "Password={}", "my password is {}", "passwd: {}", "DB_PASSWORD={}", 'password = "{}"', "pwd: {}",
    "'password': '{}'", "密码：{}", "密码是{}", "密码为 {}", "login with password '{}'", "--password={}", "pass: {}",
    "userPassword: {}", "passphrase: {}",
)  # fmt: skip
NAMED_TOKENS = (
    "api_key={}", "API key: {}", "apikey: {}", "token: {}", "access_token={}", "secret: {}", "client_secret={}", "Bearer {}",
    "Authorization: Bearer {}", "my API key is {}", '"secret_key": "{}"', "密钥：{}", "SECRET_KEY = '{}'",
)  # fmt: skip


def secret(random: Random) -> Made:
    form = random.random()
    if form < 0.35:
        prefix, alphabet, length = random.choice(VENDORS)
        return Made(prefix + some(alphabet, length, random), disguise=False)
    if form < 0.45:
        return Made(web_token(random), disguise=False)
    if form < 0.5:
        return Made(private_key(random), disguise=False)
    if form < 0.55:
        parts = [
            some(HEX, 8, random),
            some(string.ascii_uppercase + string.digits, 8, random),
            some(LETTERS, 24, random),
        ]
        tokens = (
            f"xoxb-{random.randrange(10**11, 10**12)}-{random.randrange(10**11, 10**12)}-{parts[2]}",
            f"SG.{some(URL_SAFE, 22, random)}.{some(URL_SAFE, 43, random)}",
            f"{random.randrange(10**8, 10**10)}:AA{some(URL_SAFE, 33, random)}",
        )
        return Made(random.choice(tokens), disguise=False)
    if form < 0.7:
        return Made(password(random), random.choice(NAMED), disguise=False)
    if form < 0.8:
        return Made(
            some(random.choice((HEX, LETTERS)), random.randint(16, 40), random), random.choice(NAMED_TOKENS), False
        )
    if form < 0.87:
        scheme, name = random.choice(("https", "postgresql", "redis", "ftp")), some(string.ascii_lowercase, 6, random)
        return Made(f"{name}:{password(random, '')}", f"{scheme}://{{}}@db.example.com/path", disguise=False)
    return Made(unnamed(random), disguise=False)


def some(alphabet: str, length: int, random: Random) -> str:
    return "".join(random.choices(alphabet, k=length))


def password(random: Random, signs: str = "!#$%^&*+-_") -> str:
    """Four characters of each kind; it neither begins nor ends with a sign, which nobody could tell from the sentence."""
    length = random.randint(8, 16)
    while True:
        made = some(LETTERS + signs, length, random)
        kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
        if made[0].isalnum() and made[-1].isalnum() and all(set(made) & set(kind) for kind in kinds):
            return made


def web_token(random: Random) -> str:
    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    header = json.dumps({"alg": random.choice(("HS256", "RS256", "ES256")), "typ": "JWT"}, separators=(",", ":"))
    claims = json.dumps({"sub": str(random.randrange(10**9)), "iat": random.randrange(10**9)}, separators=(",", ":"))
    return ".".join((part(header.encode()), part(claims.encode()), part(random.randbytes(32))))


def private_key(random: Random) -> str:
    label = random.choice(("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"))
    body = base64.b64encode(random.randbytes(random.choice((120, 600, 1200)))).decode()
    newline = random.choice(("\n", "\n", "\\n"))
    lines = [body[place : place + 64] for place in range(0, len(body), 64)]
    return newline.join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"])


def unnamed(random: Random) -> str:
    """A long random token with nothing around it to say so."""
    if random.random() < 0.3:
        return some(HEX, random.choice((32, 40, 64)), random)
    if random.random() < 0.3:
        return base64.b64encode(random.randbytes(random.choice((30, 33, 48)))).decode()
    return some(LETTERS, random.randint(24, 64), random)
