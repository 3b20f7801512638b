"""Single frames of a scoreboard: which there shall be, draw those that are missing, read them as samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from layercli.cli.naming import slug
from layercli.cli.output import Output
from layercli.core.layers import Layer, LayerStack, Size
from layercli.core.pixels import open_image, save_png
from layercli.evaluate._rows import Rows
from layercli.evaluate._run import Run
from layercli.evaluate._sample import Entry, Sample
from layercli.formats._files import atomic

if TYPE_CHECKING:
    from layercli.models.family import Kind


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame: its prompt, the word that stands for it, its seed, its file."""

    prompt: str
    word: str
    seed: int
    file: Path


def frames_of(folder: Path, words: Sequence[str], seeds: int, *, article: bool) -> list[Frame]:
    """One frame a word and seed, seed by seed; article: whether the prompt is "a word"."""
    return [
        Frame(
            prompt=with_article(word) if article else word,
            word=word,
            seed=seed,
            file=folder / f"seed-{seed}" / f"{slug(word)}.png",
        )
        for seed in range(seeds)
        for word in words
    ]


def with_article(noun: str) -> str:
    """`apple` -> `an apple`; a plural stays as it is."""
    return noun if noun == "glasses" else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def draw(
    talk: Output, name: str, frames: Sequence[Frame], kind: Kind, *, steps: int, guidance: float
) -> None:
    """Draw the frames whose file is missing, a seed at a time, each file whole or not at all."""
    missing = [frame for frame in frames if not frame.file.is_file()]
    if not missing:
        return
    from layercli.generate._frames import draw_frames
    from layercli.generate.layerfusion import Options
    from layercli.models.catalog import load_model

    talk.say(f"Drawing {len(missing)} {kind}s with {name}…")
    model, options = load_model(name), Options()
    done = 0
    with talk.progress(f"{kind}s") as on_step:
        for seed in sorted({frame.seed for frame in missing}):
            now = [frame for frame in missing if frame.seed == seed]
            drawn = draw_frames(
                model, [frame.prompt for frame in now], kind, seed=seed, steps=steps,
                guidance=guidance, levels=options.levels, specks=options.specks,
            )  # fmt: skip
            for frame, rgba in zip(now, drawn, strict=True):
                frame.file.parent.mkdir(parents=True, exist_ok=True)
                with atomic(frame.file) as part:
                    save_png(part, rgba)
                done += 1
                on_step(done, len(missing))


def load_frame(frame: Frame) -> Sample:
    """A frame as a sample of one layer."""
    rgba = open_image(frame.file)
    layer = Layer(name=frame.prompt, rgba=rgba, prompt=frame.prompt)
    canvas = Size(rgba.shape[1], rgba.shape[0])
    return Sample(
        name=str(frame.file),
        stack=LayerStack(canvas=canvas, layers=(layer,)),
        prompt=frame.prompt,
        asked=(frame.prompt,),
        seed=frame.seed,
    )


def run_of(name: str, frames: Sequence[Frame]) -> Run:
    """Frames as a run, read one at a time."""
    return Run(name=name, entries=[Entry(name=str(f.file), load=partial(load_frame, f)) for f in frames])


def rows_of(frames: Sequence[Frame], part: str) -> Rows | None:
    """The embedded net's features of a part of all frames."""
    from layercli.evaluate._features import features_of
    from layercli.vision.features import open_net

    return features_of(run_of(part, frames).entries, "", open_net("embedded"), None).get(part)
