"""Which models stand together: cats on sofas, lamps beside beds, cars on roads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layercli.data._furniture import Piece
from layercli.data.captions import COMMON_NOUNS, plain_noun, with_article

COMMON_WEIGHT = 4.0
"""How much more often a model is drawn that shows one of the common nouns."""


def _any(words: str) -> str:
    """A pattern that finds any of some words, given with commas between them; `$` ends a name."""
    return "|".join(" ".join(word.split()) for word in words.split(","))


# What a person calls these models; the catalogues' own names are more special, or spelt in parts.
_PLAIN = (
    (r"^(car, beetle|peugeot cc|concept.*|renault.*)$", "car"),
    (r"^yamaha", "motorcycle"),
    (r"^motorbike$", "motorcycle"),
    (r"^bike$", "bicycle"),
    (r"^bulldog, dog$", "bulldog"),
    (r"^sofa seats$|^convertible sofa bz$|^opened convertible", "sofa"),
    (r"^apple i mac$", "computer"),
    (r"^apple i book$", "laptop"),
    (r"^tv :$|^wall flat tv$", "tv"),
    (r"^little lamp$|^pedestal vase lamp$", "lamp"),
    (r"^bended coconut tree$", "coconut tree"),
    (r"^peach blossom$", "peach tree in blossom"),
    (r"^(wooden alder|wooden teak) table$", "wooden table"),
    (r"^armchair ottoman$", "armchair"),
    (r"^toilets unit$", "toilet"),
    (r"^(woman|man) shoes$", "shoes"),
)
# Not for scenes: what hangs, lies flat, sits in the air, belongs in a wall, or means nothing by itself.
_UNFIT = _any(
    r"""
    sitting, lying, holding, mannequin, window, door, plug, switch, socket, curtain, hood, upper\b,
    zones, calendar, swimming pool, parking, arrow, crossing, rail, sidewalk, bill\b, intercom,
    contemporary, \brug, carpet, tatami, mat$, projector, antenna, hanging, escalator, staircase,
    elevator, fluorescent, detector, \block$, emergency, faucet, entry, hanger, chandelier, air
    conditioning, towel, wheelchair, cctv, camera$, blind, column, jacuzzi, porch, \btool$, folded,
    dress$, skirt, trousers, suit$, jacket, short$, \bring$, wall\b, comb$, sponge, pliers, screw,
    socket, paper, toilet brush, toilet paper, cosmetics, flacon, lip stick, plate, \bcard\b, puzzle,
    bootie, glove, mocassin, pencil, ruler, heater, extension, cooktop, track, stand$, utensils,
    workbench, shower head, shower curtain, boiler, creamer, sandpit, diving
    """
)
_SOFT = r"sofa|armchair|\bbed\b|bench|futon|chair"
_HARD = r"table|desk|dresser|chest$|television cabinet|lower cabinet|island$|box$"
_ON_SOFT = _any(
    r"""
    cat$, dog, rabbit, teddy, bag, backpack, ball$, book$, hat$, cap$, guitar, laptop, i book,
    suitcase, gift, box, doll$, helmet, radio, chicken, briefcase, rubik, train, shopping basket,
    wood toy, phone, headphones, joystick, newspaper
    """
)
_ON_HARD = _any(
    r"""
    lamp$, laptop, i book, i mac, vase, plant, flowers, tulips, orchids, lily, cactus, bonsai,
    phone, bottle, bowl, coffee, teapot, cup, clock, tv, book, gift, cake, radio, fan$, aquarium,
    cat$, rabbit, apples, bread, toaster, glass, camera, candle, lantern, ball$, teddy, hat$,
    printer, microwave, mixer, blender, jar, milk, hamburger, fries, hot dog, basket, chess, toy,
    train, xylophone, biplane, car model, deer, speaker, stereo, keyboard, play station, chicken,
    steak, kettle, scale, press, tray, pottery, watch, glasses, headphones, thermometer, bamboo,
    christmas, salad, fruits, knife stand, mug, penbox, stapler, tape, drill, hammer, flashlight,
    doll$, handbag, helmet, cap$, rubik, sushi, squeezer, maker, brewer
    """
)
_BIG = {
    "a living room": _any(
        r"""
        sofa, armchair, bookcase, fireplace, table, piano, cabinet, dresser, shelves, bench
        """
    ),
    "a bedroom": _any(
        r"""
        \bbed\b, wardrobe, dressing table, chest$, cupboard, crib, futon, shelves, mezzanine
        """
    ),
    "a kitchen": _any(
        r"""
        cabinet, sink, fridge, refrigerator, island, oven, freezer, stove, table, washing machine,
        dryer
        """
    ),
    "a bathroom": _any(
        r"""
        vanity, bath$, bathtub, washbasin, shower stall, toilets, clothes washing, bidet
        """
    ),
    "an office": _any(
        r"""
        desk, table, bookcase, box, white board, cabinet
        """
    ),
    "a room": _any(
        r"""
        table, fireplace, piano, workbench, chest$, bookcase, shelves, bench$
        """
    ),
}
_CATEGORIES = {
    "a living room": ("Living room",),
    "a bedroom": ("Bedroom",),
    "a kitchen": ("Kitchen",),
    "a bathroom": ("Bathroom",),
    "an office": ("Office",),
    "a room": ("Living room", "Miscellaneous", "Bedroom", "Office"),
}
_FLOOR = _any(
    r"""
    chair, stool, sofa, table, \bbed\b, plant, lamp$, man$, boy, girl, dog, cat$, rabbit, chicken,
    guitar, vase, ball$, barrel, box, crate, fan$, suitcase, speaker, gift, tree, bonsai, ficus,
    yucca, teddy, rocking horse, doll house, bin$, trash, safe, cabinet, backpack, radiator, cone,
    extinguisher, basket, step ladder, bicycle, bike, skateboard, stroller, umbrella, piano, pouf,
    potty, washing machine, fridge, tulips, flowers, lily, orchids, spathiphyllum, bamboo, cactus,
    helmet, tricycle, scooter, trunck, \bbench, desk, snowman, pottery, lantern, toilets, bidet,
    water cooler, drawers
    """
)
OUTDOORS = {
    "yard": (
        ("a yard with grass and sky", "a garden", "a park", "a meadow", "green fields"),
        _any(
            r"""
            tree, bush, palm, pine$, poplar, bamboo, hedge, hut, tent, fountain, hammock, swing,
            umbrella, maple, ficus, trampoline, children game, goal, dog house, stone lantern, bench
            """
        ),
    ),
    "beach": (
        ("a beach",),
        _any(
            r"""
            palm, coconut, umbrella, beach chair, pool lounge, rowboat, rock
            """
        ),
    ),
    "snow": (
        ("a snowy landscape",),
        _any(
            r"""
            under snow, camping tent, dog house, rock
            """
        ),
    ),
    "desert": (
        ("a desert",),
        _any(
            r"""
            rock, camping tent, palm tree
            """
        ),
    ),
}
_OUT_FLOOR = {
    "yard": _any(
        r"""
        \bbench, chair, table, man$, boy, girl, dog, cat$, horse, rabbit, chicken, ball$, bicycle,
        bike, scooter, hydrant, trash, wheelbarrow, mower, rowboat, barrel, swing, seesaw, umbrella,
        plant, flower, mailbox, snowman, lounge, lantern, cone, rattan, tricycle, skateboard,
        motorbike, yamaha, car$, tree, fountain, hut, tent, hose
        """
    ),
    "beach": _any(
        r"""
        beach chair, lounge, umbrella, ball$, man$, boy, girl, dog, rowboat, bicycle, chair, table,
        guitar, hat$, palm
        """
    ),
    "snow": _any(
        r"""
        snowman, man$, boy, girl, dog, horse, car$, truck, bus, house, rabbit, cat$, suv, van,
        camping tent, fork lift
        """
    ),
    "desert": _any(
        r"""
        car$, truck, horse, suv, motorbike, yamaha, bus$, man$, barrel, dog, chair, cactus, fork
        lift, van, tent
        """
    ),
}
_ROAD = _any(
    r"""
    car$, bus, truck, van$, beetle, bicycle, bike, scooter, yamaha, motorbike, man$, boy, girl, dog,
    hydrant, street l, lamppost, bench, trash, mailbox, cone, tricycle, skateboard, stroller, fork
    lift, peugeot, cat$, park light
    """
)
_OUTSIDE = ("Exterior", "Vehicles", "Characters", "Miscellaneous")
_VEHICLE = r"car$|bus|truck|van$|beetle|peugeot|fork lift|suv"


@dataclass(frozen=True)
class Place:
    """kind: "room", "road", "yard", "beach", "snow" or "desert"; name: what a caption calls it."""

    kind: str
    name: str

    def told(self, things: Sequence[str], rng: np.random.Generator) -> str:
        """A caption of the place and of things in it: "a sofa", "a kitchen", "a table in a kitchen"."""
        if not things:
            empty = self.kind == "room" and rng.random() < 0.2
            return f"an empty {self.name.split(' ', 1)[1]}" if empty else self.name
        where = {"city buildings": "in front of", "a road": "on", "a street": "on", "a beach": "on"}
        both = f"{' and '.join(things)} {where.get(self.name, 'in')} {self.name}"
        if self.kind == "room":
            return str(rng.choice([things[0], self.name, both], p=[0.45, 0.3, 0.25]))
        return str(rng.choice([self.name, both], p=[0.6, 0.4]))


def called(piece: Piece) -> str:
    """A piece with its article, in the words of a caption."""
    return with_article(
        next((plain for pattern, plain in _PLAIN if re.search(pattern, piece.name)), piece.name)
    )


class Cast:
    """The pieces that a scene may use, and how often each is drawn."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = [
            piece
            for piece in pieces
            if not piece.in_wall
            and piece.above < 0.15
            and not re.search(_UNFIT, piece.name)
            and max(piece.size) >= 0.08
            and max(piece.size[:2]) < 14.5
        ]
        self._names = {piece.model: called(piece) for piece in self.pieces}
        self._nouns = nouns = {model: plain_noun(name) for model, name in self._names.items()}
        self._fits: dict[tuple[str, tuple[str, ...]], list[Piece]] = {}
        counts = Counter(nouns[piece.model] or piece.name for piece in self.pieces)
        self._weight = {
            piece.model: (COMMON_WEIGHT if nouns[piece.model] in COMMON_NOUNS else 1.0)
            / counts[nouns[piece.model] or piece.name] ** 0.7
            for piece in self.pieces
        }

    def draw(
        self,
        rng: np.random.Generator,
        wanted: str,
        *,
        categories: Sequence[str] = (),
        size: tuple[float, float] = (0.0, 99.0),
        but: Sequence[Piece] = (),
    ) -> Piece | None:
        """A piece whose name fits, of some categories, its longest side within limits, unlike others."""
        taken = {self._names[piece.model] for piece in but}
        taken |= {noun for piece in but if (noun := self._nouns[piece.model])}
        fitting = [
            piece
            for piece in self._fitting(
                wanted if isinstance(wanted, str) else wanted.pattern, tuple(categories)
            )
            if size[0] <= max(piece.size) <= size[1]
            and self._names[piece.model] not in taken
            and self._nouns[piece.model] not in taken
        ]
        if not fitting:
            return None
        weights = np.array([self._weight[piece.model] for piece in fitting]).cumsum()
        return fitting[min(int(np.searchsorted(weights, rng.random() * weights[-1])), len(fitting) - 1)]

    def _fitting(self, wanted: str, categories: tuple[str, ...]) -> list[Piece]:
        """The pieces of some categories, or of all, whose names fit."""
        key = wanted, categories
        if key not in self._fits:
            self._fits[key] = [
                piece
                for piece in self.pieces
                if re.search(wanted, piece.name) and (not categories or piece.category in categories)
            ]
        return self._fits[key]

    def place(self, rng: np.random.Generator) -> Place:
        """Where a scene is set."""
        kind = str(
            rng.choice(
                ["room", "road", "yard", "beach", "snow", "desert"], p=[0.6, 0.13, 0.15, 0.05, 0.04, 0.03]
            )
        )
        if kind == "room":
            share = [0.34, 0.24, 0.14, 0.05, 0.13, 0.1]
            return Place(kind, str(rng.choice(list(_BIG), p=share)))
        if kind == "road":
            return Place(kind, str(rng.choice(["a road", "a street", "city buildings"])))
        return Place(kind, str(rng.choice(OUTDOORS[kind][0])))

    def behind(self, place: Place, count: int, rng: np.random.Generator) -> list[Piece]:
        """Big pieces of a place's background."""
        found: list[Piece] = []
        for _ in range(count):
            if place.kind == "room":
                piece = self.draw(
                    rng, _BIG[place.name], categories=_CATEGORIES[place.name], size=(0.7, 4), but=found
                )
            elif place.kind == "road":
                piece = self.draw(
                    rng, r"tree|bus|truck|van$|bench|street l|lamppost|car$", size=(1.0, 14), but=found
                )
            else:
                piece = self.draw(
                    rng,
                    OUTDOORS[place.kind][1],
                    categories=("Exterior", "Miscellaneous"),
                    size=(0.6, 13),
                    but=found,
                )
            if piece is not None:
                found.append(piece)
        return found

    def standing(
        self, place: Place, but: Sequence[Piece], beside: Sequence[Piece], rng: np.random.Generator
    ) -> Piece | None:
        """Something for a foreground that stands on the ground, not dwarfed by the others there."""
        sizes = [max(piece.size) for piece in beside] or [1.0]
        low, high = (0.3 * max(sizes), 3.3 * min(sizes)) if beside else (0.0, 99.0)
        if place.kind == "room":
            own = (*_CATEGORIES[place.name], "Characters", "Lights", "Miscellaneous", "Living room")
            return self.draw(rng, _FLOOR, categories=own, size=(max(0.3, low), min(2.6, high)), but=but)
        if place.kind == "road":
            return self.draw(rng, _ROAD, size=(max(0.4, low), min(13, high)), but=but)
        return self.draw(
            rng, _OUT_FLOOR[place.kind], categories=_OUTSIDE, size=(max(0.3, low), min(9, high)), but=but
        )

    def support(self, place: Place, rng: np.random.Generator) -> Piece | None:
        """Something that others can stand on."""
        if place.kind == "room":
            return self.draw(rng, f"{_SOFT}|{_HARD}", categories=_CATEGORIES[place.name], size=(0.4, 3.0))
        return self.draw(rng, r"bench|table|chair", categories=("Exterior",), size=(0.4, 3.0))

    def carried(self, support: Piece, but: Sequence[Piece], rng: np.random.Generator) -> Piece | None:
        """Something small for a support to carry."""
        most = 0.8 * min(1.0, max(support.size[:2]))
        return self.draw(
            rng, _ON_SOFT if is_soft(support) else _ON_HARD, size=(0.1, most), but=[support, *but]
        )


def is_soft(piece: Piece) -> bool:
    """Whether people sit or lie on it."""
    return bool(re.search(_SOFT, piece.name)) and not re.search(r"table|desk", piece.name)


def facing(piece: Piece, rng: np.random.Generator) -> float:
    """How a free-standing piece is turned, in degrees: vehicles and animals are known by their side."""
    if re.search(
        r"horse|dog|bicycle|bike|scooter|yamaha|motorbike|rowboat|bench|skateboard|tricycle", piece.name
    ) or re.search(_VEHICLE, piece.name):
        return float(rng.choice([-1, 1]) * rng.uniform(30, 110))
    return float(rng.uniform(-50, 50))
