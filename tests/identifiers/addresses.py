"""Street addresses as four countries' posts write them."""

from random import Random

from identifiers.sentences import Made, filled

STREETS = (
    "Maple",
    "Oak",
    "Cedar Hill",
    "Washington",
    "2nd",
    "Martin Luther King Jr.",
    "N. Lakeview",
    "St. James",
    "Elm",
)
SUFFIXES = (
    "Street",
    "St",
    "St.",
    "Avenue",
    "Ave",
    "Road",
    "Rd.",
    "Boulevard",
    "Blvd",
    "Lane",
    "Drive",
    "Dr",
    "Court",
    "Way",
)
CITIES = ("Springfield", "Salt Lake City", "Portland", "St. Louis", "Austin", "New York")
STATES = ("IL", "UT", "OR", "MO", "TX", "NY")
LIVING = (
    "I live at {}", "my address is {}", "ship it to {}", "Address: {}", "please send it to {}", "she lives at {}",
    "we moved to {} last year", "home: {}", "meet me at {}", "delivered to {}",
)  # fmt: skip
PLACES = (
    "北京市朝阳区",
    "上海市浦东新区",
    "广东省深圳市南山区",
    "浙江省杭州市西湖区",
    "四川省成都市武侯区",
    "江苏省苏州市姑苏区",
)
ROADS = ("建国路", "人民大道", "中山北路", "解放街", "和平里小区", "幸福巷", "长安街", "科技园南路")


def address(random: Random) -> Made:
    return random.choice((american, american, british, chinese, chinese, german, french))(random)


def american(random: Random) -> Made:
    street = f"{random.randint(1, 19999)} {random.choice(STREETS)} {random.choice(SUFFIXES)}"
    flat = random.choice(
        ("", "", f", Apt {random.randint(1, 99)}", f" #{random.randint(1, 99)}", f", Suite {filled('#0#', random)}")
    )
    at = random.randrange(len(CITIES))
    town = random.choice(("", f", {CITIES[at]}, {STATES[at]} {filled('#####', random)}"))
    return Made(street + flat + town, "{}" if flat or town else random.choice(LIVING))


def british(random: Random) -> Made:
    flat = random.choice(("", f"Flat {random.randint(1, 20)}, "))
    street = f"{flat}{random.randint(1, 300)} {random.choice(STREETS[:4])} {random.choice(('Road', 'Street', 'Lane', 'Close'))}"
    postcode = random.choice(("", f", {random.choice(('London', 'Leeds', 'Bath'))} {filled('A# #AA', random)}"))
    return Made(street + postcode, "{}" if flat or postcode else random.choice(LIVING))


def german(random: Random) -> Made:
    street = random.choice(
        ("Hauptstraße", "Goethestr.", "Lindenallee", "Bahnhofstrasse", "Berliner Straße", "Marktplatz")
    )
    town = random.choice(("", f", {filled('N####', random)} {random.choice(('Berlin', 'Köln', 'Jena'))}"))
    return Made(f"{street} {random.randint(1, 250)}{random.choice(('', '', 'a', 'b'))}{town}")


def french(random: Random) -> Made:
    street = random.choice(
        ("rue de la Paix", "avenue Victor Hugo", "boulevard Saint-Michel", "rue du Moulin", "place d'Italie")
    )
    town = random.choice(("", f", {filled('7####', random)} {random.choice(('Paris', 'Lyon', 'Nantes'))}"))
    return Made(f"{random.randint(1, 250)}{random.choice(('', ' bis'))}{random.choice(('', ','))} {street}{town}")


def chinese(random: Random) -> Made:
    number = f"{random.randint(1, 1999)}号"
    room = random.choice(
        (
            "",
            f"{random.randint(1, 30)}号楼{random.randint(1, 6)}单元{random.randint(101, 2905)}室",
            f"{random.randint(1, 9)}栋{filled('N0#', random)}",
        )
    )
    place = random.choice((*PLACES, ""))
    return Made(
        place + random.choice(ROADS) + number + room,
        "{}" if place else random.choice(("住址：{}", "我住在{}", "寄到{}")),
    )
