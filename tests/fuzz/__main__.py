"""Random input for all that reads what users wrote: ``python -m tests.fuzz --seconds 600 --seed 1 [target ...]``."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.run import TARGETS, fuzz


def main() -> int:
    """Give each target its share of the time; stop at the first failure, with its example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), metavar="target", help=", ".join(TARGETS))
    options = parser.parse_args()
    for name in options.targets:
        tried = fuzz(name, options.seconds / len(options.targets), options.seed)
        print(f"{name}: {tried:,} examples, none failed (seed {options.seed})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
