"""A language model of a local folder splits a description into foregrounds, background and the whole.

DreamLayer's data planner (arXiv 2503.12838, section 4) asks a large language model; any causal model of
transformers will do here. Its answer is checked like a person's: a Split, or a sentence of what is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from layercli.core.errors import LayercliError
from layercli.core.splitting import LONGEST, Split
from layercli.models._loading import quiet, reading

MOST_TOKENS = 200

_ASK = """Split the description of a picture into layers. Answer with one JSON object and nothing else.
"foregrounds": the things in front, from back to front, each described by itself without where it is.
"background": the place behind them, described as if they were not there.

Description: a cat sleeping on a sofa at night
{"foregrounds": ["a sleeping cat"], "background": "a sofa at night"}

Description: a boy and his dog beside a lamp in a park
{"foregrounds": ["a lamp", "a boy", "a dog"], "background": "a park"}

Description: """


class Planner:
    """A causal language model that splits descriptions; the same answer for the same words, always."""

    def __init__(self, folder: Path) -> None:
        """Open a folder in transformers' format; never downloads. Raises LayercliError for any other."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.name = folder.name
        if not (folder / "config.json").is_file():
            raise LayercliError(
                f"The folder {folder} holds no language model: it has no config.json.",
                "Give a folder in transformers' format, or leave out --planner: rules split it then.",
            )
        with reading(folder, "Leave out --planner: rules split it then."), quiet():
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            self._model: Any = AutoModelForCausalLM.from_pretrained(
                str(folder), local_files_only=True, dtype="auto"
            )
        self._model.eval()

    def split(self, text: str) -> Split:
        """Ask once, greedily. Raises LayercliError where the answer is no split of the description."""
        whole = " ".join(text.split())
        if not whole or len(whole) > LONGEST:
            raise LayercliError("There is no description to split.", 'Try: --prompt "a cat on a sofa"')
        return split_in(self._answer(_ASK + whole + "\n"), whole, self.name)

    @torch.inference_mode()
    def _answer(self, asked: str) -> str:
        if getattr(self._tokenizer, "chat_template", None):
            told = [{"role": "user", "content": asked}]
            asked = self._tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
        tokens = self._tokenizer(asked, return_tensors="pt")["input_ids"]
        end = self._tokenizer.eos_token_id
        made = self._model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=MOST_TOKENS,
            do_sample=False,
            pad_token_id=end if end is not None else 0,
        )
        answer: str = self._tokenizer.decode(made[0, tokens.shape[1] :], skip_special_tokens=True)
        return answer


def split_in(answer: str, whole: str, name: str) -> Split:
    """The first JSON object in a model's answer, as a Split; raises LayercliError where it is none."""
    start = answer.find("{")
    try:
        told = json.JSONDecoder().raw_decode(answer[start:])[0] if start >= 0 else None
    except ValueError:
        told = None
    things = told.get("foregrounds") if isinstance(told, dict) else None
    ground = told.get("background") if isinstance(told, dict) else None
    if not (isinstance(things, list) and things and isinstance(ground, str) and ground.strip()) or not all(
        isinstance(thing, str) and thing.strip() and len(thing) <= LONGEST for thing in things
    ):
        raise LayercliError(
            f'The language model "{name}" gave no split that can be read: "{" ".join(answer.split())[:80]}".',
            'Type the parts: --fg "…" --bg "…", or leave out --planner.',
        )
    return Split(
        foregrounds=tuple(thing.strip() for thing in things),
        background=ground.strip()[:LONGEST],
        whole=whole,
        by=name,
    )
