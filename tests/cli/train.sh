#!/bin/bash
# train.sh COMMAND: what a user does: train, plan, eval, bench, Ctrl-C; outputs that programs can read; exit codes.
. "$(dirname "$0")/recipe.sh"
test_set="data.test=[$images/t10k-images-idx3-ubyte.gz, $images/t10k-labels-idx1-ubyte.gz]"

expect() { # code, pattern on stderr, command...
	local code=0 expected=$1 pattern=$2
	shift 2
	"$command" "$@" >out 2>err || code=$?
	[ $code = "$expected" ] || fail "layerwise $*: exit code $code, $expected was expected: $(cat err)"
	[ -z "$pattern" ] || grep -qiE -- "$pattern" err || fail "layerwise $*: no /$pattern/ in: $(cat err)"
}

echo "train, with its outputs"
expect 0 '' train recipe.yaml --json --set "$test_set" --set train.steps=70 --set groups.0.lr=0.001 --save w.safetensors --log steps.jsonl
python3 - <<'PYTHON'
import json
summary = json.load(open("out"))
assert summary["steps"] == 70 and summary["accuracy"] > 0.5 and summary["loss"] > 0 and summary["images_per_second"] > 0, summary
lines = [json.loads(line) for line in open("steps.jsonl")]
steps = [line for line in lines if "step" in line]
assert [line["step"] for line in steps] == list(range(1, 71))
assert steps[0]["lr"] == {"old": 0, "rest": 0.0002}, steps[0]
assert steps[18]["lr"]["old"] == 0 and abs(steps[19]["lr"]["old"] * 2 - steps[19]["lr"]["rest"]) < 1e-10, steps[19]
assert abs(lines[-1]["eval"]["accuracy"] - summary["accuracy"]) < 1e-7 and lines[-1]["eval"]["step"] == 70
size = int.from_bytes(open("w.safetensors", "rb").read(8), "little")
header = json.loads(open("w.safetensors", "rb").read(8 + size)[8:])
assert header["conv2.weight"]["shape"] == [16, 8, 3, 3], header
PYTHON

echo "plan and eval"
expect 0 '' plan recipe.yaml
grep -q 'old' out || fail "the plan names no group: $(cat out)"
expect 0 '' eval recipe.yaml --weights w.safetensors --set "$test_set" --json --predict p.jsonl
python3 - <<'PYTHON'
import json
result = json.load(open("out"))
lines = [json.loads(line) for line in open("p.jsonl")]
right = sum(line["label"] == line["prediction"] for line in lines)
assert len(lines) == 10000 and abs(right / 10000 - result["accuracy"]) < 1e-9, (right, result)
logged = [json.loads(line) for line in open("steps.jsonl")][-1]["eval"]["accuracy"]
assert abs(result["accuracy"] - logged) < 1e-7, (result, logged)
PYTHON

echo "wrong requests, and work that fails"
sed 's/momentum:/momentun:/; s/  lr: 0.002/  lr: 0.002\n  momentun: 0.9/' recipe.yaml >wrong.yaml
expect 2 'wrong.yaml.*momentun.*momentum' train wrong.yaml
expect 1 'missing-images' train recipe.yaml --set 'data.train=[missing-images, missing-labels]'
expect 2 'nosuchplatform' train recipe.yaml --device nosuchplatform:0
expect 2 'bench.*no benchmark' bench nothing
expect 1 'no checkpoint' train recipe.yaml --resume empty
expect 1 'step [0-9]+: the .*not finite.*no checkpoint' train recipe.yaml --set groups.1.lr=1e38

expect 1 'after the last step .* is not finite' train recipe.yaml --set train.steps=1 --set groups.1.lr=1e300 --save bad.safetensors
[ ! -e bad.safetensors ] || fail "weights that are not finite were saved"

echo "outputs that are no plain files, and where a resumed run saves"
echo kept >target
ln -s target link
mkfifo pipe
expect 0 '' eval recipe.yaml --weights w.safetensors --set "$test_set" --predict link
[ -L link ] && [ "$(wc -l <target)" = 10000 ] || fail "a link was replaced by what it points to"
wc -l <pipe >count &
reader=$!
expect 0 '' eval recipe.yaml --weights w.safetensors --set "$test_set" --predict pipe
wait $reader
[ -p pipe ] && [ "$(cat count)" = 10000 ] || fail "a pipe was replaced by a file, or got $(cat count) lines"
for steps in 2 3; do
	cat <pipe >lines &
	reader=$!
	expect 0 '' train recipe.yaml --set train.steps=$steps --set train.checkpoint.dir=elsewhere --resume-or-start here --log pipe
	[ -p pipe ] || fail "a pipe was replaced by a log"
	wait $reader
done
grep -q 'resumed from here/.*step 2' err || fail "the second run began anew: $(cat err)"
grep -q '^{"step":3,' lines || fail "no log in the pipe: $(cat lines)"

echo "signals"
interrupt() { # signal, exit code
	local code=0
	"$command" train recipe.yaml --set train.steps=1000000 --checkpoint "$1" --log "$1.jsonl" >out 2>err &
	child=$!
	for _ in $(seq 300); do
		[ -s "$1.jsonl" ] && break
		sleep 0.1
	done
	kill -s "$1" $child
	wait $child || code=$?
	child=
	[ $code = "$2" ] || fail "SIG$1: exit code $code: $(cat err)"
	grep -q "SIG$1 ended the run after step [0-9]* of 1000000" err || fail "SIG$1: $(cat err)"
	[ "$(ls "$1" | wc -l)" = 1 ] || fail "SIG$1 left: $(ls "$1")"
}
# a script's background commands ignore SIGINT until someone sets it
set -m
interrupt INT 130
interrupt TERM 143
set +m
expect 2 'a batch was 32 and is 16 now' train recipe.yaml --set train.steps=1000000 --set train.batch=16 --resume INT

echo "bench"
header='bench,shape,pass,median_ms,min_ms,rate,unit,peak,share,variant'
for arguments in "peak" "conv --shape 2,3,8,8,4,3,3,1,1" "conv --shape 2,4,8,8,4,3,3,2,1,4 --pass fwd --tune off" "gemm --shape 33,17,65" \
	"update --params 100000 --groups 1,8" "update --params 100000 --rule adam" "step --arch lenet --batch 4 --groups 1,8" \
	"step --recipe recipe.yaml --gradients once,per_group --freeze none --freeze conv1.*"; do
	read -ra words <<<"$arguments"
	expect 0 '' bench "${words[@]}" --repeat 2 --format csv
	[ "$(head -1 out)" = "$header" ] || fail "bench $arguments: $(head -1 out)"
	python3 - "${words[@]}" <<'PYTHON'
import csv, sys
rows = list(csv.DictReader(open("out")))
wanted = [row for row in rows if row["bench"] == sys.argv[1]]
assert wanted and [row["pass"] for row in rows if row["bench"] == "peak"][:1], rows
for row in rows:
    assert 0 < float(row["min_ms"]) <= float(row["median_ms"]) and float(row["rate"]) > 0 and float(row["peak"]) > 0, row
    assert float(row["share"]) > 0 and row["unit"] in ("GFLOP/s", "GB/s", "images/s") and row["variant"], row
PYTHON
done
for format in csv json; do
	expect 0 '' bench step --arch lenet --batch 4 --repeat 2 --format $format
	cp out earlier
	expect 0 '' bench step --arch lenet --batch 4 --repeat 2 --format json --compare earlier
	python3 - <<'PYTHON'
import json
row = [row for row in json.load(open("out")) if row["bench"] == "step"][0]
assert 0.01 < row["ratio"] < 100 and 0 < row["activation_bytes"] < row["peak_resident_bytes"], row
PYTHON
done
expect 0 'conv1 +forward' bench step --arch lenet --batch 4 --repeat 2 --profile --format csv
expect 0 '' bench conv --shape 2,4,8,8,4,3,3,1,1 --packed --repeat 2
expect 1 'recipe.yaml: the table of an earlier bench' bench peak --compare recipe.yaml
expect 2 'gemm takes no --pass' bench gemm --pass fwd
expect 2 'N,C,H,W' bench conv --shape 1,2,3
expect 2 'lenet, cifar6' bench step --arch nonet
expect 2 'too few for 9 groups' bench step --arch lenet --groups 9
echo "all as expected"
