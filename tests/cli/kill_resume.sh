#!/bin/bash
# kill_resume.sh COMMAND: killed at ten random moments and resumed each time, a run ends with the same weights, bit for bit.
. "$(dirname "$0")/recipe.sh"

run() { # folder, more arguments; takes the place of the shell it runs in
	local run=$1
	shift
	exec "$command" train recipe.yaml --set train.steps=150 --set "train.checkpoint={dir: $PWD/$run, every: 3, keep: 2}" --log "$run.jsonl" \
		--save "$run.safetensors" "$@" >"$run.out" 2>"$run.err"
}

check() { # folder
	cmp whole.safetensors "$1.safetensors" || fail "the weights differ"
	cmp whole.jsonl "$1.jsonl" || fail "the logs differ"
	[ "$(ls "$1")" = "$(ls whole)" ] || fail "left in the folder: $(ls "$1")"
}

(run whole) || fail "the uninterrupted run: $(cat whole.err)"
# kernels are compiled now: how long reading the data takes, and how long a whole run
began=$(date +%s%N)
(run short --set train.steps=1) || fail "a run of one step: $(cat short.err)"
middle=$(date +%s%N)
(run again) || fail "the uninterrupted run: $(cat again.err)"
start=$(((middle - began) / 1000000))
took=$((($(date +%s%N) - middle) / 1000000))
check again

kills=0
resumed=0
ended=0
while [ $kills -lt 10 ]; do
	run killed --resume-or-start killed &
	child=$!
	sleep "$(awk -v r=$RANDOM -v start=$start -v took=$took 'BEGIN { print (start / 2 + (took - start / 2) * r / 32768) / 1000 }')"
	if kill -9 $child 2>/dev/null; then
		kills=$((kills + 1))
		wait $child 2>/dev/null || true
		! grep -q 'resumed from' killed.err || resumed=$((resumed + 1))
	else
		wait $child || fail "a resumed run: $(cat killed.err)"
		ended=$((ended + 1))
		check killed
		rm -r killed killed.*
	fi
	child=
done
(run killed --resume-or-start killed) || fail "the last resume: $(cat killed.err)"
check killed
echo "killed $kills times, $resumed of them after a resume; ended $((ended + 1)) times with the same bits; a run takes $took ms, $start to its first step"
