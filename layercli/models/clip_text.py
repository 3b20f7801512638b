"""CLIP's text: prompts as token ids, in chunks as long as the encoder reads, each with its start and end.

A prompt of more than 75 tokens fills several chunks, cut between words; each is encoded by itself and their
features lie side by side, as is the custom for Stable Diffusion. Shapes: B prompts, n chunks, L tokens each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_WORD_END = "</w>"


def chunk_length(tokenizer: Any, text: Any) -> int:
    """Tokens of one chunk, start and end among them: what both the tokenizer and the encoder hold."""
    return min(int(tokenizer.model_max_length), int(text.config.max_position_embeddings))


def parts_of(tokenizer: Any, prompts: Sequence[str], room: int) -> list[list[list[int]]]:
    """The ids of each prompt, without start and end, in parts of at most `room`, cut between words."""
    if not prompts:  # transformers' tokenizers fail on none
        return []
    listed = tokenizer(list(prompts), add_special_tokens=False, truncation=False, verbose=False).input_ids
    cut = []
    for ids in listed:
        parts = []
        while len(ids) > room:
            names = tokenizer.convert_ids_to_tokens(ids[:room])
            end = next((n for n in range(room, 0, -1) if names[n - 1].endswith(_WORD_END)), room)
            parts.append(ids[:end])
            ids = ids[end:]
        cut.append([*parts, ids])
    return cut


def chunked(tokenizer: Any, prompts: Sequence[str], length: int, *, least: int = 1) -> Tensor:
    """Token ids (B, n, L), n the chunks of the longest prompt, or `least`; shorter prompts get empty ones."""
    parts = parts_of(tokenizer, prompts, length - 2)
    count = max([least, *map(len, parts)])
    rows = []
    for own in parts:
        for part in [*own, *[[]] * (count - len(own))]:
            row = [tokenizer.bos_token_id, *part, tokenizer.eos_token_id]
            rows.append(row + [tokenizer.pad_token_id] * (length - len(row)))
    return torch.tensor(rows, dtype=torch.long).unflatten(0, (len(parts), count))


def words_in(ids: Tensor, tokenizer: Any) -> Tensor:
    """Where words stand: (…, L) bool, no start, nothing from the first end of a chunk on."""
    before_end = (ids == tokenizer.eos_token_id).cumsum(dim=-1) == 0
    return before_end & (ids != tokenizer.bos_token_id)


def chunks_used(ids: Tensor, tokenizer: Any) -> Tensor:
    """Which chunks hold words, the first one always: (B, n, L) -> (B, n) bool."""
    used = words_in(ids, tokenizer).any(dim=-1)
    used[:, 0] = True
    return used


def end_of_text(ids: Tensor, tokenizer: Any) -> Tensor:
    """1 at the first end of every chunk in use, where a causal encoder has seen all of it: (B, n·L) float."""
    is_end = (ids == tokenizer.eos_token_id).float()
    ends = is_end * (is_end.cumsum(dim=-1) == 1) * chunks_used(ids, tokenizer)[..., None]
    return ends.flatten(1)


def read_mask(ids: Tensor, tokenizer: Any) -> Tensor | None:
    """What attention may look at, (B, n·L): no chunk that a shorter prompt leaves empty; None for n = 1."""
    if ids.shape[1] == 1:
        return None
    return chunks_used(ids, tokenizer)[..., None].expand(ids.shape).float().flatten(1)


def side_by_side(features: Tensor, ids: Tensor) -> Tensor:
    """Features of all chunks (B·n, L, D) -> (B, n·L, D); ids: (B, n, L)."""
    return features.unflatten(0, ids.shape[:2]).flatten(1, 2)


def note_on_length(tokenizer: Any, prompts: Sequence[str], length: int) -> str:
    """One sentence on the prompts that take several chunks; "" where there is none."""
    room = length - 2
    told = [
        f'"{_beginning(prompt)}" in {len(parts)} parts ({sum(map(len, parts))} tokens)'
        for prompt, parts in zip(prompts, parts_of(tokenizer, prompts, room), strict=True)
        if len(parts) > 1
    ]
    if not told:
        return ""
    return f"The model reads {room} tokens at a time; longer prompts are read in parts: {'; '.join(told)}."


def _beginning(prompt: str) -> str:
    return f"{prompt[:32].rpartition(' ')[0] or prompt[:32]}…"
