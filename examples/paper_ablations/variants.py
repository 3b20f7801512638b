"""The papers' ablations as requests: what is switched off or set otherwise, and what the paper says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A request with something off or otherwise. fields: of the request; options: of the method."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper (or practice) says: `better` beats `worse`, by one of our numbers. source: where."""

    source: str
    better: str
    worse: str
    number: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """Variants that are compared, on the same prompts and seeds, and by which numbers.

    method: of generate; harmonize: of the request, where a variant does not say otherwise.
    """

    variants: Sequence[Variant]
    numbers: Sequence[str]
    claims: Sequence[Claim] = ()
    method: str = "layerfusion"
    harmonize: str = "over"


# number -> whether more of it is better, and what it is.
NUMBERS: Mapping[str, tuple[bool, str]] = {
    "chance": (True, "how sure the classifier is of the thing that a layer's prompt names"),
    "seen": (True, "the same of the things as they are seen in the finished picture"),
    "agree": (False, "difference of the layers' plain composite and the whole frame drawn with them, /255"),
    "kept": (False, "what harmonising changes inside the objects, /255"),
    "leakage": (False, "share of the objects that the background holds"),
    "seam": (False, "jump of light across the objects' outline, /255"),
    "empty": (False, "share of layers without a visible pixel"),
    "held": (False, "share of the objects that the background drawn after inversion still holds"),
    "behind": (False, "difference of that background from the true one where the objects are, /255"),
    "cut": (True, "soft IoU of the alphas drawn after inversion with the true ones"),
    "map": (True, "correlation of context maps, at t = 850, with the alphas that came of them"),
}


def _claims(source: str, number: str, better: str, *worse: str) -> tuple[Claim, ...]:
    return tuple(Claim(source=source, better=better, worse=one, number=number) for one in worse)


# The paper's own harmonising: the whole fused picture, and not its light alone, is what is seen.
_PLAIN = {"fuse": "latents", "transfer": "all", "against": "no"}
_PAIR = {"prior": "both"}  # the paper's masks; ours come of the predicted alpha
_SMG = {"smg": "1"}  # weaker than the paper's 3, which wipes detail out of small latents
_NONE = {"share": "no", "carry": "no", "refine": "no"}

GROUPS: Mapping[str, Group] = {
    "irh": Group(
        variants=[
            Variant(name="400-600", options={**_PLAIN, "window": "400-600"}),
            Variant(name="200-400", options={**_PLAIN, "window": "200-400"}),
            Variant(name="600-800", options={**_PLAIN, "window": "600-800"}),
            Variant(name="100-900", options={**_PLAIN, "window": "100-900"}),
            Variant(name="off", fields={"harmonize": "over"}),
            Variant(name="light alone (ours)"),
        ],
        numbers=("seen", "kept", "seam"),
        claims=(
            *_claims("DreamLayer: IRH", "seen", "400-600", "200-400", "600-800", "100-900"),
            *_claims("DreamLayer: IRH", "seam", "400-600", "off"),
        ),
        harmonize="irh",
    ),
    "masks": Group(
        variants=[
            Variant(name="self x cross", options=_PAIR),
            Variant(name="self alone", options={"prior": "structure"}),
            Variant(name="cross alone", options={"prior": "content"}),
            Variant(name="predicted alpha (ours)"),
            Variant(name="none", options={"blend": "no", "feedback": "no"}),
        ],
        numbers=("chance", "agree", "leakage"),
        claims=(
            *_claims("LayerFusion Fig 8c", "agree", "self x cross", "self alone", "cross alone", "none"),
            *_claims("LayerFusion Fig 8c", "leakage", "self x cross", "self alone"),
        ),
    ),
    "d": Group(
        variants=[Variant(name=f"d = {d}", options={**_PAIR, "d": d}) for d in ("10", "1", "5", "30")],
        numbers=("chance", "agree", "leakage"),
        claims=(
            *_claims("LayerFusion Fig 8d", "agree", "d = 10", "d = 1", "d = 5"),
            *_claims("LayerFusion Fig 8d", "leakage", "d = 10", "d = 1"),
        ),
    ),
    "exchange": Group(
        variants=[
            Variant(name="all"),
            Variant(name="no feedback (Eq 2)", options={"feedback": "no"}),
            Variant(name="no sharing (Alg 3)", options={"share": "no"}),
            Variant(name="no shield", options={"shield": "no"}),
            Variant(name="background's text", options={"blended_text": "background"}),
            Variant(name="frames apart", fields={"harmonize": "none"}),
        ],
        numbers=("chance", "agree", "leakage"),
        claims=(
            *_claims("LayerFusion Alg 3", "agree", "all", "no feedback (Eq 2)", "no sharing (Alg 3)"),
            *_claims("DreamLayer suppl. Fig 4", "leakage", "all", "no shield"),
        ),
    ),
    "guidance": Group(
        variants=[Variant(name=f"{scale:g}", fields={"guidance": scale}) for scale in (4.0, 1.0, 2.5, 7.5)],
        numbers=("chance", "agree"),
        claims=_claims("usual", "chance", "4", "1"),
    ),
    "dreamlayer": Group(
        variants=[
            Variant(name="LSSA and CACA"),
            Variant(name="LSSA only", options={"carry": "no", "refine": "no"}),
            Variant(name="CACA only", options={"share": "no"}),
            Variant(name="none", options=_NONE),
        ],
        numbers=("chance", "agree", "leakage", "empty"),
        claims=tuple(
            claim
            for number in ("chance", "agree")
            for claim in (
                *_claims("DreamLayer Table 3", number, "LSSA only", "none"),
                *_claims("DreamLayer Table 3", number, "CACA only", "LSSA only"),
                *_claims("DreamLayer Table 3", number, "LSSA and CACA", "CACA only", "none"),
            )
        ),
        method="dreamlayer",
    ),
    "t_g": Group(
        variants=[
            Variant(name="T_G = 850"),
            Variant(name="T_G = 600", options={"carry_from": "600"}),
            Variant(name="T_G = 300", options={"carry_from": "300"}),
            Variant(name="nothing carried", options={"carry": "no", "refine": "no"}),
        ],
        numbers=("chance", "agree", "empty"),
        claims=(
            *_claims("DreamLayer suppl. 4.1", "chance", "T_G = 850", "T_G = 600", "T_G = 300"),
            *_claims("DreamLayer suppl. 4.2", "agree", "T_G = 850", "nothing carried"),
        ),
        method="dreamlayer",
    ),
    "smg": Group(
        variants=[
            Variant(name="CFG (ours)"),
            Variant(name="CFG + SMG 1", options=_SMG),
            Variant(name="CFG + SAG", options={**_SMG, "marked": "attention"}),
            Variant(name="CFG + SMG 3", options={"smg": "3"}),
            Variant(name="CFG + SMG 1 outside (Eq 9 as printed)", options={**_SMG, "conceal": "outside"}),
        ],
        numbers=("chance", "leakage", "empty"),
        claims=(
            *_claims("LayerDiff Table 3", "chance", "CFG + SAG", "CFG (ours)"),
            *_claims("LayerDiff Table 3", "chance", "CFG + SMG 1", "CFG (ours)", "CFG + SAG"),
            *_claims("LayerDiff Fig 11", "chance", "CFG + SMG 3", "CFG + SMG 1", "CFG (ours)"),
            *_claims(
                "LayerDiff, prose of 4.2",
                "chance",
                "CFG + SMG 1",
                "CFG + SMG 1 outside (Eq 9 as printed)",
            ),
        ),
        method="layerdiff",
    ),
    "enhancer": Group(
        variants=[
            Variant(name="S + C", options=_SMG),
            Variant(name="S", options={**_SMG, "enhance": "self"}),
            Variant(name="no enhancer", options={**_SMG, "enhance": "none"}),
            Variant(name="no intra-layer attention", options={**_SMG, "intra": "no"}),
            Variant(name="no inter-layer attention", options={**_SMG, "inter": "no"}),
            Variant(name="empty negative text", options={**_SMG, "negatives": "none"}),
        ],
        numbers=("chance", "leakage", "empty"),
        claims=(
            *_claims("LayerDiff Table 2", "chance", "S", "no enhancer"),
            *_claims("LayerDiff Table 2", "chance", "S + C", "S", "no enhancer", "no intra-layer attention"),
            *_claims("LayerDiff 5.2", "leakage", "S + C", "empty negative text"),
        ),
        method="layerdiff",
    ),
}

MAPS = Group(
    variants=[Variant(name="refined (Eq 5)"), Variant(name="finest"), Variant(name="coarser")],
    numbers=("map",),
    claims=(
        *_claims("DreamLayer suppl. 4.1", "map", "finest", "coarser"),
        *_claims("DreamLayer Eq 5", "map", "refined (Eq 5)", "finest"),
    ),
    method="dreamlayer",
)
"""Context maps by level, read again in the pictures that `dreamlayer` drew: this group draws nothing."""

INVERSION = Group(
    variants=[
        Variant(name="masked (Eq 2)", options={"inverted_as": "layers"}),
        Variant(name="unmasked", options={"inverted_as": "layers", "masked": "no"}),
        Variant(name="one text for all (ours)"),
    ],
    numbers=("held", "behind", "cut"),
    claims=(
        *_claims("DreamLayer suppl. Fig 4", "held", "masked (Eq 2)", "unmasked"),
        *_claims("DreamLayer suppl. Fig 4", "behind", "masked (Eq 2)", "unmasked"),
    ),
)
"""Image to layers: the plain composites that LayerFusion drew are inverted and taken apart, and held against
the layers that they were made of. Options are those of decompose's inversion.
"""

READ_AGAIN: Mapping[str, tuple[str, str, Group]] = {
    "maps": ("dreamlayer", "LSSA and CACA", MAPS),
    "inversion": ("exchange", "all", INVERSION),
}
"""name -> whose pictures are read, group and variant, and the group that is told of them."""
