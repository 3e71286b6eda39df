"""Work that makes a bundle of a few hundred bytes, for runs that are about everything but converting.

Named "tinywork:NAME" where a run's workers should use it; the folder is then on sys.path. What is on the checkpoint's
first line decides what happens: "die", "exit", "bug", "memory", "refuse", "slow" or nothing of that kind.
"""

import dataclasses
import importlib.util
import os
import signal
import time
from pathlib import Path

from swiftdeploy import bundle
from swiftdeploy.errors import ParityError
from swiftdeploy.matrix.cache import Made
from swiftdeploy.matrix.keeping import carry_out

_spec = importlib.util.spec_from_file_location("tiny_bundles", Path(__file__).parent.parent / "bundle" / "conftest.py")
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


def build(job):
    return carry_out(job, make)


def make(job, place):
    told = Path(job.request.checkpoint).read_bytes()[:40].decode("latin-1").split("\n")[0]
    match told:
        case "die":
            place.mkdir()
            (place / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "bug":
            raise KeyError("a bug")
        case "memory":
            raise MemoryError
        case "refuse":
            raise ParityError("a fails leg 'outputs': no", hint="mend it")
        case "slow":
            Path(job.request.checkpoint).with_suffix(".started").touch()
            time.sleep(60)
        case "noisy":
            os.write(1, b"this must not reach stdout")
    place.mkdir()
    tiny.fill(place)
    # The weights are in the bundle, so that other weights give other bytes.
    (place / "tiny-fp32.onnx").write_bytes(Path(job.request.checkpoint).read_bytes())
    manifest = tiny.describe(place)
    digest = job.parts["checkpoint"]
    provenance = dataclasses.replace(manifest.provenance, sha256=digest)
    bundle.attest(place, dataclasses.replace(manifest, provenance=provenance))
    if told == "touch":
        Path(job.request.checkpoint).write_text("changed meanwhile")
    return Made(seconds={"load": 0.1, "convert": 0.2}, peak_memory_bytes=1 << 20)
