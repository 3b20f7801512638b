"""One sentence into parts: a table of descriptions, what they become, and what is refused and why."""

from __future__ import annotations

import pytest

from layercli.core.errors import LayercliError
from layercli.core.splitting import PLAIN, split_prompt

# description, foregrounds back to front with " + " between them, background
SPLITS = [
    ("a cat sleeping on a sofa", "a sleeping cat", "a sofa"),
    ("A cat sits on a sofa.", "a cat", "a sofa"),
    ("a red car parked on a street at night", "a red car", "a street at night"),
    ("a cat and a dog on a beach", "a cat + a dog", "a beach"),
    ("two cats on a sofa", "a cat + a cat", "a sofa"),
    ("a dog under a tree", "a dog", "a tree"),
    ("a dog in front of a house", "a dog", "a house"),
    ("a dog behind a fence", "a dog + a fence", PLAIN),
    ("a man with a beard in a park", "a man with a beard", "a park"),
    ("a woman in a red dress on a beach", "a woman in a red dress", "a beach"),
    ("flowers in a vase on a table", "flowers in a vase", "a table"),
    ("a cat", "a cat", PLAIN),
    ("a black and white cat on a rug", "a black and white cat", "a rug"),
    ("a cat next to a dog on a beach", "a cat + a dog", "a beach"),
    ("a house by the sea", "a house", "the sea"),
    ("a knight on a horse in a forest", "a knight on a horse", "a forest"),
    ("a photo of an astronaut riding a horse on the moon", "an astronaut riding a horse", "the moon"),
    ("an oil painting of a fox in the snow", "a fox", "a landscape in the snow"),
    ("On a beach, a dog plays with a ball", "a dog playing with a ball", "a beach"),
    ("in a garden a cat sleeps", "a sleeping cat", "a garden"),
    ("At night, an owl on a branch in a forest", "an owl on a branch", "a forest at night"),
    ("a fox with mountains in the background", "a fox", "mountains"),
    ("a cat, a dog and a bird in a garden", "a cat + a dog + a bird", "a garden"),
    ("a living room with a sofa and a lamp", "a sofa + a lamp", "a living room"),
    ("a cat on a sofa and a dog on a rug", "a cat + a dog", "a sofa and a rug"),
    ("a woman and her dog in a park", "a woman + a dog", "a park"),
    (
        "a lighthouse against a stormy sky, highly detailed, 8k, cinematic lighting",
        "a lighthouse",
        "a stormy sky",
    ),
    ("a plane above the clouds", "a plane", "the clouds"),
    ("a girl holding a balloon in a field", "a girl holding a balloon", "a field"),
    ("a boy kicking a ball on a lawn", "a boy kicking a ball", "a lawn"),
    ("there is a cat on the sofa", "a cat", "the sofa"),
    ("three red apples on a wooden table", "a red apple + a red apple + a red apple", "a wooden table"),
    ("several birds on a wire", "several birds", "a wire"),
    ("a glass of wine on a table in a restaurant", "a glass of wine", "a table in a restaurant"),
    ("a cup of coffee and a book on a desk", "a cup of coffee + a book", "a desk"),
    ("a teddy bear", "a teddy bear", PLAIN),
    ("a robot and a child walking through a forest at dawn", "a robot + a walking child", "a forest at dawn"),
    ("an eagle flying over mountains", "a flying eagle", "mountains"),
    ("a goldfish in a bowl", "a goldfish in a bowl", PLAIN),
    ("Two dogs run through a field", "a running dog + a running dog", "a field"),
    ("a bicycle leaning against a brick wall", "a bicycle", "a brick wall"),
    ("a bird on a branch", "a bird on a branch", PLAIN),
    ("the Eiffel Tower at night", "the Eiffel Tower", "a landscape at night"),
    ("a castle on a hill with dark clouds in the background", "a castle", "a hill and dark clouds"),
    ("a man reading a newspaper on a bench in a park", "a man reading a newspaper", "a bench in a park"),
    ("a cat between two chairs", "a cat", "two chairs"),
    ("a small dog and a big cat sitting in front of a fireplace", "a small dog + a big cat", "a fireplace"),
    ("a bridge over a river", "a bridge", "a river"),
    ("a sailboat on the ocean at sunset", "a sailboat", "the ocean at sunset"),
    ("a dragon flying above a castle", "a flying dragon", "a castle"),
    ("a bowl of fruit", "a bowl of fruit", PLAIN),
    ("a wizard with a dragon in a cave", "a wizard + a dragon", "a cave"),
    ("a polar bear on an iceberg", "a polar bear", "an iceberg"),
    ("a chef cooking in a kitchen", "a cooking chef", "a kitchen"),
    ("portrait of an old woman with glasses", "an old woman with glasses", PLAIN),
    ("a vintage car in front of a diner, neon lights", "a vintage car", "a diner"),
    ("a snowman in a yard in winter", "a snowman", "a yard in winter"),
    ("children playing soccer on a field", "children playing soccer", "a field"),
    ("a lamp beside a bed in a bedroom", "a lamp + a bed", "a bedroom"),
    (
        "a golden retriever catching a frisbee in mid-air over a green lawn",
        "a golden retriever catching a frisbee in mid-air",
        "a green lawn",
    ),
    ("An elderly couple dancing in a ballroom", "a dancing elderly couple", "a ballroom"),
    (
        "a steaming mug of cocoa beside a stack of old books",
        "a steaming mug of cocoa + a stack of old books",
        PLAIN,
    ),
    ("a red fox standing in tall grass, soft morning light", "a red fox", "tall grass"),
    (
        "a yellow taxi driving through a rainy city street at night",
        "a driving yellow taxi",
        "a rainy city street at night",
    ),
    ("a hot air balloon floating over a valley", "a floating hot air balloon", "a valley"),
    ("a bouquet of roses on a marble counter", "a bouquet of roses", "a marble counter"),
    ("a ballerina on a stage", "a ballerina", "a stage"),
    ("penguins on an iceberg with the sun setting behind them", "penguins", "an iceberg and the sun setting"),
    ("a hamster in a tiny sweater eating a carrot", "a hamster in a tiny sweater eating a carrot", PLAIN),
    ("four candles on a birthday cake", "a candle + a candle + a candle + a candle", "a birthday cake"),
    ("A samurai stands on a cliff, watching the sunset", "a samurai standing watching the sunset", "a cliff"),
    (
        "a toy train and a stack of blocks on a wooden floor",
        "a toy train + a stack of blocks",
        "a wooden floor",
    ),
    ("a surfer riding a huge wave", "a surfer riding a huge wave", PLAIN),
    ("close-up of a bee on a sunflower", "a bee", "a sunflower"),
    ("a treehouse in an old oak", "a treehouse", "an old oak"),
    ("a crow perched on a fence post in a foggy field", "a crow", "a fence post in a foggy field"),
    ("a group of friends around a campfire", "a group of friends", "a campfire"),
    ("a white horse galloping across a desert", "a galloping white horse", "a desert"),
    ("a cactus in a clay pot by the window", "a cactus in a clay pot", "the window"),
    (
        "an astronaut floating in space with Earth in the background",
        "a floating astronaut",
        "space and Earth",
    ),
    ("a pirate ship in a stormy sea", "a pirate ship", "a stormy sea"),
    (
        "a stack of pancakes with syrup and butter on a plate",
        "a stack of pancakes with syrup and butter on a plate",
        PLAIN,
    ),
    ("Under a starry sky, a wolf howls", "a howling wolf", "a starry sky"),
    ("a violin leaning against a chair", "a violin", "a chair"),
    ("a child's drawing pinned to a fridge", "a child's drawing", "a fridge"),
    ("a train crossing a stone bridge", "a train crossing a stone bridge", PLAIN),
    ("two swans swimming on a lake at dawn", "a swimming swan + a swimming swan", "a lake at dawn"),
    ("a marble statue in the middle of a square", "a marble statue", "a square"),
]

WITHOUT = [
    ("a cat without a hat on a sofa", "a cat", "a sofa", "hat"),
    ("a wooden boat on a calm lake, no people", "a wooden boat", "a calm lake", "people"),
    ("a cat that is not black on a chair", "a cat", "a chair", "black"),
    ("a child without shoes running along a beach", "a running child", "a beach", "shoes"),
]

FOREIGN = [
    "un chat sur un canapé",
    "eine Katze auf dem Sofa",
    "一只猫在沙发上",
    "кошка на диване",
    "een kat op de bank",
    "un gato en un sofá",
    "um gato no sofá com uma bola",
    "un gatto su un divano",
]

PLACES = [
    ("a street with no cars", "a street"),
    ("lavender fields under a purple sky", "lavender fields under a purple sky"),
    ("a beach at sunset", "a beach at sunset"),
    ("a mountain lake surrounded by pine trees", "a mountain lake surrounded by pine trees"),
]


@pytest.mark.parametrize(("text", "things", "ground"), SPLITS)
def test_a_description_is_split(text, things, ground):
    split = split_prompt(text)
    assert (" + ".join(split.foregrounds), split.background) == (things, ground)
    assert split.whole == text.strip(".")
    assert (split.by, split.negative) == ("rules", "")
    assert bool(split.notes) == (ground == PLAIN)


@pytest.mark.parametrize(("text", "things", "ground", "negative"), WITHOUT)
def test_what_shall_not_be_there_goes_to_the_negative_text(text, things, ground, negative):
    split = split_prompt(text)
    assert (" + ".join(split.foregrounds), split.background, split.negative) == (things, ground, negative)
    assert f"--negative {negative}" in split.words.replace("'", "")


@pytest.mark.parametrize("text", FOREIGN)
def test_other_languages_are_not_guessed_at(text):
    with pytest.raises(LayercliError, match="split English alone") as caught:
        split_prompt(text)
    assert "--fg" in caught.value.hint and "--planner" in caught.value.hint


@pytest.mark.parametrize(("text", "ground"), PLACES)
def test_places_alone_have_no_foreground(text, ground):
    with pytest.raises(LayercliError, match="nothing that stands in front") as caught:
        split_prompt(text)
    assert f"--bg '{ground}'" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no description"),
        (" . ", "no description"),
        ("cat " * 600, "too many"),
        ("neither a cat nor a dog", "neither"),
        ("a cat instead of a dog", "instead of"),
    ],
)
def test_what_cannot_be_split_is_told(text, told):
    with pytest.raises(LayercliError, match=told):
        split_prompt(text)


def test_the_words_of_a_split_can_be_typed():
    split = split_prompt("a cat without a hat on a sofa")
    assert split.words == "--fg 'a cat' --bg 'a sofa' --negative hat"
    assert split.to_dict() == {
        "foregrounds": ["a cat"],
        "background": "a sofa",
        "whole": "a cat without a hat on a sofa",
        "negative": "hat",
        "by": "rules",
    }
