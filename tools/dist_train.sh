#!/usr/bin/env bash
# Train on several GPUs, or on several processes of a machine without one (gloo):
#   tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
#
# SIGTERM, SIGUSR1, SIGHUP or Ctrl-C: the processes finish their step and save; WORK_DIR/interrupted names what was saved,
# --resume goes on from it. The exit code is torchrun's own. torchrun gives them 30 seconds; for models whose step and
# checkpoint take longer, the save by minutes (default_hooks.checkpoint.minutes) is what is left.
set -euo pipefail
CONFIG=$1
PROCESSES=$2
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Of SIGUSR1 torchrun itself would die; newer versions read the second name, and set the first from it.
export TORCHELASTIC_SIGNALS_TO_HANDLE=${TORCHELASTIC_SIGNALS_TO_HANDLE:-SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1}
export PET_SIGNALS_TO_HANDLE=$TORCHELASTIC_SIGNALS_TO_HANDLE
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$HERE/train.py" "$CONFIG" --launcher pytorch "${@:3}"
