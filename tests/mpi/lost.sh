#!/bin/bash
# lost.sh COMMAND LAYER: a process's device is lost, and the others go on with the same bits; all are, and all processes end;
# a process is killed, and the others end; they are asked to end, and leave a checkpoint.
. "$(dirname "$0")/../cli/recipe.sh"
. "$(dirname "$0")/mpirun.sh"
layer=$2
export POCL_DEVICES="pthread pthread pthread"
# equal shares whatever the speeds that are measured: a device without a share would have nothing to fail in
same=(--set train.reproducible=true --set train.steps=40 --set shares=[1,1,1] --device portable:0,portable:1,portable:2)

cat >with_fault <<'END'
#!/bin/bash
# with_fault RANK FAULT COMMAND...: the fault layer's in one process
[ "$OMPI_COMM_WORLD_RANK" != "$1" ] || export LAYERWISE_FAULT=$2
shift 2
exec "$@"
END
chmod +x with_fault

ranks 3 "$command" train recipe.yaml "${same[@]}" --save same.safetensors >same.out 2>&1 || fail "undisturbed: $(cat same.out)"
for rank in 0 1 2; do
	for fault in "device=0;after=600" "device=0;after=1500;mode=event"; do
		OPENCL_LAYERS=$layer ranks 3 ./with_fault $rank "$fault" "$command" train recipe.yaml "${same[@]}" --save lost.safetensors \
			>lost.out 2>&1 || fail "rank $rank, $fault: $(cat lost.out)"
		grep -q "is taken again by the 2 devices" lost.out || fail "rank $rank, $fault: no device was lost: $(cat lost.out)"
		cmp same.safetensors lost.safetensors || fail "rank $rank, $fault: the weights differ"
	done
done
echo "a process without its device: the same bits"

code=0
OPENCL_LAYERS=$layer LAYERWISE_FAULT="device=0;after=900" ranks 3 "$command" train recipe.yaml "${same[@]}" >all.out 2>&1 || code=$?
[ $code = 1 ] || fail "all devices were lost, exit code $code: $(cat all.out)"
echo "all devices lost: an end"

begin() { # folder of checkpoints; a run without an end, past its first steps
	rm -f endless.jsonl
	"${mpirun[@]}" -np 3 "$command" train recipe.yaml "${same[@]}" --set train.steps=1000000 --checkpoint "$1" --log endless.jsonl \
		>endless.out 2>&1 &
	child=$!
	for _ in $(seq 1000); do
		[ ! -e endless.jsonl ] || [ "$(grep -c step endless.jsonl)" -lt 30 ] || return 0
		sleep 0.1
	done
	fail "no steps were taken: $(cat endless.out)"
}

expect_end() { # of what begin began: soon, and with an error
	local code=0
	for _ in $(seq 1000); do
		kill -0 $child 2>/dev/null || break
		sleep 0.1
	done
	! kill -0 $child 2>/dev/null || fail "the run did not end"
	wait $child || code=$?
	child=
	[ $code != 0 ] || fail "the run ended as if nothing had been: $(cat endless.out)"
	for _ in $(seq 100); do # mpirun does not wait for the last of them
		pgrep -f "^$command train recipe.yaml .*--checkpoint $1 " >/dev/null || return 0
		sleep 0.1
	done
	fail "processes are left: $(pgrep -af "^$command train recipe.yaml .*--checkpoint $1 ")"
}

begin killed
kill -9 "$(pgrep -f "^$command train recipe.yaml .*--checkpoint killed " | tail -1)"
expect_end killed
echo "one process killed: an end"

begin asked
kill -TERM $child
expect_end asked
ls asked/checkpoint-*.safetensors >/dev/null || fail "asked to end: no checkpoint: $(cat endless.out)"
echo "asked to end: $(ls asked)"
