#!/usr/bin/env bash
# Make the virtual environment named by $1 (default .venv) with mms_adapt and its development tools.
# Uses uv where it can be had, since it takes seconds where pip takes minutes; falls back to pip.
#
#   PYTHON=python3.12 bash data_scripts/setup.sh    another interpreter
#   CONSTRAINTS=""    bash data_scripts/setup.sh    no pinned torch
#   INSTALLER=pip     bash data_scripts/setup.sh    no uv
#   UV_TORCH_BACKEND=cpu bash data_scripts/setup.sh no CUDA libraries, where uv installs from the internet
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
python=${PYTHON:-python3}
constraints=${CONSTRAINTS-constraints.txt}
extras=${EXTRAS:-dev}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "setup: $python is not Python 3.11 or newer; say which one is: make setup PYTHON=python3.12" >&2
  exit 1
fi

if [[ ! -x $venv/bin/python ]]; then
  echo "setup: making $venv (once; a minute or two)"
  "$python" -m venv "$venv"
fi

# A usable uv: on the path (a version manager's shim may be there without one), a module, or from the registry.
if [[ ${INSTALLER:-uv} == pip ]]; then uv=()
elif uv --version >/dev/null 2>&1; then uv=(uv)
elif "$python" -m uv --version >/dev/null 2>&1; then uv=("$python" -m uv)
elif "$venv/bin/python" -m uv --version >/dev/null 2>&1; then uv=("$venv/bin/python" -m uv)
elif "$venv/bin/python" -m pip install -q --disable-pip-version-check uv >/dev/null 2>&1; then
  uv=("$venv/bin/python" -m uv)
else uv=()
fi

arguments=(-e ".[$extras]")
if [[ -n $constraints ]]; then arguments+=(-c "$constraints"); fi

if (( ${#uv[@]} )) &&
  # uv does not read pip's settings: wheels that lie in a folder are found only when it is told
  UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}" "${uv[@]}" pip install -q -p "$venv/bin/python" "${arguments[@]}"; then
  :
else
  echo "setup: installing with pip, which takes some minutes" >&2
  "$venv/bin/python" -m ensurepip -q >/dev/null 2>&1 || true
  "$venv/bin/python" -m pip install -qq --disable-pip-version-check "${arguments[@]}"
fi
touch "$venv/.ready"
