"""Make a bundle again from what it records, and compare every byte.

What no export gives twice is taken over as it is, and named: device results and a signature, which came later, and an
.ort file, which ONNX Runtime orders differently each time. What is written about them is made again and compared.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from swiftdeploy import checkpoint, console
from swiftdeploy.bundle import (
    ENVELOPE_NAME,
    MANIFEST_NAME,
    Bundle,
    Manifest,
    attest,
    payload_records,
    read_bundle,
    read_manifest,
    records,
    tree_digest,
)
from swiftdeploy.errors import ArtifactError, CheckpointError, UsageError
from swiftdeploy.pipeline.contents import parts
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.recorded import request_of
from swiftdeploy.pipeline.trust import vouched_model
from swiftdeploy.spec import to_plain

_HUB = "hf-hub:"
_FOLLOWING = ("files", "seal", "tree_sha256")  # what any other difference changes too


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuild:
    """A bundle that was made again: `files` of it have the same bytes.

    `taken_over` were copied from the bundle itself, and so not compared: no run gives them twice.
    """

    path: Path
    files: int
    checkpoint: str
    taken_over: tuple[str, ...]


def rebuild(
    path: Path,
    weights: str | None = None,
    *,
    model: str | None = None,
    images: Path | None = None,
    calibration: Path | None = None,
) -> Rebuild:
    """Export the bundle at `path` again, in a temporary folder, and compare it with what lies there.

    `weights` is the checkpoint; without it, one of the recorded name is looked for beside the bundle and in the
    working folder. `model` must be the recorded one, and has to be given where that is none of the catalog's. Raises
    ArtifactError naming what differs, CheckpointError for other weights, UsageError where something must be given or
    is not found, and whatever `export` raises.
    """
    with console.step(f"hashing {path}"):
        bundle = read_bundle(path)
    vouched_model(bundle.path.name, bundle.manifest.recipe, model)
    found = _weights(bundle, weights)
    with tempfile.TemporaryDirectory(prefix="swiftdeploy-") as scratch:
        if found is not None:
            _check_weights(bundle, found)
            found = _under_its_name(found, bundle, Path(scratch))
        request = request_of(
            bundle, Path(scratch) / "rebuilt", checkpoint=found, images=images, calibration=calibration
        )
        made = export(request).manifest
        taken_over = _add_later(bundle, request.destination, made)
        again = read_bundle(request.destination)
        _compare(bundle, again)
        files = len(records(request.destination)) - len(taken_over)
    source = bundle.manifest.provenance.source
    return Rebuild(path=path, files=files, checkpoint=source, taken_over=taken_over)


def check_pictures(paths: Sequence[Path], *, images: Path | None, calibration: Path | None) -> None:
    """Refuse images that no rebuild of the bundles at `paths` would look at.

    Raises UsageError where none was exported with such, ArtifactError for a manifest that cannot be read.
    """
    recipes = [read_manifest(path).recipe for path in paths]
    for option, given, recorded in (
        ("--images", images, [recipe.images for recipe in recipes]),
        ("--calibration", calibration, [recipe.calibration for recipe in recipes]),
    ):
        if given is not None and not any(recorded):
            names = ", ".join(path.name for path in paths)
            raise UsageError(f"{names}: exported without {option}", hint=f"leave {option} out")


def _weights(bundle: Bundle, given: str | None) -> str | None:
    """The checkpoint to use, None for an untrained bundle."""
    provenance = bundle.manifest.provenance
    if provenance.weights == "untrained":
        if given is not None:
            raise UsageError(f"{bundle.path.name} was made from a seed", hint="leave --checkpoint out")
        return None
    if given is not None:
        return given
    if provenance.source.startswith(_HUB):  # nothing is fetched because a bundle says so
        raise UsageError(f"{bundle.path.name} was made from the hub", hint=f"add --checkpoint {provenance.source}")
    _check_name(bundle)
    for folder in (bundle.path.resolve().parent, Path.cwd()):
        if (folder / provenance.source).exists():
            return str(folder / provenance.source)
    raise UsageError(f"{provenance.source} is neither beside {bundle.path} nor here", hint="name it with --checkpoint")


def _check_weights(bundle: Bundle, found: str) -> None:
    with console.step(f"hashing {found}"):
        digest = checkpoint.load(found).sha256
    known = bundle.manifest.provenance.sha256
    if digest != known:
        raise CheckpointError(
            f"{found} is not what {bundle.path.name} was made from: its sha256 is {digest[:16]}, not {known[:16]}",
            hint="give the checkpoint of that time with --checkpoint",
        )


def _check_name(bundle: Bundle) -> None:
    source = bundle.manifest.provenance.source
    if Path(source).name != source or source in ("", ".."):
        raise ArtifactError(f"{bundle.path.name} names a checkpoint {source!r}", hint="do not trust this bundle")


def _under_its_name(found: str, bundle: Bundle, scratch: Path) -> str:
    """The checkpoint under the name that the manifest records, which is one of the bytes to compare."""
    name = bundle.manifest.provenance.source
    if found == name or (not found.startswith(_HUB) and Path(found).name == name):
        return found
    if _HUB in (found[: len(_HUB)], name[: len(_HUB)]):
        raise UsageError(f"{bundle.path.name} was made from {name}", hint=f"give --checkpoint {name}")
    _check_name(bundle)
    link = scratch / name
    link.symlink_to(Path(found).expanduser().resolve())
    return str(link)


def _add_later(bundle: Bundle, folder: Path, made: Manifest) -> tuple[str, ...]:
    """Bring into the new bundle what the old one gained after its export; the names of what was taken over."""
    unstable = {a.path: a for a in bundle.manifest.artifacts if a.path.endswith(".ort")}
    names = [*unstable, *(record.path for record in bundle.manifest.device), ENVELOPE_NAME]
    taken_over = tuple(name for name in names if bundle.file(name).is_file())
    for name in taken_over:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(bundle.file(name), folder / name)
    files = payload_records(folder)
    manifest = dataclasses.replace(
        made,
        artifacts=tuple(unstable.get(artifact.path, artifact) for artifact in made.artifacts),
        device=bundle.manifest.device,
        files=files,
        tree_sha256=tree_digest(files),
    )
    attest(folder, manifest)
    return taken_over


def _compare(old: Bundle, new: Bundle) -> None:
    before = {(record.path, record.sha256) for record in records(old.path)}
    after = {(record.path, record.sha256) for record in records(new.path)}
    names = sorted({name for name, _ in before ^ after})
    if not names:
        return
    payload = {record.path for record in (*old.manifest.files, *new.manifest.files)}
    found = parts(old.path, new.path, [name for name in names if name in payload])
    moved = _moved(old.manifest.tool, new.manifest.tool)
    raise ArtifactError(
        f"{old.path.name} is not what its record gives: {'; '.join((*found, *_manifest(old, new, found), *moved))}",
        hint=_hint(old.manifest, new.manifest),
    )


def _manifest(old: Bundle, new: Bundle, found: Sequence[str]) -> tuple[str, ...]:
    """Which facts of the manifest differ. Where files do, some follow from them, and the files say enough."""
    if found:
        return ()
    one, two = to_plain(old.manifest), to_plain(new.manifest)
    odd = [key for key in one if one[key] != two[key] and key not in _FOLLOWING]
    return (f"{MANIFEST_NAME} ({', '.join(odd) or 'in what follows from it'})",)


def _moved(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """Versions that differ and may explain the rest."""
    odd = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return tuple(f"{name} was {old.get(name) or 'absent'}, is {new.get(name) or 'absent'}" for name in odd)


def _hint(old: Manifest, new: Manifest) -> str:
    if _moved(old.tool, new.tool):
        return "rebuild with the versions that the manifest records"
    if old.recipe.code != new.recipe.code:
        return "the model's code changed since: rebuild from the code of that time"
    return "do not trust this bundle, or look for what else changed on this machine"
