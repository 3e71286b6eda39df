"""A SwiftFormer state dict, whoever wrote it, in the module's own names, and which generation its attention is.

State dict and config in, `Reading` out; builds no module. The generation cannot be read off keys or shapes, and a
strict load of the wrong one succeeds, so it comes from provenance: Hugging Face implements `sum`, timm implements
`token_l2`. Official names stand for both; there the user says it, or `swiftformer_evidence` finds it in the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from swiftdeploy.errors import CheckpointError
from swiftdeploy.spec import ATTENTIONS, Attention, Preprocessing, Reading

from .provenance import hf_preprocessing, origin_of, timm_preprocessing
from .swiftformer_evidence import decayed_only

Naming = Literal["official", "hf", "timm"]

_OWNER: Mapping[Naming, str] = {"official": "the official release", "hf": "Hugging Face", "timm": "timm"}
# No entry for official names: the release had both generations.
_GENERATION: Mapping[Naming, Attention] = {"hf": "sum", "timm": "token_l2"}
# Prefixes that no other of the namings has; heads and norms are called alike in all three.
_FIRST_KEY: Mapping[Naming, re.Pattern[str]] = {
    "official": re.compile(r"(patch_embed\.\d|network\.)"),
    "hf": re.compile(r"swiftformer\."),
    "timm": re.compile(r"(stem|stages)\."),
}
_HF_RULES = (
    (re.compile(r"^swiftformer\.patch_embed\.patch_embedding\."), "patch_embed."),
    (re.compile(r"^swiftformer\.encoder\.network\.(\d+)\.blocks\.(\d+)\."), r"network.\1.\2."),
    (re.compile(r"^swiftformer\.encoder\.network\.(\d+)\."), r"network.\1."),
    (re.compile(r"\.depth_wise_conv\."), ".dwconv."),
    (re.compile(r"\.point_wise_conv([12])\."), r".pwconv\1."),
    (re.compile(r"\.attn\.proj\."), ".attn.Proj."),
)
_TIMM_RULES = (
    (re.compile(r"^stem\."), "patch_embed."),
    (re.compile(r"\.attn\.proj\."), ".attn.Proj."),
    (re.compile(r"(\.layer_scale(_[12])?)\.gamma$"), r"\1"),
    (re.compile(r"^head_dist\."), "dist_head."),
)
_TIMM_BLOCK = re.compile(r"^stages\.(\d+)\.blocks\.")
_TIMM_DOWNSAMPLE = re.compile(r"^stages\.(\d+)\.downsample\.")
# Fields of a transformers config that change the function and leave no trace in the weights.
_HF_FIXED: Mapping[str, Any] = {
    "hidden_act": "gelu",
    "batch_norm_eps": 1e-5,
    "down_patch_size": 3,
    "down_stride": 2,
    "down_pad": 1,
    "use_layer_scale": True,
}


def read(state: Mapping[str, Tensor], *, config: Mapping[str, Any] | None, attention: str | None) -> Reading:
    """The state in the module's names, with the factory's arguments, and the sentences that say how they were found.

    Raises CheckpointError where no SwiftFormer naming fits, two fit, the config describes another function, or the
    attention generation is unknown or contradicts its provenance.
    """
    naming = _naming_of(state)
    origin = origin_of(config)
    # Both transformers and timm convert official names themselves, so those may stand beside either config.
    if origin is not None and naming not in ("official", origin):
        raise CheckpointError(
            f"keys are named by {_OWNER[naming]}, but the config beside them is of {_OWNER[origin]}",
            hint="put the config and the weights of one release into the folder",
        )
    if origin == "hf" and config is not None:
        _refuse_other_function(config)
    renamed = {_official(key, naming): tensor for key, tensor in state.items()}
    generation, why = _generation(renamed, naming if origin is None else origin, attention)
    return Reading(
        naming=naming,
        state=renamed,
        arguments={**_arguments(renamed), "attention": generation},
        conclusions=(why,),
        preprocessing=_preprocessing(naming if origin is None else origin, config),
    )


def _naming_of(state: Mapping[str, Tensor]) -> Naming:
    found: list[Naming] = [name for name, first in _FIRST_KEY.items() if any(first.match(key) for key in state)]
    if len(found) == 1:
        return found[0]
    example = next(iter(state), "none")
    raise CheckpointError(
        f"keys follow {'more than one' if found else 'no'} SwiftFormer naming (first key: {example})",
        hint="is this a SwiftFormer? look at the keys with: swiftdeploy inspect CHECKPOINT",
    )


def _official(key: str, naming: Naming) -> str:
    if naming == "official":
        return key
    if naming == "timm":
        # timm puts the embedding into the stage after it; the release gives it a place of its own between two.
        key = _TIMM_BLOCK.sub(lambda match: f"network.{2 * int(match[1])}.", key)
        key = _TIMM_DOWNSAMPLE.sub(lambda match: f"network.{2 * int(match[1]) - 1}.", key)
    for pattern, replacement in _HF_RULES if naming == "hf" else _TIMM_RULES:
        key = pattern.sub(replacement, key)
    return key


def _arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    arguments: dict[str, Any] = {"features": "norm0.weight" in state}
    # A backbone has no heads, and saying so would be an argument that its factory contradicts.
    if not arguments["features"]:
        arguments["distillation"] = "dist_head.weight" in state
    # A missing head is left to the strict comparison of keys, which names it.
    if "head.weight" in state:
        arguments["num_classes"] = int(state["head.weight"].shape[0])
    if "patch_embed.0.weight" in state:
        arguments["in_channels"] = int(state["patch_embed.0.weight"].shape[1])
    return arguments


def _generation(state: Mapping[str, Tensor], owner: Naming, asked: str | None) -> tuple[Attention, str]:
    """The generation and why. `owner` is whose implementation trained or holds the weights."""
    if asked is not None and asked not in ATTENTIONS:
        raise CheckpointError(f"attention {asked!r} is not known", hint=f"choose from {', '.join(ATTENTIONS)}")
    evidence = decayed_only([tensor for key, tensor in state.items() if key.endswith(".attn.w_g")])
    if owner in _GENERATION:
        known = _GENERATION[owner]
        if asked not in (None, known):
            raise CheckpointError(
                f"these weights come from {_OWNER[owner]}, which computes {known!r} attention, not {asked!r}",
                hint="leave --attention out; the wrong generation loads without an error and answers nonsense",
            )
        # Converters rename keys and ask no questions; this is how first-release weights reach timm's names.
        if known == "token_l2" and evidence is not None:
            raise CheckpointError(
                f"weights of {_OWNER[owner]} are 'token_l2', but these were trained as 'sum': {evidence}",
                hint="convert them from the official checkpoint again, or give that one with --attention sum",
            )
        return known, f"attention is {known!r}: weights of {_OWNER[owner]}, which computes no other"
    if asked == "token_l2" and evidence is not None:
        raise CheckpointError(
            f"attention 'token_l2' contradicts the weights: {evidence}", hint="use --attention sum, or leave it out"
        )
    # The evidence can only speak for `sum`: that a vector was trained does not show by what.
    if asked == "sum" or (asked is None and evidence is not None):
        return "sum", f"attention is 'sum': {evidence}" if evidence else "attention is 'sum': so said the user"
    if asked == "token_l2":
        return "token_l2", "attention is 'token_l2': so said the user"
    raise CheckpointError(
        "two SwiftFormer generations share these keys, and nothing in the weights tells which one this is",
        hint="pass --attention token_l2 for official weights released or trained with code since 26 July 2023, "
        "--attention sum for older ones",
    )


def _preprocessing(owner: Naming, config: Mapping[str, Any] | None) -> Preprocessing | None:
    """How the owner prepares images; None leaves it to the catalog's row, which is the official way."""
    if owner == "hf":
        return hf_preprocessing(config)
    return timm_preprocessing(config) if owner == "timm" else None


def _refuse_other_function(config: Mapping[str, Any]) -> None:
    for field, value in _HF_FIXED.items():
        if config.get(field, value) != value:
            raise CheckpointError(
                f"config.json says {field} = {config[field]!r}; this SwiftFormer has {value!r}",
                hint="give your own module with --model package.module:factory",
            )
