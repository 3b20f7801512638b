"""Words that the rules of core.splitting go by: what stands where in a plain English description."""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    """The words of a text, each once."""
    return frozenset(words.split())


DETERMINERS = _set(
    """a an the this that these those some several many few one two three four five six seven eight nine
    ten dozens his her their my your our its another both each every"""
)
POSSESSIVES = _set("his her their my your our its")
NUMBERS = {"two": 2, "three": 3, "four": 4, "2": 2, "3": 3, "4": 4}
PRONOUNS = _set("it them him her us me itself themselves himself herself one another")

#: Longer ones first: what begins a place.
PREPOSITIONS = (
    "in front of", "in the middle of", "in the center of", "in the centre of", "at the edge of",
    "at the foot of", "on the edge of", "on the side of", "on the top of", "on top of", "at the top of",
    "inside of", "outside of", "out of", "on", "onto", "upon", "in", "inside", "into", "at", "against",
    "among", "amid", "amidst", "between", "across", "along", "through", "around", "outside", "within",
    "under", "underneath", "beneath", "below", "above", "over", "atop", "aboard", "during", "towards",
    "toward", "past", "down", "up", "pinned to", "attached to", "tied to", "taped to", "stuck to",
)  # fmt: skip
#: What stands at a thing's side: a thing too, or a place.
BESIDE = ("next to", "beside", "close to", "near", "by", "alongside", "opposite")
#: What stands behind: then the other thing is in front of it.
BEHIND = ("from behind", "behind")
TOGETHER = ("together with", "along with", "accompanied by", "as well as", "and also", "plus")

PLACES = _set(
    """beach sea ocean lake river pond pool waterfall shore coast coastline bay harbor harbour island
    seaside forest wood woods jungle field fields meadow meadows garden park yard backyard lawn grass
    desert dune dunes mountain mountains hill hills valley canyon cliff cliffs volcano glacier cave
    landscape countryside farm farmland vineyard orchard prairie savanna savannah swamp snow ice mud
    sand water sky clouds space galaxy stars sunset sunrise night moonlight dusk dawn horizon fog mist
    rain street road highway alley square plaza city town village downtown skyline market station
    airport port bridge pier dock sidewalk pavement crosswalk parking lot stadium playground courtyard
    rooftop room bedroom kitchen bathroom office classroom library museum gallery hall hallway corridor
    studio restaurant cafe bar shop store supermarket church temple theater theatre stage gym garage
    attic basement wall floor carpet rug window windowsill fireplace fire campfire balcony porch terrace
    patio counter background backdrop scene scenery environment interior jungle ruins runway track
    tracks underwater"""
)
"""Heads of phrases that are a place by themselves: what lies behind, not what stands in front."""

MOMENTS = _set(
    """night sunset sunrise dusk dawn noon midnight twilight daytime day morning evening afternoon winter
    summer spring autumn fall rain snow fog mist storm thunderstorm moonlight sunlight sunshine dark
    darkness wind"""
)
"""When, and in which weather: no place, but a part of what lies behind."""

WORN = _set(
    """dress suit hat cap coat shirt tshirt jacket uniform armor armour costume kimono boots shoes glasses
    sunglasses jeans scarf helmet sweater hoodie gown robe cape skirt apron tuxedo outfit clothes
    clothing tie spacesuit pajamas swimsuit bikini gloves socks crown mask veil vest raincoat black
    white red blue green pink yellow love motion flight mid-air midair color colour bloom"""
)
CONTAINERS = _set(
    """vase pot bowl cup mug glass jar basket box bottle bucket bag cage frame plate dish tray saucer pan
    teacup flowerpot crate backpack stroller wheelchair leash chain rope stick string stem branch perch"""
)
CARRIERS = _set(
    """horse horseback bicycle bike motorcycle motorbike scooter skateboard surfboard snowboard skis skates
    camel elephant donkey pony broom broomstick unicycle sled sleigh wheels fire foot tiptoe legs"""
)
ANIMATE = _set(
    """cat dog man woman child boy girl kid baby horse bird puppy kitten kitty rabbit bear fox wolf lion
    tiger elephant cow pig sheep goat duck chicken parrot owl deer mouse robot friend person astronaut
    knight monkey penguin squirrel family mother father brother sister couple king queen dragon unicorn
    wizard cats dogs men women children boys girls kids puppies kittens friends people birds horses"""
)

ADJECTIVES = _set(
    """red blue green yellow orange purple pink black white gray grey brown golden gold silver beige violet
    small big large tall short tiny huge little old young new cute fluffy happy sad beautiful bright
    dark light soft shiny wet dry long hot cold warm cozy modern ancient vintage round square wooden
    colorful colourful furry fat thin lazy sleepy brave majestic rusty broken fresh ripe juicy elegant
    simple clean dirty rainy sunny snowy foggy stormy cloudy windy busy quiet empty crowded striped
    spotted lovely"""
)

BUILT = _set(
    """bridge tower fireplace rug carpet station church temple cafe window bar pier campfire fire volcano
    island waterfall cave restaurant shop farm theater store stage counter"""
)
"""Places that are things too, where another place is told."""

#: Verbs that only say where something is: the place says it as well.
STATIC = _set(
    """sitting standing lying laying parked placed located situated seated set resting positioned hanging
    leaning stationed left kept surrounded displayed shown seen found perched mounted waiting staying
    put"""
)
#: Verbs whose other forms are known: base -> participle.
VERBS = dict(
    entry.split(":")
    for entry in _set(
        """sit:sitting stand:standing lie:lying sleep:sleeping run:running walk:walking fly:flying
        swim:swimming jump:jumping play:playing float:floating hang:hanging rest:resting wait:waiting
        graze:grazing dance:dancing sing:singing bark:barking climb:climbing sail:sailing drive:driving
        ride:riding read:reading eat:eating drink:drinking chase:chasing hold:holding look:looking
        lean:leaning glow:glowing burn:burning smile:smiling hover:hovering crawl:crawling grow:growing
        bloom:blooming fall:falling rise:rising shine:shining work:working cook:cooking fish:fishing
        hide:hiding wear:wearing carry:carrying kick:kicking catch:catching watch:watching nap:napping
        stare:staring travel:traveling dive:diving surf:surfing ski:skiing skate:skating lurk:lurking
        race:racing howl:howling roar:roaring stroll:strolling perch:perching soar:soaring"""
    )
)
PAST = {"sat": "sitting", "stood": "standing", "slept": "sleeping", "ran": "running", "flew": "flying",
        "swam": "swimming", "lay": "lying"}  # fmt: skip
NOT_PARTICIPLES = _set(
    """king ring wing string thing spring morning evening building painting ceiling wedding clothing swing
    sling drawing lightning clearing opening crossing railing sing bring duckling sibling pudding
    something living dining swimming parking shopping flying"""
)
"""Words in -ing that are nouns, or stand before one ("a living room")."""

PLURALS = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse",
    "geese": "goose", "feet": "foot", "teeth": "tooth", "oxen": "ox", "wolves": "wolf",
    "leaves": "leaf", "knives": "knife", "shelves": "shelf", "loaves": "loaf", "calves": "calf",
    "elves": "elf", "sheep": "sheep", "fish": "fish", "deer": "deer", "shoes": "shoe",
    "horses": "horse", "houses": "house", "vases": "vase", "roses": "rose", "potatoes": "potato",
    "tomatoes": "tomato", "mangoes": "mango", "heroes": "hero", "cookies": "cookie",
    "zombies": "zombie", "movies": "movie", "pies": "pie", "ties": "tie",
}  # fmt: skip

PREAMBLE = (
    r"(?:please )?(?:(?:draw|make|create|generate|show|paint|render|give)(?: me| us)? )?"
    r"(?:(?:an?|the) )?(?:[\w-]+ ){0,3}?"
    r"(?:photos?|photographs?|pictures?|images?|paintings?|illustrations?|drawings?|renders?|renderings?"
    r"|portraits?|close-?ups?|sketch|sketches|views?|snapshots?|watercolou?rs?|posters?|depictions?"
    r"|(?:wide|long|drone|aerial|macro) shots?) of "
)

FOREIGN = _set(
    """un une le la les des du sur dans avec et devant sous au aux chez pour est ein eine einen einem einer
    der das dem den auf mit und unter vor im ist beim zwischen el los las una unos con sobre bajo del
    junto frente es y en il lo gli di sul sulla nel nella davanti sotto accanto um uma em na nas nos com
    sob perto do da het een op van met naast voor en ett och på under bakom med na w z pod obok przed
    jest"""
) - _set("under do es")
"""Small words of other languages in Latin letters, less those that English has too."""
