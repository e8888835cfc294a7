# Sourced by the scripts here: a folder of their own, and a small recipe on real images in it.
set -euo pipefail
command=$1
images=/usr/share/datasets/fashion-mnist
[ -e "$images/train-images-idx3-ubyte.gz" ] || { echo "left out: $images is missing (apt install dataset-fashion-mnist)"; exit 77; }
folder=$(mktemp -d)
child=
end() {
	[ -z "$child" ] || kill -9 "$child" 2>/dev/null || true
	rm -rf "$folder"
}
trap end EXIT
cd "$folder"

fail() {
	echo "FAILED: $*"
	exit 1
}

cat >recipe.yaml <<RECIPE
model:
  input: [1, 28, 28]
  layers:
    - conv: {name: conv1, out: 8, kernel: 3, stride: 2, pad: 1}
    - batchnorm: {name: bn1}
    - relu
    - conv: {name: conv2, out: 16, kernel: 3, stride: 2, pad: 1}
    - relu
    - dropout: {p: 0.3}
    - linear: {name: fc, out: 10}
data:
  format: idx
  train: [$images/train-images-idx3-ubyte.gz, $images/train-labels-idx1-ubyte.gz]
  limit: 1000
  normalize: {mean: [0.2860], std: [0.3530]}
train:
  batch: 32
  steps: 60
  shuffle: true
  seed: 3
  rule: adam
  lr: 0.002
  schedule: {kind: cosine, warmup: 10}
groups:
  - {name: old, match: "conv1.*", lr: 0.0005, freeze: true, unfreeze_at: 20}
  - {name: rest, default: true}
RECIPE
