#!/bin/sh
# Installs the core packages and the given extras with locked versions into .venv.
set -eu
# On an emulated architecture compiling a package to bytecode exceeds uv's default timeout of 60 s.
export UV_COMPILE_BYTECODE_TIMEOUT="${UV_COMPILE_BYTECODE_TIMEOUT:-600}"
for extra in "$@"; do
    shift
    set -- "$@" --extra "$extra"
done
exec sh /opt/tools/bin/fetch /opt/tools/bin/uv pip install --quiet --no-cache --link-mode=copy --compile-bytecode \
    --python .venv/bin/python --constraint requirements.txt --requirement pyproject.toml "$@"
