#!/bin/sh
# Compiles the searches' code into the image. What was compiled is found again by the time stamp of its
# source, of which images keep whole seconds only.
set -eu
grep -lr --include='*.py' -E 'n?jit' eas/tasks .venv/lib/python3*/site-packages/transitleastsquares 2>/dev/null | while read -r file; do
    touch -d "@$(stat -c %Y "$file")" "$file"
done
NUMBA_CACHE_DIR="$EAS_NUMBA_CACHE" python -m eas.tasks.warm
chmod -R a+rX "$EAS_NUMBA_CACHE"
