"""The words of `data_prepare.synthetic.translation`: English, and their invented translations."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun: English singular and plural, stem and gender (m or f) in the other language."""

    singular: str
    plural: str
    stem: str

    @property
    def gender(self) -> Literal["m", "f"]:
        """Feminine where the stem ends with a."""
        return "f" if self.stem.endswith("a") else "m"


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: English base, third person and past; stem in the other language."""

    base: str
    third: str
    past: str
    stem: str


@dataclass(frozen=True, slots=True)
class Time:
    """A time: its word in the other language, and the tense that it asks for."""

    word: str
    tense: Literal["present", "past", "future"]


@dataclass(frozen=True, slots=True)
class Pronoun:
    """A pronoun as a subject: its word in the other language, and its number."""

    word: str
    is_plural: bool


PEOPLE = [
    Noun("farmer", "farmers", "agrik"),
    Noun("teacher", "teachers", "dosena"),
    Noun("doctor", "doctors", "medur"),
    Noun("sailor", "sailors", "navit"),
    Noun("child", "children", "puera"),
    Noun("neighbor", "neighbors", "visin"),
    Noun("painter", "painters", "pikta"),
    Noun("singer", "singers", "kantura"),
    Noun("soldier", "soldiers", "militor"),
    Noun("baker", "bakers", "furnal"),
]
OBJECTS = [
    Noun("apple", "apples", "pomela"),
    Noun("letter", "letters", "skrib"),
    Noun("boat", "boats", "barka"),
    Noun("house", "houses", "domor"),
    Noun("lamp", "lamps", "lusera"),
    Noun("book", "books", "tomel"),
    Noun("horse", "horses", "ekvon"),
    Noun("bridge", "bridges", "pontal"),
    Noun("garden", "gardens", "hortila"),
    Noun("window", "windows", "finestra"),
    Noun("picture", "pictures", "imagor"),
    Noun("basket", "baskets", "kesta"),
    Noun("bottle", "bottles", "flaska"),
    Noun("mountain", "mountains", "montur"),
]
VERBS = [
    Verb("see", "sees", "saw", "vid"),
    Verb("buy", "buys", "bought", "merk"),
    Verb("carry", "carries", "carried", "port"),
    Verb("find", "finds", "found", "trov"),
    Verb("sell", "sells", "sold", "vend"),
    Verb("clean", "cleans", "cleaned", "purig"),
    Verb("repair", "repairs", "repaired", "fiks"),
    Verb("lose", "loses", "lost", "perd"),
    Verb("remember", "remembers", "remembered", "rekord"),
    Verb("draw", "draws", "drew", "lin"),
]
ADJECTIVES = {
    "old": "antik",
    "red": "rub",
    "green": "verd",
    "small": "mik",
    "large": "grand",
    "heavy": "pez",
    "quiet": "silent",
    "famous": "renom",
    "beautiful": "bel",
    "broken": "rupt",
}
NUMBERS = {"two": "duo", "three": "tris", "four": "kvar", "five": "pent", "six": "ses"}
TIMES = {
    "today": Time("hodi", "present"),
    "every morning": Time("omne matin", "present"),
    "yesterday": Time("hier", "past"),
    "last night": Time("nokte pasit", "past"),
    "tomorrow": Time("demane", "future"),
    "next week": Time("sepman venod", "future"),
}
PLACES = {
    "in the market": "merkate",
    "near the harbor": "por havene",
    "behind the church": "post templore",
    "at the station": "gare",
    "in the village": "vilaje",
    "on the hill": "sur koline",
}
PRONOUNS = {
    "she": Pronoun("ela", is_plural=False),
    "he": Pronoun("elo", is_plural=False),
    "they": Pronoun("eli", is_plural=True),
    "we": Pronoun("noi", is_plural=True),
}
