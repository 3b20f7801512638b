"""Draw a cat over a sofa from Python, and write it as a PSD: python examples/generate.py cat.psd

The same three floors that the command line uses: a request, a method that makes a stack of layers with a
model, and a format that writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from layercli.core.requests import GenerateRequest
from layercli.formats import psd
from layercli.generate import layerfusion
from layercli.models.catalog import load_model


def main(path: Path, model_name: str = GenerateRequest.model, steps: int = GenerateRequest.steps) -> None:
    request = GenerateRequest(
        foregrounds=("a cat",), background="a sofa", model=model_name, steps=steps, seed=7
    )
    model = load_model(request.model, device=request.device, dtype=request.dtype)
    stack = layerfusion.generate(request, model, layerfusion.Options())
    psd.write(stack, path, psd.Options())
    print(f"{path}: {', '.join(stack.names)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3], *map(int, sys.argv[3:4]))
