#!/bin/bash
# ranks.sh COMMAND: 1, 2 and 4 processes train to the same bits where the recipe asks for that, and nearly the same losses where
# not; a checkpoint of 4 goes on with 1, 2 and 3 as if nothing had been.
. "$(dirname "$0")/../cli/recipe.sh"
. "$(dirname "$0")/mpirun.sh"

train() { # processes, name, more arguments
	local processes=$1 name=$2
	shift 2
	ranks "$processes" "$command" train recipe.yaml --log "$name.jsonl" --save "$name.safetensors" "$@" >"$name.out" 2>&1 ||
		fail "$processes processes: $(cat "$name.out")"
}

same=(--set train.reproducible=true --set train.clip_norm=1 --set train.steps=50)
for processes in 1 2 4; do
	train $processes same$processes "${same[@]}"
	cmp same1.safetensors same$processes.safetensors || fail "$processes processes: the weights differ"
	cmp same1.jsonl same$processes.jsonl || fail "$processes processes: the log differs"
done
echo "1, 2 and 4 processes: the same bits"

train 2 devices "${same[@]}" --device portable:0/2
cmp same1.safetensors devices.safetensors || fail "two parts of a device, one a process: the weights differ"

train 4 saved "${same[@]}" --set "train.checkpoint={dir: saved, every: 15, keep: 9}"
for processes in 1 2 3; do
	for step in 15 45; do
		rm -rf resumed && mkdir resumed
		cp saved/checkpoint-00000000$step.safetensors resumed
		train $processes resumed "${same[@]}" --resume resumed
		grep -q "resumed from step $step" resumed.out || fail "$processes processes did not resume from step $step"
		cmp same1.safetensors resumed.safetensors || fail "$processes processes from step $step: the weights differ"
	done
done
echo "a checkpoint of 4 processes goes on with 1, 2 and 3"

for processes in 1 2 4; do
	train $processes near$processes --set train.sync_batchnorm=true --set train.steps=100
done
python3 - <<'PYTHON' || fail "losses are too far from those of one process"
import json
def losses(processes):
    return [json.loads(line)["loss"] for line in open(f"near{processes}.jsonl")]
for processes in 2, 4:
    one, several = losses(1), losses(processes)
    far = max(abs(a - b) / a for a, b in zip(one, several))
    print(f"{processes} processes: losses of {len(several)} steps within {far:.1e}")
    assert len(one) == len(several) == 100 and far < 1e-5
PYTHON
