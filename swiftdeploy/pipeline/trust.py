"""Code that a bundle names runs only where a person has named it, too."""

from __future__ import annotations

from swiftdeploy.bundle import RequestRecord
from swiftdeploy.errors import UsageError


def vouched_model(bundle: str, recipe: RequestRecord, given: str | None) -> str:
    """The model of a bundle (called `bundle` in messages), as a name that may be resolved.

    Raises UsageError where `given` is another model, or where nothing is given and the recorded one is code outside the
    catalog: a bundle that names os:mkdir would otherwise run it.
    """
    if given is not None and given != recipe.model:
        raise UsageError(f"{bundle} was made from {recipe.model}", hint="leave --model out, or name that")
    if given is None and ":" in recipe.model:
        raise UsageError(
            f"{bundle} was made by code outside the catalog: {recipe.model} with {dict(recipe.arguments)}",
            hint=f"it would be run: where you trust it, add --model {recipe.model}",
        )
    return recipe.model
