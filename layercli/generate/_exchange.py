"""LayerFusion's exchange between frames, as an attention edit: priors, masks, blended outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from layercli.diffusion import attention as maps
from layercli.diffusion.attention import Grid, Placement, Rectangle
from layercli.models.hooks import AttentionCall, AttentionLayer, last_self_attention, together

Prior = Literal["both", "structure", "content", "alpha"]
Part = Literal["all", "foregrounds", "scene"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which pieces of LayerFusion run; each can be left out.

    d: boundary coefficient; prior: what masks are made of, the paper's two priors, one of them, or the alpha
    of the picture predicted so far, for models that have one; blend: Eq 1; feedback: Eq 2; share: background
    and blended frame attend to each other; shield: the background does not look at what foregrounds cover in
    the blended frame; window: the times (low, high) at which frames meet.
    """

    d: float = 10.0
    prior: Prior = "both"
    blend: bool = True
    feedback: bool = True
    share: bool = True
    shield: bool = True
    window: tuple[int, int] = (0, 1000)


@dataclass(kw_only=True, eq=False)
class _Maps:
    """What was read from the foregrounds in one call, (k, N) a map; alpha: (k, h, w), the latents' grid."""

    structure: Tensor | None = None
    content: dict[int, Tensor] = field(default_factory=dict)
    alpha: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Masks:
    """Masks of one transformer block, with a last axis of one, and the placement of frames at its level.

    soft: (k, h, w, 1) in the frames; placed: (k, y, x, 1), soft on the scene's grid; hard: (k, h, w, 1),
    weighed by what no later foreground covers; covered: (y, x, 1), all foregrounds together.
    """

    soft: Tensor
    placed: Tensor
    hard: Tensor
    covered: Tensor
    placement: Placement


class Exchange:
    """The attention edit of one sampling run over k foregrounds, a background and a blended frame.

    A call's batch is [foregrounds, background, blended], or one of these two parts where they differ in
    shape or network, and all that once more for guidance, the unconditional half first. The maps of one
    step make the masks of the next, so that no step costs a second network call; a call with recording=True
    before each step gives the paper's order instead. In parts, foregrounds run first, and Eq 2 gives them
    the blended outputs of the step before.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        rectangles: Sequence[Rectangle],
        summary: Tensor,
        frame: Grid,
        scene: Grid,
        layers: tuple[AttentionLayer, ...],
        guided: bool,
    ) -> None:
        """rectangles: where each foreground's frame lies on the canvas; summary: (k, L) the text tokens that
        stand for each foreground; frame, scene: grids of the latents; guided: batches come in two halves.
        """
        self.rules = rules
        self.rectangles = rectangles
        self.summary = summary
        self.frame, self.scene = frame, scene
        self.guided = guided
        self._last = last_self_attention(layers)
        self._part: Part = "all"
        self._recording = False
        self._active = False
        self._fresh, self._known = _Maps(), _Maps()
        self._masks: dict[tuple[int, int], _Masks] = {}
        self._placements: dict[int, Placement] = {}
        self._sent: dict[int, Tensor] = {}
        self._blended: dict[int, Tensor] = {}
        self._hints: list[Tensor] = []

    def begin(self, t: int, part: Part = "all", *, recording: bool = False) -> None:
        """Tell the edit which call comes: its time, its frames, and whether it only reads maps."""
        self._part, self._recording = part, recording
        low, high = self.rules.window
        self._active = low <= t <= high and not recording
        if part != "scene":  # a new step: what the last call read makes its masks
            self._known = self._fresh
            # What a step does not read, because deep features are reused, stays as it was.
            self._fresh = _Maps(structure=self._known.structure, content=dict(self._known.content))
            self._masks.clear()
            self._note_hint()

    def notice(self, alpha: Tensor | None) -> None:
        """Take note of the foregrounds' alpha after a step, (k, h, w): the "alpha" prior of the next one."""
        self._fresh.alpha = alpha

    def alpha_hint(self) -> Tensor | None:
        """The mean of the finest soft masks over the later half of the steps, (k, h, w); None before any.

        Where attention saw each object: what a family without alpha has to find transparency from.
        """
        self._known = self._fresh
        self._note_hint()
        late = self._hints[len(self._hints) // 2 :]
        return torch.stack(late).mean(dim=0) if late else None

    def __call__(self, call: AttentionCall) -> Tensor:
        """The edit: what an attention layer returns for a batch of frames."""
        query, key, value = call.heads()
        halves = 2 if self.guided and not self._recording else 1
        if self._part != "scene":
            self._read(call, query, key, halves)
        masks = self._masks_at(call.layer.block, query.shape[2]) if self._active else None
        sharing = self._active and self.rules.share and not call.layer.cross and self._part != "foregrounds"
        if sharing and (masks is not None or not self.rules.shield):
            mixed = self._shared(call, (query, key, value), halves, masks)
        else:
            mixed = call.attend(query, key, value, call.bias())
        output = call.project(mixed)
        if self._part == "foregrounds" and self.rules.blend:
            self._sent[call.layer.index] = output.clone()
        if masks is None or not self.rules.blend:
            return output
        return self._meet(output, masks, call.layer.index, halves)

    def _read(self, call: AttentionCall, query: Tensor, key: Tensor, halves: int) -> None:
        """Keep the foregrounds' maps of the conditional half (section 3.2)."""
        first = query.shape[0] // halves * (halves - 1)
        rows = slice(first, first + len(self.rectangles))
        if self.rules.prior == "alpha":
            return
        if call.layer.cross and self.rules.prior != "structure":
            bias = call.bias()
            read = maps.probabilities(query[rows], key[rows], None if bias is None else bias[rows])
            self._fresh.content[call.layer.block] = maps.content_prior(read, self.summary)
        if call.layer == self._last and self.rules.prior != "content":
            self._fresh.structure = maps.structure_prior(maps.sparsity_of(query[rows], key[rows]))

    def _soft(self, block: int, grid: Grid) -> Tensor | None:
        """mask_soft of a block on a grid, (k, h, w, 1); None as long as a prior it needs is not known."""
        structure, content = self._known.structure, self._known.content.get(block)
        if self.rules.prior == "alpha":
            if self._known.alpha is None:
                return None
            flat = maps.resize_map(self._known.alpha.flatten(1), self.frame, grid)
            return flat.unflatten(1, grid)[..., None]
        missing = {"both": structure is None or content is None, "structure": structure is None}
        if missing.get(self.rules.prior, content is None):
            return None
        if structure is not None:
            level = maps.level_of(structure.shape[1], self.frame)
            structure = maps.resize_map(structure, maps.grid_at(self.frame, level), grid)
        return maps.soft_mask(structure, content).unflatten(1, grid)[..., None]

    def _masks_at(self, block: int, positions: int) -> _Masks | None:
        """The masks of a block at the level of a call with so many positions."""
        level = maps.level_of(positions, self.scene if self._part == "scene" else self.frame)
        # Only the content prior differs from block to block.
        key = (level, block if self.rules.prior in ("both", "content") else -1)
        if key in self._masks:
            return self._masks[key]
        grid = maps.grid_at(self.frame, level)
        soft = self._soft(block, grid)
        if soft is None:
            return None
        if level not in self._placements:
            to = maps.grid_at(self.scene, level)
            self._placements[level] = Placement.of(self.rectangles, grid, to, soft.device)
        placement = self._placements[level]
        placed = placement.place(soft) * placement.coverage
        seen = torch.stack(maps.visibility(list(placed)))
        self._masks[key] = _Masks(
            soft=soft,
            placed=placed,
            hard=maps.hard_mask(soft, self.rules.d) * placement.lift(seen),
            covered=1 - seen[0] * (1 - placed[0]),
            placement=placement,
        )
        return self._masks[key]

    def _shared(
        self,
        call: AttentionCall,
        heads: tuple[Tensor, Tensor, Tensor],
        halves: int,
        masks: _Masks | None,
    ) -> Tensor:
        """Self-attention in which background and blended frame attend to both (Algorithm 3), others alone."""
        query, key, value = (tensor.unflatten(0, (halves, -1)) for tensor in heads)
        alone = query.shape[1] - 2  # (halves, frames, H, N, d)
        # Both frames' tokens side by side are one longer sequence that is attended to.
        k, v = (together(tensor[:, alone:]) for tensor in (key, value))
        if self.rules.shield and masks is not None:
            bias = self._shield(masks, key)
            behind, whole = query[:, alone], query[:, alone + 1]
            scene = torch.stack([call.attend(behind, k, v, bias), call.attend(whole, k, v)], dim=1)
        else:
            scene = call.attend(together(query[:, alone:]), k, v).unflatten(1, (2, -1))
        if alone == 0:
            return scene.flatten(0, 1)
        q, k, v = (tensor[:, :alone].flatten(0, 1) for tensor in (query, key, value))
        apart = call.attend(q, k, v)
        return torch.cat([apart.unflatten(0, (halves, alone)), scene], dim=1).flatten(0, 1)

    def _shield(self, masks: _Masks, like: Tensor) -> Tensor:
        """Logit bias (1, 1, 1, 2N) of the background's queries: the covered part of the blended frame fades.

        log(1-m) multiplies an attention weight by what is left uncovered, so that no object is copied into
        the background (the residue of DreamLayer's supplement, Fig 4).
        """
        fade = torch.log1p(-masks.covered.flatten().clamp(0, 1 - 1e-4)).to(like.dtype)
        return torch.cat([torch.zeros_like(fade), fade])[None, None, None]

    def _meet(self, output: Tensor, masks: _Masks, layer: int, halves: int) -> Tensor:
        """Eq 1 and Eq 2 on the outputs of one layer, in place: (B, N, D).

        Of the scene only the cells are touched that a foreground's rectangle covers.
        """
        count, placement = len(self.rectangles), masks.placement
        frames = output.unflatten(0, (halves, -1))
        objects = (
            self._sent[layer].unflatten(0, (halves, count)) if self._part == "scene" else frames[:, :count]
        )
        objects = objects.unflatten(2, masks.soft.shape[1:3])
        placed = [placement.place_one(i, objects[:, i]) for i in range(count)]
        if self._part != "foregrounds":
            own = frames[:, -1].unflatten(1, masks.placed.shape[1:3])
            weights = masks.placed.to(output.dtype)
            for i, (rows, columns) in enumerate(placement.cells):
                under = own[:, rows, columns]
                under.copy_(maps.blend_in(under, [placed[i]], [weights[i, rows, columns]]))  # Eq 1
            if self._part == "scene":
                self._blended[layer] = own.clone()
        elif layer in self._blended:
            own = self._blended[layer]
        else:
            return output
        if self._part != "scene" and self.rules.feedback:
            hard = masks.hard.to(output.dtype)
            for i, (rows, columns) in enumerate(placement.cells):
                # What the scene adds to an object comes back, not the object's own features, which a smaller
                # rectangle has blurred; for a frame that fills the scene this is a'_Bl itself.
                added = placement.lift_one(i, own[:, rows, columns] - placed[i])
                objects[:, i] = maps.feed_back(objects[:, i], objects[:, i] + added, hard[i])  # Eq 2
        return output

    def _note_hint(self) -> None:
        known = dict(self._known.content)
        if not known and self._known.structure is not None:
            known[self._last.block] = self._known.structure
        if not known:
            return
        finest = max(known, key=lambda block: known[block].shape[1])  # the first of the finest blocks
        grid = maps.grid_at(self.frame, maps.level_of(known[finest].shape[1], self.frame))
        soft = self._soft(finest, grid)
        if soft is not None:
            self._hints.append(soft[..., 0])
