"""Street addresses as the posts of several countries write them, and as people do."""

from random import Random

from identifiers.sentences import Made, filled

STREETS = (
    "Maple", "Oak", "Cedar Hill", "Washington", "2nd", "Martin Luther King Jr.", "N. Lakeview", "St. James", "Elm",
    "O'Connell", "E 46th", "Old Mill", "W. 3rd", "McKinley", "North Church", "Bayview", "Sunset", "Park",
    "Dr. Miller",
)  # fmt: skip
# the commonest first and more often, as in the United States Postal Service's publication 28
SUFFIXES = (
    *("Street", "St", "St.", "Avenue", "Ave", "Road", "Rd.", "Drive", "Dr", "Lane", "Ln", "Court", "Ct", "Blvd") * 3,
    "Boulevard", "Way", "Place", "Pl", "Circle", "Cir", "Terrace", "Ter", "Parkway", "Pkwy", "Trail", "Highway",
    "Loop", "Square", "Alley", "Cove", "Pike", "Crossing", "Point",
)  # fmt: skip
CITIES = (("Springfield", "IL"), ("Salt Lake City", "UT"), ("Portland", "OR"), ("St. Louis", "MO"), ("Austin", "TX"),
          ("New York", "NY"), ("Coeur d'Alene", "ID"), ("Winston-Salem", "NC"))  # fmt: skip
LIVING = (
    "I live at {}", "my address is {}", "ship it to {}", "Address: {}", "please send it to {}", "she lives at {}",
    "we moved to {} last year", "home: {}", "meet me at {}", "delivered to {}", "I'm staying at {} this week",
    "his house is at {}", "mail the parcel to {}", "my home address is {}",
)  # fmt: skip
PLACES = (
    "北京市朝阳区", "上海市浦东新区", "广东省深圳市南山区", "浙江省杭州市西湖区", "四川省成都市武侯区",
    "江苏省苏州市姑苏区", "山东省青岛市市南区", "湖北省武汉市洪山区", "台北市信义区", "内蒙古呼和浩特市新城区",
    "天津市和平区", "河北省保定市雄县雄州镇",
)  # fmt: skip
ROADS = ("建国路", "人民大道", "中山北路", "解放街", "和平里小区", "幸福巷", "长安街", "科技园南路", "信义路五段",
         "张家村", "三里屯路", "新华西街", "东四十条胡同", "滨江道", "桂花园", "锦绣新村")  # fmt: skip
BUILDINGS = ("维多利广场A座", "国贸大厦", "阳光花园3栋", "世纪公寓B座", "科技大厦12层")


def address(random: Random) -> Made:
    makers = (
        american,
        american,
        american,
        british,
        canadian,
        chinese,
        chinese,
        chinese,
        german,
        french,
        southern,
        dutch,
    )
    made = random.choice(makers)(random)
    street, _, rest = made.text.partition(", ")
    if rest and not rest[0].islower() and random.random() < 0.15:  # as on an envelope
        return Made(street + random.choice(("\n", "\n", "\n\n", ",\n")) + rest, made.frame)
    return made


def american(random: Random) -> Made:
    street = f"{random.randint(1, 19999)} {random.choice(STREETS)} {random.choice(SUFFIXES)}"
    form = random.random()
    if form < 0.12:  # as in chats
        small = f"{random.randint(1, 9999)} {random.choice(('maple', 'oak hill', 'washington', 'elm'))} "
        return Made(small + random.choice(("st", "street", "ave", "rd", "lane", "drive")), random.choice(LIVING[:7]))
    flats = ("", "", f", Apt {random.randint(1, 99)}", f" #{random.randint(1, 99)}",
             f", Suite {filled('N0#', random)}", f" Apt {filled('#A', random)}", f", Unit {random.randint(1, 40)}",
             f" Apt. {random.randint(1, 9)}")  # fmt: skip
    flat = random.choice(flats)
    city, state = random.choice(CITIES)
    code = filled("#####", random) + (filled("-####", random) if random.random() < 0.15 else "")
    town = random.choice(("", f", {city}, {state} {code}", f", {city} {state} {code}", f", {city}, {state}"))
    return Made(street + flat + town, "{}" if flat or town else random.choice(LIVING))


def british(random: Random) -> Made:
    flat = random.choice(("", f"Flat {random.randint(1, 20)}, "))
    ending = random.choice(("Road", "Street", "Lane", "Close", "Avenue", "Gardens", "Terrace", "Crescent", "Grove"))
    street = f"{flat}{random.randint(1, 300)}{random.choice(('', '', 'a'))} {random.choice(STREETS[:4])} {ending}"
    code = filled(random.choice(("A# #AA", "A## #AA", "AA# #AA", "AA## #AA", "A#A #AA", "AA#A #AA")), random)
    town = random.choice(("London", "Leeds", "Bath", "Stoke-on-Trent", "Milton Keynes"))
    postcode = random.choice(("", f", {town} {code}", f", {town}, {code}"))
    return Made(street + postcode, "{}" if flat or postcode else random.choice(LIVING))


def canadian(random: Random) -> Made:
    town = random.choice(("Toronto, ON", "Montréal, QC", "Vancouver, BC"))
    return Made(f"{random.randint(1, 9999)} {random.choice(STREETS)} {random.choice(SUFFIXES)}, {town} "
                f"{filled('A#A #A#', random)}")  # fmt: skip


def german(random: Random) -> Made:
    """Germany, Austria, Switzerland."""
    names = ("Hauptstraße", "Goethestr.", "Lindenallee", "Bahnhofstrasse", "Berliner Straße", "Marktplatz",
    "Rosenweg", "Martin-Luther-Straße", "Untere Gasse", "Alte Poststr.", "Mühlgasse", "Am Alten Platz")  # fmt: skip
    towns = (f"{filled('N####', random)} {random.choice(('Berlin', 'Köln', 'Bad Homburg'))}",
             f"{filled('N###', random)} {random.choice(('Wien', 'Zürich', 'St. Gallen'))}",
             f"D-{filled('N####', random)} Jena")  # fmt: skip
    town = random.choice(("", f", {random.choice(towns)}"))
    number = random.choice(("", "", "a", "b", " c"))
    return Made(f"{random.choice(names)} {random.randint(1, 250)}{number}{town}")


def french(random: Random) -> Made:
    streets = ("rue de la Paix", "avenue Victor Hugo", "boulevard Saint-Michel", "rue du Moulin", "place d'Italie",
               "allée des Tilleuls", "chemin du Lac", "impasse des Roses", "quai Voltaire",
               "rue Émile Zola")  # fmt: skip
    town = random.choice(("", f", {filled('7####', random)} {random.choice(('Paris', 'Lyon', 'Saint-Étienne'))}"))
    number = f"{random.randint(1, 250)}{random.choice(('', '', ' bis', ' ter'))}{random.choice(('', ','))}"
    return Made(f"{number} {random.choice(streets)}{town}")


def southern(random: Random) -> Made:
    """Spain and Italy; without postcode and town their streets look like anything."""
    street = random.choice(("Calle Mayor", "Via Roma", "Calle de Alcalá", "Via Giuseppe Verdi", "Avenida Diagonal"))
    town = random.choice(("Madrid", "Roma", "Barcelona", "San Sebastián"))
    return Made(f"{street} {random.randint(1, 250)}, {filled('#####', random)} {town}")


def dutch(random: Random) -> Made:
    street = random.choice(("Damrak", "Prinsengracht", "Van der Helststraat", "Oude Kerkstraat"))
    town = random.choice(("Amsterdam", "Den Haag", "Utrecht"))
    return Made(f"{street} {random.randint(1, 400)}, {filled('N### AA', random)} {town}")


def chinese(random: Random) -> Made:
    number = f"{random.randint(1, 1999)}号"
    if random.random() < 0.15:  # Shanghai's lanes
        number = f"{random.randint(1, 1999)}弄{random.randint(1, 99)}号"
    rooms = ("", f"{random.randint(1, 30)}号楼{random.randint(1, 6)}单元{random.randint(101, 2905)}室",
             f"{random.randint(1, 9)}栋{filled('N0#', random)}",
             f"{random.choice(BUILDINGS)}{filled('N0#', random)}室",
             f"院{random.randint(1, 30)}号楼{filled('N0#', random)}", f"{random.randint(1, 30)}楼")  # fmt: skip
    place = random.choice((*PLACES, *PLACES, ""))
    living = random.choice(("住址：{}", "我住在{}", "寄到{}", "地址是{}", "家住{}", "收货地址：{}"))
    frame = "{}" if place and random.random() < 0.5 else living
    return Made(place + random.choice(ROADS) + number + random.choice(rooms), frame)
