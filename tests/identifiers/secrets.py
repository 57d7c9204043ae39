"""Keys and tokens in the forms that their vendors publish, private keys (RFC 7468), JSON web tokens, passwords."""

import base64
import json
import string
from random import Random

from identifiers.sentences import Made, filled

LETTERS = string.ascii_letters + string.digits
CAPITALS = string.ascii_uppercase + string.digits
URL_SAFE = LETTERS + "-_"
HEX = "0123456789abcdef"
# (prefix, alphabet, length)
VENDORS = (
    ("sk-", LETTERS, 48), ("sk-proj-", URL_SAFE, 64), ("sk-ant-api03-", URL_SAFE, 93), ("sk-burnish-", URL_SAFE, 43),
    ("sk-or-v1-", HEX, 64), ("gsk_", LETTERS, 52), ("xai-", LETTERS, 80), ("pplx-", LETTERS, 48),
    ("r8_", LETTERS, 37), ("nvapi-", URL_SAFE, 64), ("hf_", string.ascii_letters, 34), ("ghp_", LETTERS, 36),
    ("gho_", LETTERS, 36), ("ghs_", LETTERS, 36), ("github_pat_", LETTERS + "_", 82), ("glpat-", URL_SAFE, 20),
    ("npm_", LETTERS, 36), ("pypi-AgEIcHlwaS5vcmc", URL_SAFE, 120), ("dckr_pat_", URL_SAFE, 27),
    ("rubygems_", HEX, 48), ("AKIA", CAPITALS, 16), ("ASIA", CAPITALS, 16), ("AIza", URL_SAFE, 35),
    ("ya29.", URL_SAFE, 60), ("GOCSPX-", URL_SAFE, 28), ("sk_live_", LETTERS, 24), ("rk_live_", LETTERS, 24),
    ("sk_test_", LETTERS, 24), ("pk_test_", LETTERS, 24), ("whsec_", LETTERS, 32), ("sq0csp-", URL_SAFE, 43),
    ("dop_v1_", HEX, 64), ("shpat_", HEX, 32), ("hvs.", LETTERS, 90), ("lin_api_", LETTERS, 40),
    ("figd_", URL_SAFE, 40), ("sntrys_", LETTERS, 64), ("tskey-auth-", LETTERS, 32), ("ATATT3xFfGF0", URL_SAFE, 170),
    ("EAAG", LETTERS, 150), ("glsa_", LETTERS, 41), ("AGE-SECRET-KEY-1", CAPITALS, 58),
)  # fmt: skip
NAMED = (
    "password: {}", "Password={}", "my password is {}", "passwd: {}", "DB_PASSWORD={}", 'password = "{}"', "pwd: {}",
    "'password': '{}'", "密码：{}", "密码是{}", "密码为 {}", "login with password '{}'", "--password={}", "pass: {}",
    "userPassword: {}", "passphrase: {}", "user: ada, pass: {}", "wifi password is {}", "Passwort: {}", "PW: {}",
    "mot de passe : {}", "contraseña: {}", "пароль: {}", "口令:{}", "<password>{}</password>", '"password" => "{}"',
    "PASSWORD: '{}'", "I changed my password to {}", "the password was {}", "pass={}", "密码改成了{}",
    "curl -u ada:{} http", "MYSQL_ROOT_PASSWORD: {}", "**Password:** {}", "Password\t: {}", "パスワードは: {}",
    "senha: {}", "passcode: {}",
)  # fmt: skip
NAMED_TOKENS = (
    "api_key={}", "API key: {}", "apikey: {}", "token: {}", "access_token={}", "secret: {}", "client_secret={}",
    "Bearer {}", "Authorization: Bearer {}", "my API key is {}", '"secret_key": "{}"', "密钥：{}",
    "SECRET_KEY = '{}'", "X-Api-Key: {}", "export OPENAI_API_KEY={}", "AWS_SECRET_ACCESS_KEY={}",
    "https://example.com/x?token={}", "AccountKey={};", "令牌：{}", "Authorization: Basic {}", '"authToken": "{}"',
    "Cookie: sessionid={}", "private_key: {}", "the token is {}",
)  # fmt: skip
WORDS = ("sunshine", "dragon", "Fluffy", "hunter", "Summer", "letmein", "Welcome", "qwerty", "monkey", "Arsenal",
         "ilove", "Passw0rd", "woaini", "zhang")  # fmt: skip


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
        tokens = (
            f"xoxb-{random.randrange(10**11, 10**12)}-{random.randrange(10**11, 10**12)}-{some(LETTERS, 24, random)}",
            f"SG.{some(URL_SAFE, 22, random)}.{some(URL_SAFE, 43, random)}",
            f"{random.randrange(10**8, 10**10)}:AA{some(URL_SAFE, 33, random)}",
        )
        if random.random() < 0.3:
            return Made(*random.choice(webhooks(random)), disguise=False)
        return Made(random.choice(tokens), disguise=False)
    if form < 0.7:
        frame = random.choice(NAMED)
        made = remembered(random) if random.random() < 0.4 else password(random)
        return Made(f"ada:{made}" if "ada:" in frame else made, frame.replace("ada:", ""), disguise=False)
    if form < 0.72:
        return Made(filled("####", random) + random.choice(("", filled("##", random))),
                    random.choice(("PIN: {}", "my pin is {}", "the PIN code is {}")), disguise=False)  # fmt: skip
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


def password(random: Random, signs: str = "!#$%^&*+-_@()=?.~") -> str:
    """Of every kind of character; it neither begins nor ends with a sign, which might be the sentence's."""
    length = random.randint(8, 16)
    while True:
        made = some(LETTERS + signs, length, random)
        kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
        if made[0].isalnum() and made[-1].isalnum() and all(set(made) & set(kind) for kind in kinds):
            return made


def remembered(random: Random) -> str:
    """A word, a number and maybe a sign, as people make them."""
    number = random.choice((str(random.randint(1, 99)), str(random.randint(1950, 2025)), filled("####", random)))
    return random.choice(WORDS) + random.choice(("", "", "_", ".", "@")) + number + random.choice(("", "", "!a", "#1"))


def webhooks(random: Random) -> list[tuple[str, str]]:
    """A link's part that opens it, and what stands before that."""
    slack = f"T{some(CAPITALS, 10, random)}/B{some(CAPITALS, 10, random)}/{some(LETTERS, 24, random)}"
    discord = f"{random.randrange(10**17, 10**19)}/{some(URL_SAFE, 68, random)}"
    document = some(URL_SAFE, 44, random)
    return [(slack, "https://hooks.slack.com/services/{}"), (discord, "https://discord.com/api/webhooks/{}"),
            (document, "https://docs.google.com/document/d/{}/edit")]  # fmt: skip


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
