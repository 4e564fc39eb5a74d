"""The grammar of the calls: sentences by role, and what may stand in their slots.

``{slot}`` is filled from `SLOTS`; ``<written|spoken>`` is written one way and said another, so
that what is said always decides what is written. ``--`` is a short pause, brackets hold a guess of
the transcriber. All names are invented.
"""

_TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 80: "eighty"}
_DIGITS = {
    1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight",
    9: "nine",
}  # fmt: skip
_TEENS = {10: "ten", 11: "eleven", 12: "twelve", 15: "fifteen", 18: "eighteen"}
_PERCENTS = {**_DIGITS, **_TEENS, **_TENS}
_YEARS = {2015: "fifteen", 2016: "sixteen", 2017: "seventeen", 2018: "eighteen"}
_MEASURES = [
    "revenue", "net income", "operating income", "gross profit", "adjusted <EBITDA|eebitdah>",
    "free cash flow", "net sales", "service revenue", "cash from operations", "pretax profit",
]  # fmt: skip
_RATIOS = ["gross margin", "operating margin", "the tax rate", "our market share"]


def _capital(phrases: list[str]) -> list[str]:
    return [phrase[0].upper() + phrase[1:] for phrase in phrases]


SLOTS: dict[str, list[str]] = {
    "pct": [f"<{n}%|{word} percent>" for n, word in _PERCENTS.items()],
    "half_pct": [f"<{n}.5%|{_DIGITS[n]} point five percent>" for n in range(1, 9)],
    "any_pct": ["{pct}", "{pct}", "{pct}", "{half_pct}"],
    "billions": [
        f"<${n}.{d}|{_DIGITS[n]} point {_DIGITS[d]}> <billion|billion dollars>"
        for n in range(1, 9)
        for d in (2, 4, 5, 8)
    ],
    "millions": [
        f"<${n}|{word}> <million|million dollars>"
        for n, word in {10: "ten", 12: "twelve", 15: "fifteen", **_TENS}.items()
    ],
    "money": ["{billions}", "{millions}"],
    "eps": [f"<$0.{n}|{word} cents>" for n, word in _TENS.items()],
    "bps": [f"<{n}|{word}> basis points" for n, word in _TENS.items()],
    "year": [f"<{n}|twenty {word}>" for n, word in _YEARS.items()],
    "few": ["two", "three", "four", "five", "six"],
    "ordinal": ["first", "second", "third", "fourth"],
    "quarter": [
        "the {ordinal} quarter", "the {ordinal} quarter", "<Q1|Q one>", "<Q2|Q two>",
        "<Q3|Q three>", "<Q4|Q four>",
    ],
    "period": ["{quarter}", "{quarter}", "fiscal {year}", "the first half", "the full year"],
    "past": ["last year", "the prior year", "last quarter"],
    "rise": ["grew", "increased", "improved", "rose"],
    "fall": ["declined", "decreased", "fell"],
    "change": ["{rise}", "{rise}", "{fall}"],
    "measure": _MEASURES,
    "Measure": _capital(_MEASURES),
    "ratio": _RATIOS,
    "Ratio": _capital(_RATIOS),
    "region": [
        "North America", "Europe", "Asia", "Latin America", "the <U.S.|U S>", "Canada", "China",
        "Germany", "Brazil", "Japan", "Mexico", "India", "Australia",
    ],
    "segment": [
        "software", "energy", "consumer", "industrial", "medical", "cloud", "retail", "wireless",
        "chemical", "insurance", "transportation", "advertising",
    ],
    "business": ["our {segment} business", "the {segment} segment", "our {segment} unit"],
    "help": [
        "higher volume", "lower costs", "better pricing", "strong demand", "new customers",
        "our recent acquisition", "favorable currency", "improved productivity",
        "our digital platform", "government contracts",
    ],
    "drag": [
        "weak demand", "the stronger dollar", "higher raw material costs", "bad weather",
        "supply chain delays", "lower oil prices", "tough competition",
    ],
    "cause": ["{help}", "{drag}"],
    "up": ["{rise} {any_pct}, driven by {help}", "{rise} {any_pct}, helped by {help}"],
    "down": ["{fall} {any_pct}, mainly because of {drag}", "{fall} {any_pct}, hurt by {drag}"],
    "moved": ["{up}", "{up}", "{down}"],
    "adjective": ["strong", "solid", "record", "excellent", "encouraging"],
    "action": [
        "reduce our debt", "invest in {business}", "expand in {region}", "open {few} new plants",
        "return cash to shareholders", "lower our operating expenses", "buy back shares",
        "launch {few} new products", "hire more people in {region}", "close {few} old facilities",
    ],
    "doing": [
        "reducing our debt", "investing in {business}", "expanding in {region}",
        "opening {few} new plants", "returning cash to shareholders", "launching new products",
        "building our sales force", "simplifying our organization",
    ],
    "topic": [
        "the outlook for {quarter}", "the trends in {region}", "pricing in {region}",
        "capital spending", "the {segment} segment", "customer demand in {region}",
        "the order backlog", "the restructuring program", "the regulatory approval in {region}",
        "the integration of the acquisition", "working capital", "inventory levels",
        "the joint venture in {region}",
    ],
    "hope": ["expect", "believe", "think"],
    "guess": ["[theoretically]", "[potentially]", "[essentially]", "[sequentially]"],
    "filler": ["--", "-- well,", "-- you know,"],
    "woman": ["Sarah", "Anna", "Laura", "Emma", "Julia", "Maria", "Helen"],
    "man": ["David", "Michael", "Peter", "James", "Robert", "Thomas", "Daniel"],
    "family": [
        "Miller", "Carter", "Bennett", "Foster", "Parker", "Turner", "Collins", "Morgan",
        "Walker", "Palmer", "Hudson", "Stevens",
    ],
    "firm": [
        "Redwood Capital", "Lakeside Securities", "Summit Research", "Harbor Partners",
        "Northern Bank", "Silver Creek", "Crown Advisors", "Maple Street",
    ],
    "company": [
        "Atlas Energy", "Blue River", "Delta Foods", "Eastern Steel", "Global Networks",
        "Pioneer Software", "Golden Valley", "United Medical", "Falcon Airlines",
        "Liberty Motors",
    ],
    "part_of_day": ["morning", "afternoon", "evening"],
}  # fmt: skip

SENTENCES: dict[str, list[str]] = {
    "operator_opening": [
        "Good {part_of_day}, and welcome to the {company} {ordinal} quarter {year} earnings call.",
        "Ladies and gentlemen, welcome to the {company} conference call for {quarter} of {year}.",
    ],
    "operator_handover": [
        "I would now like to turn the call over to {who}, <CEO|C E O>.",
        "{who} will begin in a moment. Please go ahead, {first}.",
        "At this time, all participants are in a listen-only mode. Please go ahead, {first}.",
        "This call is being recorded, and a replay will be available on our website.",
    ],
    "operator_question": [
        "Our next question comes from {who} with {firm}.",
        "We will go next to {who} of {firm}.",
        "The next question is from the line of {who} from {firm}.",
        "Your next question comes from {who} of {firm}. Please go ahead.",
    ],
    "operator_closing": [
        "This concludes the {company} {ordinal} quarter conference call. You may now disconnect.",
        "Thank you for joining the {company} call, and have a good {part_of_day}.",
    ],
    "presenter_opening": [
        "Thank you, operator, and good {part_of_day}, everyone. With me is {who}, our <CFO|C F O>.",
        "Before we begin, let me thank our {segment} team in {region} for a {adjective} quarter.",
        "Today I will talk about {topic} and {topic}.",
    ],
    "ceo": [
        "We delivered {adjective} results in {period}, driven by {help}.",
        "In {region}, {business} {moved}.",
        "We remain focused on {doing} and {doing}.",
        "In {period}, we plan to {action} and {action}.",
        "Our customers in {region} are asking for more {segment} products.",
        "We saw {adjective} demand for {segment} products in {region}.",
        "I am very pleased with {topic}, and we {hope} that it will continue.",
        "We signed {few} new contracts in {region} worth {money}.",
        "Our {segment} team in {region} delivered a {adjective} quarter.",
        "We continue to see {cause} in {region} and {cause} in {region}.",
        "We are on track to {action} by the end of {year}.",
        "Looking ahead to {period}, we {hope} that {business} will grow {any_pct}.",
        "Despite {drag} in {region}, {business} gained market share in {period}.",
        "Over the next {few} years, we will {action} and {action}.",
        "The board has approved a plan to {action}, which should save {money} by {year}.",
        "Employees across {region} worked hard on {topic} during {period}.",
    ],
    "cfo": [
        "{Measure} for {quarter} was {money}, up {any_pct} from {past}.",
        "{Measure} for {quarter} was {money}, down {any_pct} from {past}.",
        "{Measure} {change} {any_pct} to {money} in {period}.",
        "{Measure} {moved}.",
        "{Ratio} {change} by {bps} to {any_pct} in {period}.",
        "Earnings per share were {eps}, compared with {eps} in {quarter} of {year}.",
        "We ended the quarter with {money} in cash and {money} in debt.",
        "For fiscal {year}, our guidance for {measure} is {money} to {money}.",
        "In {business}, {measure} {moved}.",
        "We spent {money} on capital projects and {money} on <R&D|R and D>.",
        "We paid {money} in dividends and bought back {money} of our shares.",
        "Excluding one-time items, {measure} {change} {any_pct} in {region}.",
        "Turning to {business}, {measure} was {money} in {quarter}.",
        "We {hope} that {ratio} will be about {any_pct} in {period}.",
        "Depreciation was {money}, and interest expense was {money}.",
        "The {segment} segment generated {money}, or {any_pct} of total {measure}.",
    ],
    "question": [
        "Can you talk about {topic} and how it affects {measure}?",
        "My question is about {topic}. What do you expect in {period}?",
        "How should we think about {topic} in {period}?",
        "Thanks for taking my question. Could you give us more color on {topic}?",
        "Is the growth in {region} driven by {help} or by {help}?",
        "And then just a follow-up on {topic}. Is {money} still the right number?",
        "I wonder {filler} what is behind the change in {measure} in {region}?",
        "Do you still plan to {action} in {period}?",
        "What was the impact of {cause} on {ratio} in {quarter}?",
        "When do you plan to {action}, and what will it cost?",
        "Could you remind us why {measure} in {region} {change} so much?",
    ],
    "answer": [
        "Yes, we {hope} that {topic} will improve in {period}.",
        "Sure. In {region}, {measure} {moved}.",
        "That is a good question. We are still {doing} in {period}.",
        "We {filler} we {hope} that {business} will grow {any_pct} in {period}.",
        "As I said, we want to {action} before we {action}.",
        "The impact of {cause} was about {money} in {quarter}.",
        "I would say that {topic} is {guess} {adjective}.",
        "No, we do not see {drag} in {region}, but we do see {drag} in {region}.",
        "About {pct} of that is {cause}, and the rest is {cause}.",
        "It is too early to talk about {topic}, but {measure} should be close to {money}.",
        "Let me answer that. We always said that {topic} takes time.",
    ],
    "thanks": [
        "Great, thank you very much, {first}.",
        "Okay, that is helpful. Thanks, {first}.",
        "Thank you, {first}, and congratulations on the {adjective} quarter.",
    ],
    "presenter_closing": [
        "Thank you all for your questions and your interest in {company}.",
        "We look forward to talking with you again after {quarter}.",
    ],
    "quotes": [
        'Demand for our <12"|twelve inch> {segment} products {change} {any_pct} in {region}.',
        'Our customers in {region} call the new product "excellent", and so do we.',
    ],
    "hash": ["We are still <#1|number one> in {region} and <#2|number two> in {region}."],
    "untranscribed": [
        "To ask a question, please press star and then one on your telephone keypad.",
        "If you need assistance during the call, please press star and then zero.",
    ],
}
