#!/bin/bash
# tune.sh COMMAND: tuning by the command and by train: what is remembered is taken again, and damage to it harms no run.
. "$(dirname "$0")/recipe.sh"
export XDG_DATA_HOME=$PWD/data
unset LAYERWISE_TUNE
found=$PWD/data/layerwise/tuning.sqlite

expect() { # code, pattern on stderr, command...
	local code=0 expected=$1 pattern=$2
	shift 2
	"$command" "$@" >out 2>err || code=$?
	[ $code = "$expected" ] || fail "layerwise $*: exit code $code, $expected was expected: $(cat err)"
	[ -z "$pattern" ] || grep -qiE -- "$pattern" err || fail "layerwise $*: no /$pattern/ in: $(cat err)"
}
short=(train recipe.yaml --set train.steps=5)

echo "train tunes once, and two runs have the same bits"
expect 0 'tuned in .* searched' "${short[@]}" --save first.safetensors
[ -s "$found" ] || fail "nothing was remembered"
expect 0 '' "${short[@]}" --save second.safetensors
! grep -q 'tuned in' err || fail "the second run tuned again: $(cat err)"
cmp first.safetensors second.safetensors || fail "a tuned run has other bits the second time"
# later layers that unfreeze were tuned then, too
expect 0 '' "${short[@]}" --set groups.0.unfreeze_at=2
! grep -q 'tuned in' err || fail "an unfrozen layer was new: $(cat err)"

echo "off and on"
cp "$found" before.sqlite
expect 0 '' "${short[@]}" --tune off --set train.batch=8
! grep -q 'tuned in' err || fail "--tune off tuned: $(cat err)"
cmp "$found" before.sqlite || fail "--tune off remembered something"
LAYERWISE_TUNE=off expect 0 '' "${short[@]}" --set train.batch=8
! grep -q 'tuned in' err || fail "LAYERWISE_TUNE=off tuned: $(cat err)"
expect 0 'tuned in' "${short[@]}" --tune on
expect 2 'on or off' "${short[@]}" --tune maybe
evaluate=(eval recipe.yaml --weights first.safetensors --set "data.test=[$images/t10k-images-idx3-ubyte.gz,$images/t10k-labels-idx1-ubyte.gz]")
expect 0 '' "${evaluate[@]}"
! grep -q 'tuned in' err || fail "eval searched without --tune: $(cat err)"
expect 0 'tuned in' "${evaluate[@]}" --tune on
expect 0 '' "${evaluate[@]}" --tune off
expect 2 'on or off' "${evaluate[@]}" --tune maybe

echo "the command"
for arguments in "recipe.yaml --batch 4" "--arch lenet --batch 2 --budget 5" "--shape 2,3,8,8,4,3,3,1,1 --shape 1,4,9,9,4,3,3,2,1,4 --reproducible"; do
	read -ra words <<<"$arguments"
	expect 0 '' tune "${words[@]}" --json
	python3 - <<'PYTHON'
import json
rows = json.load(open("out"))
assert rows, "no rows"
for row in rows:
    assert row["pass"] in ("forward", "data", "weight") and row["best"] and row["default"] and row["shape"], row
    assert row["gain"] is None or row["gain"] > 0.96, row
PYTHON
done
[ "$(grep -c '"pass"' out)" = 6 ] || fail "two shapes have six passes: $(cat out)"
expect 0 'untuned over tuned time: [0-9.]+ .*of [123] passes.*at worst' tune --shape 2,3,8,8,4,3,3,1,1 --format csv
[ "$(head -1 out)" = 'layer,pass,shape,default,default_ms,best,best_ms,gain' ] || fail "$(head -1 out)"
for shape in 2,3,8,8,4,3,3,1,1 16,16,16,16,16,3,3,1,1; do # rows, or comments, or nothing where the first guesses are good
	expect 0 'untuned over tuned time' tune --shape $shape --export
	! grep -vE '^(/\* another algorithm: )?LW_KNOWN\([0-9]+, "(gpu )?conv (forward|data|weight) [^"]* \*", "[^"]+"\).* [0-9.]+ x .*\*/$' out ||
		fail "that is no row of known choices"
done
expect 2 'one of a recipe' tune
expect 2 'one of a recipe' tune recipe.yaml --arch lenet
expect 2 'N,C,H,W' tune --shape 1,2,3
expect 2 'lenet' tune --arch nonet

echo "a damaged file, one that cannot be written, none at all"
head -c 3000 /dev/urandom >"$found"
expect 0 'begun anew' "${short[@]}"
[ -e "$found.bad1" ] || fail "the damaged file is gone"
python3 - "$found" <<'PYTHON' || echo "left out: python3 has no sqlite3"
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.execute("UPDATE findings SET choice = 'no such choice'")
PYTHON
expect 0 '' "${short[@]}" --save third.safetensors
expect 0 '' "${short[@]}" --tune off --save default.safetensors
cmp third.safetensors default.safetensors || fail "a choice that is no longer there is not the default"
rm -r data && echo >data
expect 0 'not kept' "${short[@]}" --save fourth.safetensors
cmp fourth.safetensors default.safetensors || fail "what could not be remembered changed the bits"
echo "all as expected"
