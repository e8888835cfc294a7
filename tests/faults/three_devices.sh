#!/bin/bash
# three_devices.sh COMMAND LAYER: three devices train ten steps, and each is lost in each step: the run goes on without it,
# says so, and ends with the bits of a run that lost nothing. Where all are lost, a checkpoint holds the last whole step.
. "$(dirname "$0")/../cli/recipe.sh"
layer=$2
steps=10
export POCL_DEVICES="pthread pthread pthread" LAYERWISE_TUNE=off

# owners given, or they would depend on how fast the devices happen to be, and with them what each enqueues
owners="--set groups.0.device=portable:2 --set groups.1.device=portable:1"
declare -A arguments=([same]="--set train.reproducible=true" [near]="--set train.reproducible=false")

run() { # same or near, faults, name, more arguments; prints the exit code
	local code=0 kind=$1 faults=$2 name=$3
	shift 3
	# shellcheck disable=SC2086
	OPENCL_LAYERS=$layer LAYERWISE_FAULT=$faults timeout 60 "$command" train recipe.yaml --device portable:0,portable:1,portable:2 \
		--set "shares=[1, 1, 1]" --set train.batch=30 --set train.steps=$steps --set groups.0.unfreeze_at=6 $owners ${arguments[$kind]} \
		--json --log "$name.jsonl" "$@" >"$name.out" 2>"$name.err" || code=$?
	! grep -qE 'Sanitizer|runtime error' "$name.err" || code=sanitizer
	echo $code
}

expect() { # exit code, what run is given
	local code expected=$1 name=$4
	shift
	rm -f "$name".*
	code=$(run "$@" --save "$name.safetensors")
	[ "$code" = "$expected" ] || fail "$*: exit code $code, $expected was expected: $(cat "$name.err")"
}

calls() { # file, device
	local count
	count=$(sed -n "s/^device=$2 enqueue=\([0-9]*\).*/\1/p" "$1")
	echo "${count:-0}"
}

# The enqueue in the middle of a step, from how many there were by the ends of that step and the one before.
middle() { # same or near, device, step
	local before after
	after=$(calls "$1.$3.counts" "$2")
	if [ "$3" = 1 ]; then
		before=$((2 * after - $(calls "$1.2.counts" "$2")))
	else
		before=$(calls "$1.$(($3 - 1)).counts" "$2")
	fi
	echo $(((before + after) / 2))
}

expect_told() { # name, device: it was lost, and standard error says so in layerwise's words
	grep -q "^fault layer: device $2 is lost" "$1.err" || fail "$1: device $2 was not lost"
	grep -v '^fault layer' "$1.err" | grep -qiE "(portable|portable computing language):$2\>" || fail "$1: nothing on device $2: $(cat "$1.err")"
}

expect_same() { # name
	cmp same.safetensors "$1.safetensors" || fail "$1: the weights differ: $(cat "$1.err")"
	[ "$(grep -c '^{"step"' "$1.jsonl")" = $steps ] || fail "$1: steps are missing: $(cat "$1.jsonl")"
}

for kind in same near; do
	expect 0 $kind "" $kind
	: >code
	for step in $(seq $steps); do
		LAYERWISE_FAULT_COUNT=$PWD/$kind.$step.counts run $kind "" counted --set train.steps="$step" >>code
	done
	[ "$(sort -u code)" = 0 ] || fail "a counted run: $(cat counted.err)"
	[ "$(grep -c '^device=' $kind.$steps.counts)" = 3 ] || fail "not all devices worked: $(cat $kind.$steps.counts)"
done
expect 0 same "" again
expect_same again

for mode in sync event; do
	for device in 0 1 2; do
		for step in $(seq $steps); do
			expect 0 same "device=$device;mode=$mode;after=$(middle same $device "$step")" lost
			expect_told lost $device
			expect_same lost
		done
	done
	echo "$mode: 3 devices lost in each of $steps steps, the same bits"
done

expect 0 same "device=2;after=$(middle same 2 3);device=0;after=$(middle same 0 7)" lost
expect_told lost 0
expect_told lost 2
expect_same lost
echo "two devices lost, the same bits"

for device in 0 1 2; do
	for step in 1 5 $steps; do
		expect 0 near "device=$device;after=$(middle near $device "$step")" lost
		expect_told lost $device
		python3 - <<'PYTHON' || fail "device $device lost in step $step: the losses are above"
import json, math
whole, lost = (json.load(open(name + ".out"))["loss"] for name in ("near", "lost"))
print(f"loss {lost:.6f}, undisturbed {whole:.6f}")
assert math.isfinite(lost) and abs(lost - whole) < 0.02 * abs(whole)
PYTHON
	done
done

rm -rf saved
all=
for device in 0 1 2; do
	all="${all}device=$device;after=$(middle same $device 6);"
done
expect 1 same "$all" lost --checkpoint saved
committed=$(grep -c '^{"step"' lost.jsonl)
[ "$(ls saved)" = "$(printf 'checkpoint-%010d.safetensors' "$committed")" ] || fail "all devices lost after step $committed, saved: $(ls saved)"
[ "$committed" -ge 4 ] || fail "all devices were to be lost in step 6, and were after step $committed"
expect 0 same "" resumed --resume saved
cmp same.safetensors resumed.safetensors || fail "resumed after all devices were lost: the weights differ"
echo "all devices lost: a checkpoint of step $committed, from which the run ended with the same bits"
