#!/usr/bin/env bash
# Check this project on one GPU, in at most nine minutes, and write one Markdown table:
#   tools/gpu_check.sh [--wheels FOLDER] [--minutes 9] [--cpu] [--images FOLDER] [--out FILE]
# Python is $PYTHON, else .venv's, else python3. --wheels makes an environment of the wheels in a folder and asks no
# package index. If that Python has torch already, the wheels go beside it. How to fill the folder stands in
# requirements/gpu_check.txt.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WHEELS='' MINUTES=9 CPU='' REST=()
while (($#)); do
    case $1 in
        --wheels) WHEELS=$2 && shift ;;
        --minutes) MINUTES=$2 && shift ;;
        --cpu) CPU=1 && REST+=(--cpu) ;;
        *) REST+=("$1") ;;
    esac
    shift
done
[[ -z $CPU ]] || export CUDA_VISIBLE_DEVICES=''

if [[ -z ${PYTHON:-} ]]; then
    PYTHON=python3
    [[ -n $WHEELS || ! -x $ROOT/.venv/bin/python ]] || PYTHON=$ROOT/.venv/bin/python
fi
if [[ -n $WHEELS ]]; then
    SITE=$(mktemp -d)
    trap 'rm -rf "$SITE"' EXIT
    if "$PYTHON" -c 'import torch' 2> /dev/null; then
        "$PYTHON" -m pip install --quiet --no-index --no-deps --no-cache-dir --target "$SITE/packages" "$WHEELS"/*.whl
        PYTHONPATH=$SITE/packages:${PYTHONPATH:-}
    else
        "$PYTHON" -m venv "$SITE/venv"
        PYTHON=$SITE/venv/bin/python
        "$PYTHON" -m pip install --quiet --no-index --no-deps --no-cache-dir "$WHEELS"/*.whl
    fi
fi
export PYTHONPATH=$ROOT:${PYTHONPATH:-}

# A process that dies, or whose GPU stops answering, costs its row; another one goes on with the next. One that cannot
# be interrupted is ended half a minute after its time.
STARTED=$(date +%s) GO_ON=() STATUS=1
for _ in {1..9}; do
    LEFT=$((STARTED + 60 * MINUTES + 30 - $(date +%s)))
    ((LEFT > 60)) || LEFT=60
    STATUS=0
    timeout --foreground --signal=KILL "$LEFT" "$PYTHON" "$ROOT/tools/gpu_check.py" --minutes "$MINUTES" \
        --started "$STARTED" "${REST[@]}" "${GO_ON[@]}" || STATUS=$?
    ((STATUS > 2 && STATUS != 130)) || break
    GO_ON=(--go-on)
done
exit "$STATUS"
