"""Generate household commands and numbers in Uzbek and Galician from small grammars."""

from random import Random


UZ_UNITS = "bir ikki uch toʻrt besh olti yetti sakkiz toʻqqiz".split()
UZ_TENS = "oʻn yigirma oʻttiz qirq ellik oltmish yetmish sakson toʻqson".split()
UZ_THINGS = "chiroqni eshikni derazani televizorni musiqani radioni pardani".split()
UZ_VERBS = "yoq oʻchir och yop boshla toʻxtat".split()
UZ_ROOMS = "oshxonada yotoqxonada mehmonxonada hovlida".split()
UZ_TIMES = "bugun ertaga kechqurun ertalab hozir".split()

GL_NUMBERS = (
    "un dous tres catro cinco seis sete oito nove dez once doce vinte trinta corenta cincuenta sesenta oitenta "
    "noventa cen"
).split()
GL_THINGS = "a luz,a porta,a xanela,a radio,a música,o forno,a calefacción".split(",")
GL_VERBS = "acende apaga abre pecha sube baixa".split()
GL_ROOMS = "na cociña,no salón,no cuarto,no xardín".split(",")


def uzbek_number(draw: Random) -> str:
    kind = draw.random()
    if kind < 0.2:
        return draw.choice(UZ_UNITS)
    if kind < 0.35:
        return draw.choice(UZ_TENS)
    if kind < 0.75:
        return f"{draw.choice(UZ_TENS)} {draw.choice(UZ_UNITS)}"
    hundreds = f"{draw.choice(UZ_UNITS)} yuz"
    return hundreds if draw.random() < 0.5 else f"{hundreds} {draw.choice(UZ_TENS + UZ_UNITS)}"


def uzbek(draw: Random) -> str:
    kind = draw.random()
    if kind < 0.35:
        return uzbek_number(draw)
    if kind < 0.6:
        return f"{draw.choice(UZ_THINGS)} {draw.choice(UZ_VERBS)}"
    if kind < 0.8:
        return f"{draw.choice(UZ_ROOMS)} {draw.choice(UZ_THINGS)} {draw.choice(UZ_VERBS)}"
    if kind < 0.92:
        return f"{draw.choice(UZ_TIMES)} soat {draw.choice(UZ_UNITS + UZ_TENS[:1])}da uygʻot"
    return f"harorat {uzbek_number(draw)} daraja"


def galician(draw: Random) -> str:
    kind = draw.random()
    if kind < 0.3:
        return " ".join(draw.choice(GL_NUMBERS) for _ in range(draw.randint(1, 3)))
    if kind < 0.6:
        return f"{draw.choice(GL_VERBS)} {draw.choice(GL_THINGS)}"
    if kind < 0.85:
        return f"{draw.choice(GL_VERBS)} {draw.choice(GL_THINGS)} {draw.choice(GL_ROOMS)}"
    return f"chámame mañá ás {draw.choice(GL_NUMBERS[:12])}"
