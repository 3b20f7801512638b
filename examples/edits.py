"""Draw the README's sheet of edits: one picture, and what each edit that draws makes of it.

    python examples/edits.py edits.png --seed 2

Every edit starts from the same picture; only what its caption names is drawn again, all else is held.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from layercli.core.edit_requests import EditRequest
from layercli.core.pixels import save_png
from layercli.core.requests import GenerateRequest
from layercli.core.sheet import draw_grid
from layercli.edit import _chain
from layercli.generate import layerfusion
from layercli.models.catalog import load_model


def main() -> None:
    """Generate one picture, edit it in five ways, and write them side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("edits.png"))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--thing", default="an apple")
    parser.add_argument("--place", default="a beach")
    chosen = parser.parse_args()

    model = load_model(chosen.model, device="auto", dtype="auto")
    request = GenerateRequest(
        foregrounds=(chosen.thing,), background=chosen.place, seed=chosen.seed, steps=chosen.steps
    )
    stack = layerfusion.generate(request, model, layerfusion.Options())
    drawing = {"steps": str(chosen.steps), "seed": str(chosen.seed)}
    thing = (chosen.thing,)

    def ask(edit: str, *layers: str, **options: str) -> EditRequest:
        return EditRequest(edit=edit, layers=layers, options=options)

    edits = {
        "move … then harmonize": [
            ask("move", *thing, by="-52,6", off_canvas="yes"),
            ask("harmonize", **drawing),
        ],
        "regenerate … --prompt 'a pumpkin'": [ask("regenerate", *thing, prompt="a pumpkin", **drawing)],
        "restyle … 'a lemon' --strength 0.9": [
            ask("restyle", *thing, prompt="a lemon", strength="0.9", **drawing)
        ],
        "add --fg 'a ball'": [ask("add", fg="a ball", box="0.06,0.62,0.34,0.92", **drawing)],
        "background --prompt 'a forest'": [ask("background", prompt="a forest", **drawing)],
    }
    pictures, captions = [stack.flatten()], ["before"]
    for caption, requests in edits.items():
        edited = _chain.run(stack, _chain.plan(requests), model)
        pictures.append(edited.stack.flatten())
        captions.append(caption)
    save_png(chosen.out, draw_grid(pictures, captions, columns=3))
    print(chosen.out)


if __name__ == "__main__":
    main()
