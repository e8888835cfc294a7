#!/bin/bash
# single_device.sh COMMAND LAYER: the only device is lost, or out of memory, at places spread over a run: that ends with a
# sentence that says what failed, and goes on from its checkpoint to the same bits as a run that was left alone.
. "$(dirname "$0")/../cli/recipe.sh"
layer=$2
export LAYERWISE_TUNE=off
places=20
buffers=30

for call in $(grep -oh 'clEnqueue[A-Za-z]*' "$(dirname "$0")"/../../src/device/*.c | sort -u); do
	grep -q "ENQUEUE($call," "$(dirname "$0")/layer.c" || fail "the layer does not know of $call"
done

run() { # faults, folder, more arguments; prints the exit code
	local code=0 faults=$1 run=$2
	shift 2
	OPENCL_LAYERS=$layer LAYERWISE_FAULT=$faults timeout 60 "$command" train recipe.yaml --set train.steps=10 --set groups.0.unfreeze_at=6 \
		--set "train.checkpoint={dir: $PWD/$run, every: 3}" --save "$run.safetensors" "$@" >"$run.out" 2>"$run.err" || code=$?
	! grep -qE 'Sanitizer|runtime error' "$run.err" || code=sanitizer
	echo $code
}

expect_failure() { # faults, pattern
	local code pattern=$2
	rm -rf lost lost.*
	code=$(run "$1" lost)
	[ "$code" = 1 ] || fail "$1: exit code $code: $(cat lost.err)"
	pattern=${pattern//CALL/$(sed -n 's/^fault layer: device 0 is lost at //p' lost.err)}
	tail -n 1 lost.err | grep -qE -- "^layerwise train: $pattern" || fail "$1: no /$pattern/ in: $(cat lost.err)"
	[ ! -e lost.safetensors ] || fail "$1: weights were saved"
	saved=$(find lost -name "*.safetensors" 2>/dev/null | wc -l || true)
	code=$(run "" lost --resume-or-start lost)
	[ "$code" = 0 ] || fail "resumed after $1: exit code $code: $(cat lost.err)"
	[ "$saved" = 0 ] || grep -q 'resumed from' lost.err || fail "$1: the checkpoint is not taken: $(cat lost.err)"
	cmp whole.safetensors lost.safetensors || fail "resumed after $1: the weights differ"
	[ "$(ls lost)" = "$(ls whole)" ] || fail "resumed after $1: left in the folder: $(ls lost)"
}

total() { sed -n "s/.*\<$1=\([0-9]*\).*/\1/p" counts; }

code=$(LAYERWISE_FAULT_COUNT=$PWD/counts run "" whole)
[ "$code" = 0 ] || fail "the undisturbed run: exit code $code: $(cat whole.err)"

# clFinish: a plan that could not be made is waited for, which fails as well, and that is told
resumed=0
for place in $(seq $places); do
	expect_failure "device=0;call=any;after=$((($(total any) * (2 * place - 1) + places) / (2 * places)))" ".*:0: CALL: CL_OUT_OF_RESOURCES"
	[ "$saved" = 0 ] || resumed=$((resumed + 1))
	expect_failure "device=0;mode=event;after=$((($(total enqueue) * (2 * place - 1) + places) / (2 * places)))" \
		".*:0: an enqueued command failed on the device: CL_OUT_OF_RESOURCES"
	[ "$saved" = 0 ] || resumed=$((resumed + 1))
done
[ $resumed -ge $places ] || fail "only $resumed of $((2 * places)) runs had written a checkpoint"

[ "$(total create)" -lt $buffers ] && buffers=$(total create)
for n in $(seq "$buffers"); do
	expect_failure "create=$n" ".*clCreateBuffer: CL_MEM_OBJECT_ALLOCATION_FAILURE \([0-9]+ bytes on .*:0\)"
done
echo "lost at $((2 * places)) of $(total any) calls, $resumed times after a checkpoint; $buffers of $(total create) buffers refused"
