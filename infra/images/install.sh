#!/bin/sh
# Installs the packages of the core, and of the extras that are named, at the locked versions, into .venv.
set -eu
# Where another architecture is emulated, compiling a package to bytecode outlasts uv's limit of 60 s.
export UV_COMPILE_BYTECODE_TIMEOUT="${UV_COMPILE_BYTECODE_TIMEOUT:-600}"
for extra in "$@"; do
    shift
    set -- "$@" --extra "$extra"
done
exec sh /opt/tools/bin/fetch /opt/tools/bin/uv pip install --quiet --no-cache --link-mode=copy --compile-bytecode \
    --python .venv/bin/python --constraint requirements.txt --requirement pyproject.toml "$@"
