#!/bin/sh
# Compiles the searches into the image's cache, whose key is the hash of the source code.
set -eu
NUMBA_CACHE_DIR="$EAS_NUMBA_CACHE" python -m eas.tasks.jit_cache
chmod -R a+rX "$EAS_NUMBA_CACHE"
