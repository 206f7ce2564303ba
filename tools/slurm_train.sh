#!/usr/bin/env bash
# Train under Slurm, and go on after the time limit or a preemption until the training is finished:
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=8] [TIME=24:00:00] [LEAD=120] [SBATCH_ARGS=...] [SRUN_ARGS=...] \
#       tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# It submits a job. LEAD seconds before its limit (at least a step and a checkpoint) Slurm signals the processes, which
# save and end; the job is then queued again and goes on with --resume. Without WAIT=1 it returns when it is submitted.
set -euo pipefail
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
shift 3
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# where tools/train.py leaves the marker of an interrupted run; what to say when the job goes on; whether to say it now
WORK_DIR=work_dirs/$(basename "${CONFIG%.*}")
LATER=()
NOW=(--resume)
for ((i = 1; i <= $#; i++)); do
    case ${!i} in
        --work-dir) next=$((i + 1)) && WORK_DIR=${!next} ;;
        --work-dir=* | work_dir=*) WORK_DIR=${!i#*=} ;;
        --resume | --resume=* | --overwrite) NOW=() ;;
    esac
    [ "${!i}" = --overwrite ] || LATER+=("${!i}")
done
LATER+=(--resume)

GPUS=${GPUS:-8} GPUS_PER_NODE=${GPUS_PER_NODE:-8} CPUS_PER_TASK=${CPUS_PER_TASK:-8}
TRAIN=$(printf '%q ' srun --kill-on-bad-exit=1 --cpus-per-task="$CPUS_PER_TASK")${SRUN_ARGS:-}$(
    printf ' %q' "${PYTHON:-python}" -u "$HERE/train.py" "$CONFIG" --launcher slurm)
JOB="#!/usr/bin/env bash
rm -f $(printf '%q' "$WORK_DIR/interrupted")
if [ \"\${SLURM_RESTART_COUNT:-0}\" -eq 0 ]; then
    $TRAIN$(printf ' %q' "$@" "${NOW[@]}")
else
    $TRAIN$(printf ' %q' "${LATER[@]}")
fi
code=\$?
if [ -e $(printf '%q' "$WORK_DIR/interrupted") ]; then
    echo \"interrupted and saved: queued again\"
    exec scontrol requeue \"\$SLURM_JOB_ID\"
fi
exit \$code"
# shellcheck disable=SC2086  # SBATCH_ARGS is a list of words
sbatch -p "$PARTITION" --job-name="$JOB_NAME" ${TIME:+--time="$TIME"} \
    --gres="gpu:$GPUS_PER_NODE" --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="$CPUS_PER_TASK" \
    --signal="USR1@${LEAD:-120}" --requeue --open-mode=append ${WAIT:+--wait} ${SBATCH_ARGS:-} <<<"$JOB"
