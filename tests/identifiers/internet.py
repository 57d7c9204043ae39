"""E-mail addresses (RFC 5321, RFC 6531) and IP addresses (RFC 791, RFC 4291, RFC 5952)."""

from random import Random

from identifiers.sentences import Made

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALPHABETS = ("àáâäåæçèéêëìíîïñòóôöøùúûüýßœšž" + LETTERS, "абвгдежзиклмнопрстуфхцчшщьюя", "αβγδεζηθικλμνξοπρστυφχψω")
PROVIDERS = (
    "gmail.com",
    "qq.com",
    "163.com",
    "outlook.com",
    "yahoo.co.jp",
    "proton.me",
    "web.de",
    "mail.ru",
    "126.com",
)
ENDINGS = (
    "com", "org", "net", "de", "fr", "co.uk", "com.cn", "cn", "io", "dev", "museum", "info", "photography", "ac.jp",
    "com.br", "edu", "gov.au", "xn--p1ai", "app", "ai", "travel", "me", "k12.ca.us", "中国", "рф", "москва",
)  # fmt: skip
# so that robots don't read them
HIDDEN = (
    (" (at) ", " (dot) "), (" [at] ", " [dot] "), ("(at)", "."), ("[at]", "."), (" (at) ", "."), ("[@]", "."),
    ("{at}", "{dot}"), (" <at> ", " <dot> "), ("(at)", "(dot)"), ("%40", "."), ("&#64;", "."), ("@", " dot "),
    (" [AT] ", " [DOT] "),
)  # fmt: skip
WRITING = ("my email is {}", "mail me: {}", "you can reach me on {}", "contact {} please", "send it to {}")


def email(random: Random) -> Made:
    form = random.random()
    if form < 0.05:
        at, dot = random.choice(HIDDEN)
        return Made(f"{word(random)}.{word(random)}{at}{word(random)}{dot}{random.choice(('com', 'org', 'de'))}")
    if form < 0.06:
        at, dot = random.choice(((" at ", " dot "), (" @ ", ".")))
        return Made(
            f"{word(random)}{at}{word(random)}{dot}{random.choice(('com', 'org', 'de'))}", random.choice(WRITING)
        )
    if form < 0.065:  # RFC 5321 allows a quoted name
        return Made(f'"{word(random)} {word(random)}"@{word(random)}.org', "to {}", disguise=False)
    if form < 0.12:
        alphabet = random.choice(ALPHABETS)
        return Made(
            f"{word(random, alphabet)}.{word(random, alphabet)}@{word(random, alphabet)}.{word(random, alphabet)}"
        )
    if form < 0.15:  # in a script without spaces something else must say where it begins
        names = "".join(random.choices("李王张刘陈杨赵黄周吴信箱例子公司网络", k=random.randint(2, 5)))
        domain = f"{random.choice(('例子', '公司', '网络'))}.{random.choice(('公司', '网络', '中国'))}"
        return Made(f"{names}@{domain}", '"{}"')
    if form < 0.2:
        return Made(f"{random.randrange(10**4, 10**11)}@{random.choice(('qq.com', '163.com', '139.com'))}")
    return plain_email(random)


def plain_email(random: Random) -> Made:
    local = "".join(random.choices(LETTERS + LETTERS + "0123456789", k=random.randint(1, 12)))
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        local += random.choice("..__-+") + word(random)
    if random.random() < 0.03:
        local = word(random) + random.choice("!#$%'*+^`{}~") + word(random)
    domain = ".".join([word(random) for _ in range(random.choice((1, 1, 1, 2, 3)))] + [random.choice(ENDINGS)])
    if random.random() < 0.1:
        domain = word(random) + "-" + domain
    if random.random() < 0.4:
        domain = random.choice(PROVIDERS)
    written = f"{local}@{domain}"
    case = random.random()
    written = written.upper() if case < 0.05 else written.title() if case < 0.1 else written
    # a Chinese ending needs something that says where it ends
    frame = "<{}>" if domain.endswith("中国") else random.choice(("{}", "{}", "{}", "<{}>", "mailto:{}", "E-mail:{}"))
    return Made(written, frame)


def word(random: Random, alphabet: str = LETTERS) -> str:
    return "".join(random.choices(alphabet, k=random.randint(2, 11)))


def ip(random: Random) -> Made:
    after = random.choice(
        ("{}", "{}", "{}", "{}/24", "{}:8080", "http://{}/index.html", "ping {}", "{} port 22", "ssh root@{}", "ip={}",
         "IP：{}", "server {} is down", "from {} to me", "host={};")
    )  # fmt: skip
    four = random.random() < 0.6
    made = ipv4(random) if four else ipv6(random)
    if not four and (":8080" in after or "http" in after):
        after = "[{}]:443" if after == "{}:8080" else "http://[{}]/"
    return Made(made, after)


def ipv4(random: Random) -> str:
    """Any unicast address but loopbacks."""
    private = random.choice(("10", "192.168", "172.16", "", "", "", ""))
    first = random.choice([octet for octet in range(1, 224) if octet != 127])
    octets = private.split(".") if private else [str(first)]
    return ".".join(octets + [str(random.randrange(256)) for _ in range(4 - len(octets))])


def ipv6(random: Random) -> str:
    """Global unicast, unique local and link-local addresses; zeros left out as RFC 5952 has it, or written in full."""
    if random.random() < 0.1:  # of any kind, written out
        return ":".join(f"{random.randrange(0x10000):x}" for _ in range(8))
    first = random.choice((random.randrange(0x2000, 0x4000), 0x2001, random.randrange(0xFC00, 0xFE00), 0xFE80))
    groups = [first] + [random.randrange(0x10000) for _ in range(7)]
    length = random.choice((0, 0, 2, 3, 4, 5, 6))
    start = random.randint(1, 8 - length) if length else 0
    groups[start : start + length] = [0] * length
    if length and random.random() < 0.85:
        written = ":".join(f"{group:x}" for group in groups[:start]) + "::"
        written += ":".join(f"{group:x}" for group in groups[start + length :])
    else:
        written = ":".join(f"{group:{random.choice(('x', '04x'))}}" for group in groups)
    if random.random() < 0.05:
        written = "::ffff:" + ipv4(random)
    if first == 0xFE80 and random.random() < 0.3:
        written += "%eth0"
    return written.upper() if random.random() < 0.1 and "%" not in written else written
