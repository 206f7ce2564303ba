#!/usr/bin/env bash
# Train under Slurm, and go on after the time limit or a preemption until the training is finished:
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] [TIME=24:00:00] [LEAD=120] [SBATCH_ARGS=...] [SRUN_ARGS=...] \
#       tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# It submits a job. LEAD seconds before its limit (at least a step and a checkpoint) Slurm signals the processes, which
# save and end; the job is then queued again and goes on with --resume, likewise if the signal came before the training
# listened to it, which ends the processes. Without WAIT=1 it returns when it is submitted.
set -euo pipefail
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
shift 3
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# what to say when the job goes on; whether to say it now
LATER=()
NOW=(--resume)
for each in "$@"; do
    case $each in
        --resume | --resume=* | --overwrite) NOW=() ;;
    esac
    [ "$each" = --overwrite ] || LATER+=("$each")
done
LATER+=(--resume)

GPUS=${GPUS:-8} GPUS_PER_NODE=${GPUS_PER_NODE:-8} CPUS_PER_TASK=${CPUS_PER_TASK:-8}
TRAIN=$(printf '%q ' srun --kill-on-bad-exit=1 --cpus-per-task="$CPUS_PER_TASK")${SRUN_ARGS:-}$(
    printf ' %q' "${PYTHON:-python}" -u "$HERE/train.py" "$CONFIG" --launcher slurm)
# The config may say where the work dir is: the marker of an interrupted run is left here, too. 138: ended by SIGUSR1,
# which a training does not do; one that has not started is told the same again, --overwrite included.
JOB="#!/usr/bin/env bash
export MMRS_SSL_MARKER=\$PWD/.interrupted_\$SLURM_JOB_ID
rm -f \"\$MMRS_SSL_MARKER\"
[ \"\${SLURM_RESTART_COUNT:-0}\" -ne 0 ] || rm -f \"\$MMRS_SSL_MARKER.started\"
if [ ! -e \"\$MMRS_SSL_MARKER.started\" ]; then
    $TRAIN$(printf ' %q' "$@" "${NOW[@]}")
else
    $TRAIN$(printf ' %q' "${LATER[@]}")
fi
code=\$?
if [ -e \"\$MMRS_SSL_MARKER\" ] || [ \$code -eq 138 ]; then
    echo \"interrupted: queued again\"
    exec scontrol requeue \"\$SLURM_JOB_ID\"
fi
rm -f \"\$MMRS_SSL_MARKER\"{,.started}
exit \$code"
# shellcheck disable=SC2086  # SBATCH_ARGS is a list of words
sbatch -p "$PARTITION" --job-name="$JOB_NAME" ${TIME:+--time="$TIME"} \
    --gres="gpu:$GPUS_PER_NODE" --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="$CPUS_PER_TASK" \
    --signal="USR1@${LEAD:-120}" --requeue --open-mode=append ${WAIT:+--wait} ${SBATCH_ARGS:-} <<<"$JOB"
