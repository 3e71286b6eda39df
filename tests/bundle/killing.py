"""Runs that are killed: forked children write bundles in a loop, and die by SIGKILL at random moments.

Started as a process of its own by test_store.py, so that nothing of pytest or torch is forked. After each kill the
destination must hold one whole generation, as must every look that is taken while the child runs.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from swiftdeploy.bundle.store import staged

FILES = ("manifest.json", "model.onnx", "golden/inputs.safetensors", "deep/er/weights.bin")


def write(destination, generation):
    with staged(destination, force=True) as folder:
        for name in FILES:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{generation}\n" * 50)


def look(destination):
    """The generation that the destination holds, None where there is none. Raises where it holds half of one."""
    while True:
        try:
            place = os.open(destination, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            found = {read(place, name) for name in FILES}
            # A reader that began before an exchange may see the old folder vanish: then it looks again.
            same = os.fstat(place).st_ino == destination.stat().st_ino
        except FileNotFoundError as error:
            if destination.exists() and os.fstat(place).st_ino == destination.stat().st_ino:
                raise SystemExit(f"half a bundle: {error}") from error
            continue
        finally:
            os.close(place)
        if not same:
            continue
        if len(found) != 1 or len(set(next(iter(found)).split())) != 1 or next(iter(found)).count("\n") != 50:
            raise SystemExit(f"a mixed bundle: {found}")
        return int(next(iter(found)).split()[0])


def read(place, name):
    with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=place)) as stream:
        return stream.read()


def kill_once(destination, first, bundles, delay):
    """The generations that were seen until a child had written so many bundles, for a moment more, and after."""
    child = os.fork()
    if child == 0:
        generation = first
        while True:
            write(destination, generation)
            generation += 1
    seen = [look(destination)]
    while len({generation for generation in seen if generation is not None and generation >= first}) < bundles:
        seen.append(look(destination))
    end = time.monotonic() + delay
    while time.monotonic() < end:
        seen.append(look(destination))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return [*seen, look(destination)]


def main():
    destination, kills = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(sys.argv[3])
    latest, left = -1, 0
    destination.parent.mkdir()
    for kill in range(kills):
        seen = kill_once(destination, 1000 * kill, kill % 3, chance.uniform(0.0, 0.01))
        known = [generation for generation in seen if generation is not None]
        if known != sorted(known) or (known and known[0] < latest):
            raise SystemExit(f"an older bundle came back: {latest}, then {known}")
        if latest >= 0 and None in seen:
            raise SystemExit("the bundle was gone for a moment")
        latest = known[-1] if known else latest
        left += sum(path.name.endswith(".staging") for path in destination.parent.iterdir())
    write(destination, 1000 * kills)
    sys.stdout.write(f"{latest} {left} {sorted(path.name for path in destination.parent.iterdir())}\n")


if __name__ == "__main__":
    main()
