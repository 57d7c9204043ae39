"""Telephone numbers of fifty numbering plans, as people write them abroad (ITU-T E.123) and at home."""

from random import Random

from identifiers.sentences import Made, filled

# country code → (trunk prefix, national numbers in their customary groups)
PLANS: dict[str, tuple[str, tuple[str, ...]]] = {
    "49": ("0", ("30 ########", "89 #######", "151 ########", "171 #######", "221 ### ####", "6221 ######",
                 "40 ### ## ###", "3641 ######", "176 #### ####")),
    "44": ("0", ("20 7### ####", "20 8### ####", "161 ### ####", "7### ######", "7### ### ###", "1### ######")),
    "33": ("0", ("1 ## ## ## ##", "4 ## ## ## ##", "6 ## ## ## ##", "7 ## ## ## ##")),
    "39": ("", ("06 #### ####", "02 #### ####", "347 ### ####", "320 #######", "333 ## ## ###")),
    "34": ("", ("91 ### ## ##", "6## ### ###", "93 ### ## ##", "6## ## ## ##")),
    "31": ("0", ("20 ### ####", "6 ########", "6 ## ## ## ##", "10 ### ## ##")),
    "32": ("0", ("2 ### ## ##", "47# ## ## ##", "48# ## ## ##")),
    "41": ("0", ("44 ### ## ##", "79 ### ## ##", "22 ### ## ##")),
    "43": ("0", ("1 #######", "664 #######", "676 ### ####")),
    "46": ("0", ("8 ### ## ##", "70 ### ## ##", "73-### ## ##")),
    "45": ("", ("## ## ## ##".replace("#", "N", 1), "N### ####")),
    "47": ("", ("4## ## ###", "9## ## ###", "22 ## ## ##")),
    "48": ("", ("22 ### ## ##", "5## ### ###", "6## ### ###")),
    "351": ("", ("21 ### ####", "91# ### ###", "96# ### ###")),
    "353": ("0", ("1 ### ####", "87 ### ####", "86 ### ####")),
    "358": ("0", ("9 ### ####", "40 ### ####", "50 ### ####")),
    "30": ("", ("21# ### ####", "69# ### ####")),
    "7": ("8", ("495 ###-##-##", "9## ###-##-##", "812 ###-##-##")),
    "380": ("0", ("44 ### ####", "67 ### ## ##", "50 ### ## ##")),
    "90": ("0", ("212 ### ## ##", "53# ### ## ##", "54# ### ####")),
    "91": ("0", ("9#### #####", "8#### #####", "11 #### ####", "22 #### ####")),
    "81": ("0", ("3-####-####", "90-####-####", "80-####-####", "6-####-####")),
    "82": ("0", ("2-####-####", "10-####-####", "51-###-####")),
    "86": ("0", ("10-########", "21-########", "755-########", "571-########", "28 #### ####", "591-########")),
    "886": ("0", ("2-####-####", "9##-###-###", "4-####-####")),
    "852": ("", ("2### ####", "9### ####", "6### ####")),
    "65": ("", ("6### ####", "8### ####", "9### ####")),
    "61": ("0", ("2 #### ####", "4## ### ###", "3 #### ####")),
    "64": ("0", ("9 ### ####", "21 ### ####", "27 ### ####")),
    "55": ("", ("11 9####-####", "21 9####-####", "11 3###-####")),
    "52": ("", ("55 #### ####", "33 #### ####", "222 ### ####")),
    "27": ("0", ("11 ### ####", "82 ### ####", "72 ### ####")),
    "234": ("0", ("803 ### ####", "1 ### ####", "706 ### ####")),
    "971": ("0", ("4 ### ####", "50 ### ####", "55 ### ####")),
    "20": ("0", ("2 #### ####", "10 #### ####", "12 #### ####")),
    "254": ("0", ("20 ### ####", "712 ######", "722 ### ###")),
    "36": ("06", ("1 ### ####", "30 ### ####", "20 ### ####")),
    "40": ("0", ("21 ### ####", "722 ### ###", "744 ### ###")),
    "420": ("", ("2## ### ###", "6## ### ###", "7## ### ###")),
    "385": ("0", ("1 ### ####", "91 ### ####", "98 ### ###")),
    "54": ("0", ("11 ####-####", "341 ###-####")),
    "56": ("", ("2 2### ####", "9 #### ####")),
    "57": ("", ("300 ### ####", "310 ### ####", "601 ### ####")),
    "60": ("0", ("3-#### ####", "12-### ####", "11-#### ####")),
    "62": ("0", ("21 ### ####", "812-####-####", "857 #### ####")),
    "63": ("0", ("2 #### ####", "917 ### ####", "908 ### ####")),
    "66": ("0", ("2 ### ####", "81 ### ####", "8# ### ####")),
    "84": ("0", ("24 #### ####", "90 ### ## ##", "91 ### ####")),
    "92": ("0", ("21 ########", "300 #######", "321-#######")),
    "94": ("0", ("11 ### ####", "77 ### ####")),
    "98": ("0", ("21 #### ####", "912 ### ####")),
    "880": ("0", ("1711-######", "2 ########")),
    "966": ("0", ("11 ### ####", "50 ### ####")),
    "972": ("0", ("2-###-####", "50-###-####", "54 ### ####")),
}  # fmt: skip
MOBILES_CN = """
130 131 132 133 134 135 136 137 138 139 145 147 149 150 151 152 153 155 156 157 158 159 162 165 166 167 170 171 172
173 175 176 177 178 180 181 182 183 184 185 186 187 188 189 190 191 192 193 195 196 197 198 199
""".split()  # noqa: SIM905 # a list of so many would fill the page
# for what can't be told from a count unless somebody says that it is a number to call
CALLING = (
    "Call me on {}", "my phone number is {}", "Tel: {}", "Tel. {}", "Phone: {}", "you can reach me at {}",
    "Mobile {}", "WhatsApp {}", "Fax: {}", "text me at {}", "her number is {}", "please call {} after six",
    "电话：{}", "我的手机号是{}", "请联系{}", "致电{}", "联系电话 {}", "手机{}", "电话号码为{}", "Ph: {}",
    "my cell is {}", "Mob: {}", "Contact no. {}", "phone={}", '"phone": "{}"', "Telefon: {}", "Tél. : {}",
    "mi móvil es {}", "тел. {}", "ring me on {}", "dial {}", "call or text my sister any time on {}",
    "the number to call is {}", "☎ {}", "📞 {}", "微信同号：{}", "打电话给我{}", "Cell # {}",
    "reach him by phone at {}", "T: {}", "Handy: {}", "fax no. {}", "Phone (home): {}", "客服热线{}",
)  # fmt: skip


def phone(random: Random) -> Made:
    form = random.random()
    if form < 0.3:
        return mobile_cn(random)
    if form < 0.45:
        return north_american(random)
    country = random.choice(list(PLANS))
    trunk, patterns = PLANS[country]
    number = filled(random.choice(patterns), random)
    return abroad(country, trunk, number, random) if form < 0.75 else at_home(trunk, number, random)


def mobile_cn(random: Random) -> Made:
    number = random.choice(MOBILES_CN) + filled("########", random)
    form = random.random()
    if form < 0.5:
        written = number
    else:
        separator = random.choice(" -")
        written = separator.join((number[:3], number[3:7], number[7:]))
    prefix = random.choice(("", "", "", "", "+86 ", "+86", "+86-", "86-", "0086 ", "(+86) ", "0086"))
    return Made(prefix + written, random.choice(("{}", "{}", "手机{}", "微信{}", "电话:{}", "我是{}")))


def north_american(random: Random) -> Made:
    """NANP: neither area code nor exchange begins with 0 or 1 or ends in 11."""
    while True:
        area, exchange, line = filled("N##", random), filled("N##", random), filled("####", random)
        if not area.endswith("11") and not exchange.endswith("11"):
            break
    form = random.choice(
        (
            "({}) {}-{}", "({}){}-{}", "{}-{}-{}", "{}.{}.{}", "{} {} {}", "1-{}-{}-{}", "+1 {} {} {}", "+1-{}-{}-{}",
            "+1 ({}) {}-{}", "+1{}{}{}", "1 ({}) {}-{}", "+1.{}.{}.{}", "{}/{}-{}", "{}{}{}",
        )
    )  # fmt: skip
    written = form.format(area, exchange, line)
    if random.random() < 0.05:
        written += random.choice((" x", " ext. ", " ext ")) + filled("N##", random)
    return Made(written, random.choice(CALLING) if form == "{}{}{}" else "{}")


def abroad(country: str, trunk: str, number: str, random: Random) -> Made:
    area, _, rest = number.partition(" " if " " in number else "-")
    solid = "".join(filter(str.isdigit, number))
    spaced = number.replace("-", " ")
    forms = [
        f"+{country} {spaced}",
        f"+{country} {number}",
        f"+{country}{solid}",
        f"+{country}-{spaced.replace(' ', '-')}",
    ]
    forms += [f"00{country} {spaced}", f"00{country}{solid}", f"(+{country}) {spaced}", f"+{country} ({area}) {rest}"]
    forms += [f"+{country}.{spaced.replace(' ', '.')}", f"+{country} {solid}", f"011 {country} {spaced}"]
    if trunk == "0":
        forms += [f"+{country} (0) {spaced}", f"+{country} (0){spaced}", f"+{country}(0){solid}"]
    return Made(random.choice(forms))


def at_home(trunk: str, number: str, random: Random) -> Made:
    if trunk == "8":  # Russia
        digits = "".join(filter(str.isdigit, number))
        groups = digits[:3], digits[3:6], digits[6:8], digits[8:]
        forms = ("8 ({}) {}-{}-{}", "8({}){}-{}-{}", "8-{}-{}-{}-{}", "8 {} {}-{}-{}", "8 {} {} {} {}")
        return Made(random.choice(forms).format(*groups))
    area, _, rest = number.partition(" " if " " in number else "-")
    solid = trunk + "".join(filter(str.isdigit, number))
    forms = [
        trunk + number,
        f"{trunk}{area}-{rest}",
        trunk + number.replace(" ", "-"),
        trunk + number.replace(" ", "."),
    ]
    forms += [f"({trunk}{area}) {rest}", f"({trunk}{area}){rest}", f"{trunk}{area}/{rest}", solid]
    written = random.choice(forms)
    says_itself = trunk in ("0", "06") and written != solid and len(solid) >= 9 and len(trunk + area) > 1
    # written in one piece, without a trunk zero, or with one dot like a decimal: a number like any other
    if written.count(".") == 1 and not set(written) & set(" -/("):
        says_itself = False
    return Made(written, "{}" if says_itself else random.choice(CALLING))
