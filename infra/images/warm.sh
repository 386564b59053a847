#!/bin/sh
# Compiles the searches' code into the image, where workers find it by the content of its source.
set -eu
NUMBA_CACHE_DIR="$EAS_NUMBA_CACHE" python -m eas.tasks.jit_cache
chmod -R a+rX "$EAS_NUMBA_CACHE"
