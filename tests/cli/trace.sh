#!/bin/bash
# trace.sh COMMAND: a few steps with --trace and --profile: what is in the file and in the profile is what the steps did.
. "$(dirname "$0")/recipe.sh"

"$command" train recipe.yaml --tune off --set train.steps=8 --trace trace.json --profile --trace-steps 5 --json >out 2>err || fail "$(cat err)"
python3 - <<'PYTHON'
import collections, json
trace = json.load(open("trace.json"))
events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
names = {(event["pid"], event["tid"], event["name"]): event["args"]["name"] for event in trace["traceEvents"] if event["ph"] == "M"}
lanes = sorted({(event["pid"], event["tid"]) for event in events})
titles = [(names[lane + ("process_name",)], names[lane + ("thread_name",)]) for lane in lanes]
assert trace["otherData"]["left_out"] == 0
assert titles[0] == ("host", "thread 1") and len(titles) == 3 and sorted(title[1] for title in titles[1:]) == ["compute", "uploads"], titles
assert titles[1][0] == titles[2][0] != "host", titles

by_step = collections.defaultdict(list)
for lane, (process, thread) in zip(lanes, titles):
    last = 0
    for event in events:
        if (event["pid"], event["tid"]) != lane:
            continue
        assert event["dur"] >= 0 and event["ts"] > 0, event
        if process != "host":  # a queue is in order
            assert event["ts"] > last - 0.01, (last, event)
            last = event["ts"] + event["dur"]
            by_step[event["args"]["step"]].append(event)
steps = [event for event in events if event["cat"] == "step"]
assert [event["name"] for event in steps] == [f"step {i}" for i in range(1, 6)], steps
assert sorted(by_step) == [1, 2, 3, 4, 5]
names = [event["name"] for event in by_step[3] if event["cat"] == "launch"]
for name in ("conv1 forward", "bn1 forward", "conv2 forward", "fc forward", "fc loss", "fc backward", "conv2 backward", "bn1 backward",
             "gradient norms update", "adam update"):
    assert name in names, (name, names)
assert "conv1 backward" not in names, "a frozen layer's"
for step, commands in by_step.items():
    assert [event["name"] for event in commands if event["cat"] == "launch"] == names, step
    assert sum(event["args"]["bytes"] == 32 * 28 * 28 * 4 for event in commands if event["cat"] == "copy") >= 1, step
    begin, end = steps[step - 1]["ts"], steps[step - 1]["ts"] + steps[step - 1]["dur"]
    compute = [event for event in commands if event["cat"] == "launch"]
    assert begin - 1000 < compute[0]["ts"] and compute[-1]["ts"] + compute[-1]["dur"] < end + 1000, (begin, end, compute)
assert any(event["cat"] == "wait" and event["args"]["for"].endswith("compute") for event in events if event["pid"] == 1)

profile = json.load(open("out"))["profile"]
parts = {(part["layer"], part["part"]): part for part in profile["parts"]}
assert profile["steps"] == 4 and profile["step_seconds"] > 0, profile
assert ("conv2", "backward") in parts and ("adam", "update") in parts and ("write", "transfer") in parts, parts.keys()
launched = sum(event["dur"] for step in range(2, 6) for event in by_step[step] if event["name"] == "conv2 backward") / 4
assert abs(launched * 1e-6 - parts["conv2", "backward"]["seconds"]) < 1e-8, launched
flops = 2 * 2 * 32 * 7 * 7 * 16 * 8 * 9  # data and weight gradients of the batch
assert abs(parts["conv2", "backward"]["gflops"] * parts["conv2", "backward"]["seconds"] * 1e9 / flops - 1) < 1e-6, parts
assert abs(sum(part["seconds"] for part in profile["parts"]) - sum(row["seconds"] for row in profile["sums"])) < 1e-9
assert sorted(row["part"] for row in profile["sums"]) == ["backward", "forward", "loss", "transfer", "update"], profile["sums"]
idle = {queue["queue"]: queue["idle"] for queue in profile["queues"]}
busy = sum(part["share"] for part in profile["parts"])
assert abs(2 - idle["compute"] - idle["uploads"] - busy) < 0.02 and 0 <= profile["overlap"] <= 1, (idle, busy)
PYTHON

echo "as text; a run that begins at its end; wrong requests"
"$command" train recipe.yaml --tune off --set train.steps=3 --profile --checkpoint run >out 2>err || fail "$(cat err)"
grep -q 'ms a step (2 steps)' out && grep -Eq '^conv2 +backward +[0-9.]+ +[0-9.]+ % +[0-9.]+$' out && grep -q '^idle: .*compute' out &&
	grep -q '^overlap: ' out || fail "$(cat out)"
"$command" train recipe.yaml --tune off --set train.steps=3 --resume run --profile --trace empty.json >out 2>err || fail "$(cat err)"
python3 -c 'import json; assert json.load(open("empty.json"))["traceEvents"] == []'
for arguments in "--trace no/such/folder.json" "--trace-steps none" "--trace-steps 0"; do
	read -ra words <<<"$arguments"
	! "$command" train recipe.yaml "${words[@]}" >out 2>err || fail "$arguments was taken"
	grep -qE 'no/such|--trace-steps' err || fail "$arguments: $(cat err)"
done
echo "all as expected"
