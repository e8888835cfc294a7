#!/bin/bash
# devices.sh COMMAND: two devices in one run: what plan and train print of them, shares, offload, the losses of one
# device, and rows of bench on several.
. "$(dirname "$0")/recipe.sh"
export POCL_DEVICES="pthread pthread pthread"
both="--device portable:0,portable:1"

run() { # file for stdout, command...
	local out=$1
	shift
	"$command" "$@" >"$out" 2>err || fail "layerwise $*: exit code $?: $(cat err)"
}
refuse() { # exit code, pattern on stderr, command...
	local code=0 expected=$1 pattern=$2
	shift 2
	"$command" "$@" >out 2>err || code=$?
	[ $code = "$expected" ] || fail "layerwise $*: exit code $code, $expected was expected: $(cat err)"
	grep -qF -- "$pattern" err || fail "layerwise $*: no '$pattern' in: $(cat err)"
}

echo "one device has nothing to tell of others"
run plan plan recipe.yaml --device portable:0
! grep -q 'owner' plan || fail "$(cat plan)"
run plan plan recipe.yaml --device portable:0 --json
python3 -c 'import json; assert "forecast" not in json.load(open("plan"))'

echo "plan"
run plan plan recipe.yaml $both --set shares=[3,1]
for pattern in 'no step is shorter than' 'is a guess until' 'moved to another device' 'gathered ms'; do
	grep -q "$pattern" plan || fail "no '$pattern' in: $(cat plan)"
done
run plan plan recipe.yaml $both --measure
! grep -q 'is a guess' plan || fail "$(cat plan)"
run plan plan recipe.yaml $both --json --set shares=[3,1] --set groups.1.offload=cpu
python3 - <<'PYTHON'
import json
plan = json.load(open("plan"))
forecast, groups = plan["forecast"], plan["groups"]
first, second = forecast["devices"]
assert (first["images"], second["images"]) == (24, 8), forecast["devices"]
assert forecast["guessed"] and forecast["first_step"] == 1 and forecast["last_step"] is None
assert plan["update_launches"] == len(forecast["parcels"]) == first["parcels"] + second["parcels"]
for parcel in forecast["parcels"]: # groups that do not train yet have none
    assert parcel["fixed"] and parcel["owner"] == first["name"] == groups[1]["device"] and parcel["group"] == "rest", parcel
    assert parcel["gathered"] <= parcel["update_start"] < parcel["update_end"] <= parcel["spread"] <= forecast["step_seconds"] + 1e-12
assert forecast["lower_bound_seconds"] <= forecast["step_seconds"] and 0 < forecast["efficiency"] <= 1
assert forecast["bytes_moved"] == 0 # both work in the host's memory
PYTHON

echo "train"
for precise in true false; do
	for devices in portable:0 "portable:0,portable:1 --set shares=[1,3]" "portable:0,portable:1 --set groups.0.offload=cpu"; do
		read -ra words <<<"$devices"
		run summary train recipe.yaml --json --device "${words[@]}" --set train.reproducible=$precise --set train.sync_batchnorm=true \
			--set train.steps=30 --log "$precise-${#words[@]}-${words[-1]##*.}.jsonl"
		[ "${words[0]}" = portable:0 ] || grep -q 'no step is shorter than' err || fail "train prints no forecast: $(cat err)"
	done
done
python3 - <<'PYTHON'
import glob, json
for precise, most in ("true", 0), ("false", 2e-3):
    runs = [[json.loads(line) for line in open(name)] for name in sorted(glob.glob(precise + "-*.jsonl"))]
    losses = [[line["loss"] for line in lines if "step" in line] for lines in runs]
    assert len(losses) == 3 and all(len(run) == 30 for run in losses)
    worst = max(abs(a - b) / abs(a) for run in losses[1:] for a, b in zip(losses[0], run))
    print(f"reproducible {precise}: losses within {worst:.1e}")
    assert worst <= most, worst
PYTHON

echo "bench"
run rows bench step --recipe recipe.yaml --repeat 2 --format json --on portable:0 --on portable:0,portable:1 --shares 1,3 --reproducible=both
python3 - <<'PYTHON'
import json
peak, *rows = json.load(open("rows"))
assert peak["variant"].endswith(":0 alone"), peak
ends = [f"{kind}, on {devices}" for devices in ("portable:0", "portable:0,portable:1") for kind in ("groups", "groups, reproducible")]
assert [row["variant"] for row in rows] == ["2 " + end for end in ends], rows
assert all(row["rate"] > 0 and row["peak"] == peak["peak"] for row in rows), rows
PYTHON
run rows bench step --arch lenet --batch 4 --repeat 1 --format csv $both
grep -q '1 group, on portable:0,portable:1' rows || fail "$(cat rows)"

echo "wrong requests"
refuse 2 'shares: 2 numbers for 3 devices' bench step --arch lenet --on portable:0,portable:1,portable:2 --shares 1,2
refuse 2 '--shares: numbers of at least 0' bench step --shares 1,
refuse 2 'conv takes no --on' bench conv --on portable:0
refuse 2 'conv takes no --reproducible=both' bench conv --reproducible=both
refuse 2 'shares: 3 numbers for 2 devices' train recipe.yaml $both --set shares=[1,1,1]
refuse 2 'shares has only zeros' train recipe.yaml $both --set shares=[0,0]
refuse 2 'expected cpu' train recipe.yaml --set groups.0.offload=gpu
refuse 2 '--measure and --simulate' plan recipe.yaml --measure --simulate cluster.yaml
echo "all as expected"
