#!/bin/bash
# simulate.sh COMMAND: `plan --simulate`: shares, owners and times on described devices, failures, and wrong descriptions.
set -euo pipefail
command=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
	echo "FAILED: $*"
	exit 1
}
expect() { # code, pattern on stderr, arguments of plan...
	local code=0 expected=$1 pattern=$2
	shift 2
	"$command" plan "$@" >out 2>err || code=$?
	[ $code = "$expected" ] || fail "plan $*: exit code $code, $expected was expected: $(cat err)"
	[ -z "$pattern" ] || grep -qF -- "$pattern" err || fail "plan $*: no '$pattern' in: $(cat err)"
}
cat >recipe.yaml <<'RECIPE'
model: {arch: resnet18, classes: 10}
train: {batch: 64, steps: 10, rule: adam, lr: 0.001}
groups:
  - {name: old, match: ["conv1.*", "bn1.*", "layer[1-3].*"], lr: 0.00001}
  - {name: new, default: true}
RECIPE

echo "1 : 2 : 5"
expect 0 '' recipe.yaml --simulate "$source/tools/recipes/cluster.yaml"
grep -q 'of the summed throughput' out || fail "$(cat out)"
expect 0 '' recipe.yaml --simulate "$source/tools/recipes/cluster.yaml" --json
python3 - <<'PYTHON'
import json
result = json.load(open("out"))
(plan,) = result["plans"]
assert result["batch"] == 64 and result["steps"] == 10 and result["steps_replayed"] == 0, result
assert [device["images"] for device in plan["devices"]] == [8, 16, 40, 0], plan["devices"]
assert plan["throughput_share"] >= 0.9 and plan["throughput_share"] <= plan["efficiency"] <= 1, plan
assert plan["step_seconds"] >= plan["lower_bound_seconds"] == max(plan["work_bound_seconds"], plan["path_bound_seconds"])
assert abs(result["seconds"] - 10 * plan["step_seconds"]) < 1e-9 and plan["planning_seconds"] < 2
owned = {device["name"]: 0 for device in plan["devices"]}
for parcel in plan["parcels"]:
    owned[parcel["owner"]] += parcel["bytes"]
    assert parcel["gathered"] <= parcel["update_start"] < parcel["update_end"] <= parcel["spread"] <= plan["step_seconds"] + 1e-12
    assert parcel["tensors"] == 1 or parcel["bytes"] <= 4 << 20
assert owned == {device["name"]: device["owned_bytes"] for device in plan["devices"]}
assert sum(owned.values()) >= 4 * 11181642 and all(device["state_bytes"] == 2 * device["owned_bytes"] for device in plan["devices"])
PYTHON
echo 'model: {arch: alexnet, classes: 10}' >alexnet.yaml
for batch in 61 256; do
	expect 0 '' alexnet.yaml --simulate "$source/tools/recipes/cluster.yaml" --json --set train.batch=$batch
	python3 - $batch <<'PYTHON'
import json, sys
(plan,) = json.load(open("out"))["plans"]
assert sum(device["images"] for device in plan["devices"]) == int(sys.argv[1]), plan
assert plan["throughput_share"] > {"61": 0.5, "256": 0.9}[sys.argv[1]], plan["throughput_share"] # 61 images: the links are too slow
PYTHON
done

echo "owners, memory, domains"
cat >cluster.yaml <<'CLUSTER'
devices:
  - {name: card, count: 4, gflops: 1000, update_bandwidth: 100, link_bandwidth: 10, memory: 1.1}
  - {name: host, gflops: 0, update_bandwidth: 20, link_bandwidth: 10, domain: main}
CLUSTER
expect 0 '' recipe.yaml --simulate cluster.yaml --json --set groups.1.device=card.2
python3 - <<'PYTHON'
import json
(plan,) = json.load(open("out"))["plans"]
assert {parcel["owner"] for parcel in plan["parcels"] if parcel["group"] == "new"} == {"card.2"}
assert all(device["memory_bytes"] <= 1.1e9 for device in plan["devices"][:4]) and len(plan["devices"]) == 5
PYTHON
expect 0 '' recipe.yaml --simulate cluster.yaml --json --set groups.0.freeze=true --set groups.0.unfreeze_at=4
python3 - <<'PYTHON'
import json
before, after = json.load(open("out"))["plans"]
assert (before["first_step"], before["last_step"], after["first_step"], after["last_step"]) == (1, 3, 4, 10)
assert {parcel["group"] for parcel in before["parcels"]} == {"new"} and before["step_seconds"] < after["step_seconds"]
PYTHON
expect 1 'activations' recipe.yaml --simulate cluster.yaml --set train.batch=4096
expect 2 'card.7' recipe.yaml --simulate cluster.yaml --set groups.1.device=card.7

echo "failures"
sed 's/{name: card, count: 4, /&fails_at_step: 3, /; $d' cluster.yaml >all.yaml
cp all.yaml some.yaml
echo '  - {name: half, gflops: 500, update_bandwidth: 50, link_bandwidth: 10}' >>some.yaml
expect 1 'no device that computes is left' recipe.yaml --simulate all.yaml
expect 0 '' recipe.yaml --simulate all.yaml --steps 2
expect 0 '' recipe.yaml --simulate some.yaml --json
python3 - <<'PYTHON'
import json
result = json.load(open("out"))
before, after = result["plans"]
assert result["steps_replayed"] == 1 and after["devices_lost"] == 4
assert (before["last_step"], after["first_step"], after["last_step"]) == (2, 3, 10)
assert [(device["name"], device["images"]) for device in after["devices"]] == [("half", 64)]
assert abs(result["seconds"] - 3 * before["step_seconds"] - 8 * after["step_seconds"]) < 1e-9
assert after["bytes_moved"] == 0 < before["bytes_moved"]
PYTHON

echo "a thousand devices"
sed 's/count: 4,/count: 1000,/; s/memory: 1.1/memory: 24/' cluster.yaml >thousand.yaml
expect 0 '' recipe.yaml --simulate thousand.yaml --set train.batch=16000
grep -q 'card.0 .. x 1000' out || fail "$(cat out)"

echo "wrong descriptions"
wrong() { # pattern, text of the file
	printf '%b' "$2" >wrong.yaml
	expect 2 "$1" recipe.yaml --simulate wrong.yaml
}
wrong 'wrong.yaml:2: unknown key `gflop`' 'devices:\n  - {name: a, gflop: 1}\n'
wrong 'wrong.yaml:2: cluster.devices.0: link_bandwidth is missing' 'devices:\n  - {name: a, gflops: 1, update_bandwidth: 1}\n'
wrong 'wrong.yaml:3: cluster.devices.0.gflops is `fast`' 'devices:\n  - name: a\n    gflops: fast\n'
wrong 'wrong.yaml:1: cluster.devices is' 'devices: []\n'
wrong 'wrong.yaml:1: unknown key `device`' 'device: []\n'
wrong 'wrong.yaml:2: the key `gflops` is there twice' 'devices:\n  - {name: a, gflops: 1, gflops: 1}\n'
expect 2 'missing.yaml' recipe.yaml --simulate missing.yaml
expect 2 '--steps goes with --simulate' recipe.yaml --steps 3
expect 2 'a number from 1' recipe.yaml --simulate cluster.yaml --steps many
echo "all as expected"
