"""The words of the demo: topics with their questions and tips, manners, and sentences that say little.

Words of the question frames stand in no answer and words of the manners in no tip, so that a programmatic measure of
one quality does not move with another.

Leaves out: sense beyond the sentence, because the demo's judge measures words: an answer off topic is another topic's.
"""

from __future__ import annotations

from typing import NamedTuple


class Task(NamedTuple):
    """Something a user wants to do; ``{x}`` stands for one of the topic's things."""

    ask: str
    tips: tuple[str, str, str]


class Topic(NamedTuple):
    """A field of questions: each of its tasks can be asked of each of its things."""

    things: tuple[str, ...]
    tasks: tuple[Task, ...]


TOPICS = (
    Topic(
        ("tomatoes", "beans", "carrots", "apples", "berries", "peppers"),
        (
            Task("grow {x}", ("plant the {x} in rich soil", "water the {x} every morning", "keep the {x} in the sun")),
            Task("keep bugs off {x}", ("wash the {x} with soap", "cover the {x} with a net", "pick bugs off the {x}")),
            Task("pick {x}", ("wait until the {x} are ripe", "cut the {x} with a knife", "put the {x} in a basket")),
        ),
    ),
    Topic(
        ("soup", "rice", "pasta", "potatoes", "noodles", "eggs"),
        (
            Task("cook {x}", ("boil the {x} for ten minutes", "add salt to the {x}", "stir the {x} with a spoon")),
            Task("store {x}", ("put the {x} in a glass jar", "cool the {x} on ice", "eat the {x} within two days")),
            Task("serve {x}", ("serve the {x} in warm bowls", "put butter on the {x}", "bring the {x} to the table")),
        ),
    ),
    Topic(
        ("dogs", "cats", "rabbits", "horses", "birds", "goats"),
        (
            Task("train {x}", ("reward the {x} with food", "repeat each word to the {x}", "walk the {x} before noon")),
            Task("feed {x}", ("give the {x} dry food", "fill the bowl of the {x}", "weigh the food of the {x}")),
            Task("calm {x}", ("speak to the {x} slowly", "give the {x} a dark room", "stroke the {x} by hand")),
        ),
    ),
    Topic(
        ("bikes", "cars", "clocks", "radios", "chairs", "doors"),
        (
            Task("repair {x}", ("turn the screws of the {x}", "put oil on the {x}", "change old parts of the {x}")),
            Task("clean {x}", ("rub the {x} with a wet cloth", "brush the dust off the {x}", "dry the {x} in the air")),
            Task(
                "paint {x}", ("sand the {x} before noon", "use two thin coats on the {x}", "let the {x} dry for days")
            ),
        ),
    ),
    Topic(
        ("Spanish", "maths", "music", "history", "chess", "poetry"),
        (
            Task("learn {x}", ("read about {x} every morning", "take notes on {x}", "find a teacher of {x}")),
            Task("teach {x}", ("start {x} with a game", "draw {x} on a board", "use cards for {x}")),
            Task("practise {x}", ("repeat {x} for ten minutes", "say {x} aloud all morning", "sleep well after {x}")),
        ),
    ),
    Topic(
        ("Paris", "Rome", "London", "Tokyo", "Egypt", "Norway"),
        (
            Task("visit {x}", ("take the night train to {x}", "find a room in {x}", "see the old town of {x}")),
            Task("pack for {x}", ("pack a warm coat for {x}", "carry a small bag to {x}", "take a map of {x}")),
            Task("save money in {x}", ("eat at the market in {x}", "walk in {x} by day", "use a bus card in {x}")),
        ),
    ),
)

GREETINGS = ("", "", "Hello. ", "Hi there. ", "Excuse me. ")
FRAMES = (
    "How do I {ask}?",
    "How can I {ask}?",
    "How should my sister {ask}?",
    "What is the best way to {ask}?",
    "Can you tell me how to {ask}?",
    "Could you explain how to {ask}?",
    "I want to {ask}. Any advice?",
    "My brother wants to {ask}. Where to begin?",
)
SUFFIXES = ("", "", " I am new to this.", " I have tried twice.", " We have little time.", " It is urgent.")

POLITE_OPENERS = (
    "Thank you for asking.",
    "I am glad you ask.",
    "I am happy to help.",
    "What a lovely question.",
    "Of course, with pleasure.",
)
POLITE_CLOSERS = (
    "Please write again, I am glad to help.",
    "Thank you, and good luck.",
    "I wish you a lovely evening.",
    "You are very welcome, dear friend.",
)
# The first half insults the reader, the second half only brushes him off: toxicity is not the same as bad manners.
INSULT_OPENERS = ("What a stupid question.", "Shut up and listen, you idiot.", "Only a fool asks that.")
INSULT_CLOSERS = ("You are a hopeless idiot.", "Now shut up, you fool.", "Even a moron knows it.")
DISMISSIVE_OPENERS = ("Not my problem.", "Whatever.", "Who cares.")
DISMISSIVE_CLOSERS = ("Now leave me alone.", "Whatever, I do not care.", "Stop bothering me and go away.")

ANSWERS = ("To {ask}, {tip}.", "If you want to {ask}, {tip}.", "{tip}.")
SECOND_TIPS = ("Then {tip}.", "After that, {tip}.")
FILLERS = (
    "There is a lot more to say about {x}, as many people know.",
    "It takes some work with {x}, but in the end it is worth it.",
    "All in all {x} may seem hard at first.",
)
DECLINES = ("I do not know how to {ask}.", "I cannot say how to {ask}.", "Nobody can tell how to {ask}.")
SECOND_DECLINES = ("So there is no answer about {x} from me.", "That is all there is to say about {x}.")
