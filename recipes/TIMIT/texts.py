"""What the speakers of the synthetic corpus read.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import re

# What all speakers read.
SA_TEXTS = [
    "Would you please put that yellow bowl back above the washing machine?",
    "The noisy boys usually share fresh orange juice with their father.",
]

# Each is for one of the words that the paper's networks tell apart. No text
# has "in the", "on the", "for a" and the like: espeak-ng speaks them as one
# word, and does not tell where the second one starts.
SX_TEXTS = [
    "My uncle is making a bookcase using old oak boards.",
    "They were walking along the beach before the storm.",
    "Somebody is cooking fish and onions downstairs.",
    "The pilot kept looking around until a field appeared.",
    "Our printer stopped working during the first week of July.",
    "The painting shows a biblical scene with three shepherds.",
    "Sales of garden tools are cyclical by nature.",
    "A technical fault delayed the evening train.",
    "She plays classical guitar at least an hour each day.",
    "The next four hours will be critical, said the nurse.",
    "Baking bread at Easter is a tradition here.",
    "That kitchen is a pleasant addition to our house.",
    "Her voice shook throughout the whole audition.",
    "My brother finally got the recognition he deserved.",
    "Five choirs will join the competition this August.",
    "Two musicians shared a taxi to the theater.",
    "Long discussions about money made everyone tired.",
    "Our harbor has strict regulations about large boats.",
    "He answered all accusations with a calm smile.",
    "Icy conditions closed both mountain roads.",
    "A young man sold roses outside the subway.",
    "The judge gave those lawyers very little leeway.",
    "Thick fog covered the freeway until noon.",
    "Wild horses were grazing beside the highway.",
    "Muddy boots have no place anywhere near our hallway.",
]

# Each such text is read by one speaker only.
SI_TEMPLATES = [
    "the {adjective} {person} {adverb} {verb} {which} {thing} {place}",
    "{time}, {which} {person} {verb} {which} {adjective} {thing}",
    "when the {person} {verb} {which} {thing}, the {adjective} {person} {verb} "
    "{which} {thing}",
    "{which} {thing} {place} was {adjective} and {adverb} {adjective}",
]
VOCABULARY = {
    "which": "another every her his my no our that the their this your",
    "person": """actor admiral artist astronaut baker barber brother butcher
        captain carpenter chemist child cousin dancer daughter dentist doctor
        driver editor engineer farmer fireman gardener girl governor guard
        hunter inspector janitor jeweler lawyer librarian manager mechanic
        merchant miner mother neighbor nephew painter physician pilot plumber
        poet professor reporter sailor scientist secretary sheriff singer
        soldier student surgeon tailor teacher thief tourist waitress widow""",
    "adjective": """ancient angry awkward beautiful blue brave bright broken
        careful cheap clever cold curious dirty dusty eager elegant empty
        enormous faithful famous foreign friendly fragile gentle giant golden
        gray greedy green handsome happy heavy honest humble jealous jolly lazy
        lonely loud lucky mysterious narrow nervous patient peculiar pink polite
        proud purple quiet rare royal rusty shallow sharp shiny shy silent
        silver simple sleepy slow smooth soft strange stubborn thin tiny ugly
        unusual vague warm weary white wise wooden young""",
    "thing": """album anchor apple arrow basket bicycle blanket book bottle
        bridge bucket button camera candle carriage chair cheese clock coat coin
        couch curtain diamond diary drawer engine envelope feather fence flag
        flute fountain garage hammer hat jacket jar jewel jug kettle key ladder
        lamp lantern letter lizard map measure mirror mushroom necklace
        newspaper oyster package parrot peach pencil piano picture pigeon pillow
        pitcher pumpkin puzzle rocket rope sandwich saucer scarf shovel suitcase
        sweater table telescope ticket tower toy treasure trumpet umbrella vase
        vegetable violin wagon watch wheel whistle window zipper""",
    "verb": """admired arranged borrowed bought brushed buried carried chose
        cleaned collected copied decorated delivered described destroyed
        discovered dropped enjoyed examined exchanged fetched finished folded
        followed forgot found guarded hid ignored imagined inspected kept liked
        lost measured mended mentioned moved needed noticed offered ordered
        owned packed painted photographed polished protected pushed recognized
        refused remembered repaired sketched stole studied threw touched visited
        washed wanted watched wrapped""",
    "adverb": """again always badly boldly carefully cheerfully eagerly easily
        gladly gently hardly hastily never nicely nearly often once patiently
        proudly quickly quietly rarely really secretly seldom slowly suddenly
        surely""",
    "place": """above_the_station across_the_river after_breakfast at_school
        among_the_tall_trees at_the_airport before_the_exam behind_the_church
        below_the_cliff beside_the_oil_pump between_two_oaks by_the_fireplace
        during_the_voyage inside_the_tent near_the_zoo next_to_the_bank
        outside_the_attic over_the_weekend through_the_tunnel upon_the_hill
        under_the_stairs with_great_pleasure without_any_reason""",
    "time": """after_lunch as_usual at_midnight before_sunrise by_chance
        every_Tuesday last_winter late_Friday long_ago one_foggy_morning
        soon_afterwards this_year two_weeks_later yesterday""",
}


def draw_si_texts(count, rng):
    """Different sentences, by the templates.

    Arguments
    ---------
    count : int
        Their number.
    rng : random.Random
        For what is drawn.

    Returns
    -------
    list
        The sentences.
    """
    vocabulary = {name: words.split() for name, words in VOCABULARY.items()}
    texts = {}
    while len(texts) < count:
        text = re.sub(
            "{(.*?)}",
            lambda match: rng.choice(vocabulary[match[1]]),
            rng.choice(SI_TEMPLATES),
        ).replace("_", " ")
        texts[text[0].upper() + text[1:] + "."] = None
    return list(texts)
