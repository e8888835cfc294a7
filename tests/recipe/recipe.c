/* Recipes good and bad: what they are read as, and the whole message with its line where they are wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "recipe/recipe.h"

static char folder[] = "/tmp/layerwise-recipe-XXXXXX", path[64];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/r.yaml", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void write_recipe(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

#define MODEL "model:\n  input: [1, 8, 8]\n  layers:\n    - linear: {name: fc, out: 3}\n"

/* Reads text with up to three overrides. */
static lw_status read_recipe(lw_recipe **recipe, const char *text, const char *const overrides[3])
{
	size_t count = 0;

	while (count < 3 && overrides[count])
		count++;
	write_recipe(text);
	return lw_recipe_read(recipe, path, overrides, count);
}

/* --- Wrong recipes --- */

/* message: `@` stands for the recipe's path. MODEL's lines are 1 to 4. */
static const struct wrong {
	const char *text;
	const char *overrides[3];
	const char *message;
} wrong[] = {
	/* YAML */
	{"model: [1, 2\n", {0}, "@:2: did not find expected ',' or ']'"},
	{"a: &x 1\n", {0}, "@:1: anchors (`&name`) are not taken in a recipe; a text that begins with & needs quotes"},
	{"a: 1\nb: *x\n", {0}, "@:2: aliases (`*name`) are not taken in a recipe; a text that begins with * needs quotes"},
	{"a: !!int 1\n", {0}, "@:1: tags (`!name`) are not taken in a recipe; a text that begins with ! needs quotes"},
	{"a: !x [1]\n", {0}, "@:1: tags (`!name`) are not taken in a recipe; a text that begins with ! needs quotes"},
	{"a: 1\nb: 2\na: 3\n", {0}, "@:3: the key `a` is there twice, first in line 1"},
	{MODEL "---\na: 1\n", {0}, "@:5: a recipe is one document; a second one (`---`) begins here"},
	{"? [a, b]\n: 1\n", {0}, "@:1: a key must be a word, not a list or a map"},
	{"a: \"x\\0y\"\n", {0}, "@:1: a text may not hold the character NUL"},
	{"a: \x01\n", {0}, "@:1: control characters are not allowed"},
	{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", {0},
	 "@:1: lists and maps are nested too deep"},
	/* sections */
	{"", {0}, "@: the recipe is empty; expected model, data, train"},
	{"# nothing\n", {0}, "@: the recipe is empty; expected model, data, train"},
	{"[1]\n", {0}, "@:1: the recipe is a list of 1; expected a map of keys"},
	{"train: {lr: 1}\n", {0}, "@: model is missing; expected a map with input and layers, or arch"},
	{MODEL "trian: {}\n", {0}, "@:5: unknown key `trian` in the recipe; did you mean `train`?"},
	{MODEL "xyzzyplugh: {}\n", {0},
	 "@:5: unknown key `xyzzyplugh` in the recipe; it takes `model`, `data`, `train`, `groups`, `devices`, `shares`"},
	{MODEL "train: 3\n", {0}, "@:5: train is `3`; expected a map of keys"},
	/* model */
	{"model:\n  layers: [relu]\n", {0}, "@:1: model.input is missing; expected [channels, height, width]"},
	{"model:\n  input: [1, 2, 3]\n", {0}, "@:1: model.layers is missing; expected a list of layers, or arch: the name of a network"},
	{"model:\n  arch: resnet18\n  layers: [relu]\n", {0}, "@:3: model has both arch and layers; expected one of them"},
	{"model:\n  arch: resnet8\n", {0},
	 "@:2: there is no architecture `resnet8`; there are lenet, cifar6, resnet20, alexnet, vgg16, resnet18, resnet50, "
	 "mobilenet_v2, squeezenet1_1; did you mean `resnet18`?"},
	{"model:\n  arch:\n    nam: resnet18\n", {0}, "@:3: unknown key `nam` in model.arch; did you mean `name`?"},
	{"model:\n  arch: {classes: 3}\n", {0}, "@:2: model.arch.name is missing; expected the name of a network, e.g. resnet18"},
	{"model:\n  arch: {name: lenet, classes: 0}\n", {0}, "@:2: model.arch.classes is `0`; expected a whole number of at least 1"},
	{"model:\n  arch: [lenet]\n", {0}, "@:2: model.arch is a list of 1; expected a text"},
	{"model:\n  arch: {name: lenet, classes: 3}\n  classes: 4\n", {0},
	 "@:3: model.classes and model.arch.classes are both there; expected one of them"},
	{MODEL "  classes: 4\n", {0}, "@:5: model.classes goes with arch; the last layer says how many here"},
	{"model:\n  input: [1, 2]\n", {0}, "@:2: model.input is a list of 2; expected [channels, height, width]"},
	{"model:\n  input: [1, 0, 3]\n", {0}, "@:2: model.input is `0`; expected a whole number of at least 1"},
	{"model:\n  input: [1, 99999999999, 3]\n", {0},
	 "@:2: model.input is `99999999999`; expected a whole number from 1 to 2147483647"},
	{"model:\n  input: [1, 8, 8]\n  layers: []\n", {0}, "@:3: model.layers is a list of 0; expected a list of layers"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - relu\n    - conf: {out: 1}\n", {0},
	 "@:5: unknown kind of layer `conf`; did you mean `conv`?"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - conv:\n      out: 3\n", {0},
	 "@:4: model.layers.0 is a map of 2; expected one kind of layer and its options, e.g. conv: {out: 32, kernel: 3}"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - conv: {out: 3,\n             kernal: 3}\n", {0},
	 "@:5: unknown key `kernal` in model.layers.0.conv; did you mean `kernel`?"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - conv: {filters: 3}\n", {0},
	 "@:4: unknown key `filters` in model.layers.0.conv; did you mean `out`?"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - relu: {out: 3}\n", {0},
	 "@:4: unknown key `out` in model.layers.0.relu; it takes `name`, `from`"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - conv: {out: 3, kernel: [3, 3, 3]}\n", {0},
	 "@:4: model.layers.0.conv.kernel is a list of 3; expected a whole number, or two: [height, width]"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - conv: {out: 3, pad: -1}\n", {0},
	 "@:4: model.layers.0.conv.pad is `-1`; expected a whole number of at least 0"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - dropout: {p: 1}\n", {0},
	 "@:4: model.layers.0.dropout.p is `1`; expected a number from 0 and below 1"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - conv: {out: 3, bias: 1}\n", {0},
	 "@:4: model.layers.0.conv.bias is `1`; expected true or false"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - conv: {out: \"3\"}\n", {0},
	 "@:4: model.layers.0.conv.out is the text \"3\"; expected a whole number of at least 1"},
	{"model:\n  input: [1, 8, 8]\n  layers:\n    - add: {from: [a,b,c,d,e,f,g,h,i]}\n", {0},
	 "@:4: model.layers.0.add.from names 9 layers; expected at most 8"},
	{"model:\n  input: [1, 8, 8]\n  layers: [relu]\n  init: hee\n", {0},
	 "@:4: model.init is `hee`; expected he or xavier or torch; did you mean `he`?"},
	{MODEL "  weights:\n", {0}, "@:5: model.weights is empty; expected a path"},
	/* data */
	{MODEL "data: {train: [a, b]}\n", {0}, "@:5: data.format is missing; expected idx, cifar10 or images"},
	{MODEL "data: {format: mnist}\n", {0}, "@:5: data.format is `mnist`; expected idx or cifar10 or images"},
	{MODEL "data: {format: idx}\n", {0},
	 "@:5: data.train is missing; expected the path of the training set, or a list of paths"},
	{MODEL "data:\n  format: cifar10\n  train: []\n", {0}, "@:7: data.train is a list of 0; expected at least one path"},
	{MODEL "data:\n  format: idx\n  train: [a]\n", {0},
	 "@:7: data.train names 1 files; the format idx takes two: [images, labels]"},
	{MODEL "data:\n  format: idx\n  train: [a, b]\n  classes: [5, 6, 5]\n", {0}, "@:8: data.classes names the class 5 twice"},
	{MODEL "data:\n  format: idx\n  train: [a, b]\n  limit: 0\n", {0},
	 "@:8: data.limit is `0`; expected a whole number of at least 1"},
	{MODEL "data:\n  format: idx\n  train: [a, b]\n  normalize: {mean: 0.1, std: 0}\n", {0},
	 "@:8: data.normalize.std is `0`; expected a number above 0"},
	{MODEL "data:\n  format: idx\n  train: [a, b]\n  normalize: {mean: [0.1, 0.2]}\n", {0},
	 "@:8: data.normalize.mean has 2 numbers; expected 1, or 1 as model.input has channels"},
	/* train */
	{MODEL "train:\n  lerning_rate: 0.1\n", {0}, "@:6: unknown key `lerning_rate` in train; did you mean `lr`?"},
	{MODEL "train:\n  optimizer: sgd\n", {0}, "@:6: unknown key `optimizer` in train; did you mean `rule`?"},
	{MODEL "train:\n  momentun: 0.1\n", {0}, "@:6: unknown key `momentun` in train; did you mean `momentum`?"},
	{MODEL "train:\n  lr: -1\n", {0}, "@:6: train.lr is `-1`; expected a number of at least 0"},
	{MODEL "train:\n  lr: fast\n", {0}, "@:6: train.lr is `fast`; expected a number of at least 0"},
	{MODEL "train:\n  lr: 1e999\n", {0}, "@:6: train.lr is `1e999`; expected a number of at least 0"},
	{MODEL "train:\n  lr: .nan\n", {0}, "@:6: train.lr is `.nan`; expected a number of at least 0"},
	{MODEL "train:\n  lr: [1, 2]\n", {0}, "@:6: train.lr is a list of 2; expected a number of at least 0"},
	{MODEL "train:\n  lr:\n", {0}, "@:6: train.lr is empty; expected a number of at least 0"},
	{MODEL "train:\n  momentum: 1\n", {0}, "@:6: train.momentum is `1`; expected a number from 0 and below 1"},
	{MODEL "train:\n  batch: 0\n", {0}, "@:6: train.batch is `0`; expected a whole number of at least 1"},
	{MODEL "train:\n  batch: 1.5\n", {0}, "@:6: train.batch is `1.5`; expected a whole number of at least 1"},
	{MODEL "train:\n  seed: 5000000000\n", {0}, "@:6: train.seed is `5000000000`; expected a whole number from 0 to 4294967295"},
	{MODEL "train:\n  rule: adm\n", {0}, "@:6: train.rule is `adm`; expected one of sgd, adam, adamw; did you mean `adam`?"},
	{MODEL "train:\n  epochs: 2\n  steps: 5\n", {0}, "@:7: train has both epochs and steps; expected one of them"},
	{MODEL "train:\n  betas: [0.9, 1]\n", {0}, "@:6: train.betas is `1`; expected a number from 0 and below 1"},
	{MODEL "train:\n  betas: [0.9, 0.99]\n  beta1: 0.8\n", {0},
	 "@:6: train has both betas and beta1 or beta2; expected one way"},
	{MODEL "train:\n  precision: exact\n", {0}, "@:6: train.precision is `exact`; expected fast or accurate"},
	{MODEL "train:\n  checkpoint: {every: 3}\n", {0}, "@:6: train.checkpoint.dir is missing; expected a folder's path"},
	{MODEL "train:\n  on_nan: skip:0\n", {0},
	 "@:6: train.on_nan is `skip:0`; expected abort, or skip:N with the number of steps that may be skipped"},
	{MODEL "train:\n  schedule: cosin\n", {0}, "@:6: no schedule is called `cosin`: did you mean `cosine`?"},
	{MODEL "train:\n  schedule: {warmup: 3}\n", {0},
	 "@:6: train.schedule.kind is missing; expected the name of a schedule, e.g. cosine"},
	{MODEL "train:\n  schedule:\n    kind: multistep\n    milestones: [5, 3]\n", {0},
	 "@:8: train.schedule.milestones has 3 after 5; expected rising steps"},
	/* groups */
	{MODEL "groups: {}\n", {0},
	 "@:5: groups is a map of 0; expected a list of groups, e.g. - {name: new, match: \"fc.*\", lr: 0.001}"},
	{MODEL "groups:\n  - {match: a}\n", {0}, "@:6: groups.0.name is missing; expected a name for the group"},
	{MODEL "groups:\n  - {name: a}\n", {0},
	 "@:6: groups.0 (`a`) has neither match nor default: true; expected one of them"},
	{MODEL "groups:\n  - {name: a, match: a}\n  - {name: a, match: b}\n", {0}, "@:7: the group name `a` is there twice"},
	{MODEL "groups:\n  - {name: a, default: true}\n  - {name: b, default: yes}\n", {0},
	 "@:7: the groups `a` and `b` are both default; expected one"},
	{MODEL "groups:\n  - {name: a, match: a, unfreeze_at: 3}\n", {0}, "@:6: groups.0.unfreeze_at is there without freeze: true"},
	{MODEL "groups:\n  - {name: a, match: \"re:(\"}\n", {0},
	 "@:6: groups.0.match: `re:(` is not a regular expression: Unmatched ( or \\("},
	{MODEL "groups:\n  - {name: a, match: a, lrr: 3}\n", {0}, "@:6: unknown key `lrr` in groups.0; did you mean `lr`?"},
	{MODEL "groups:\n  - name: a\n    match: *.bias\n", {0},
	 "@:7: aliases (`*name`) are not taken in a recipe; a text that begins with * needs quotes"},
	{MODEL "devices: []\n", {0}, "@:5: devices is a list of 0; expected at least one text"},
	{MODEL "train:\n  slices: 0\n", {0}, "@:6: train.slices is `0`; expected a whole number from 1 to 64"},
	{MODEL "train:\n  slice: 4\n", {0}, "@:6: unknown key `slice` in train; did you mean `slices`?"},
	{MODEL "train:\n  sync_batchnorm: 1\n", {0}, "@:6: train.sync_batchnorm is `1`; expected true or false"},
	{MODEL "train:\n  sync_batchnom: true\n", {0}, "@:6: unknown key `sync_batchnom` in train; did you mean `sync_batchnorm`?"},
	{MODEL "groups:\n  - {name: a, match: a, offload: gpu}\n", {0}, "@:6: groups.0.offload is `gpu`; expected cpu"},
	{MODEL "groups:\n  - {name: a, match: a, ofload: cpu}\n", {0}, "@:6: unknown key `ofload` in groups.0; did you mean `offload`?"},
	{MODEL "groups:\n  - name: a\n    match: a\n    offload: cpu\n    device: \"portable:0\"\n", {0},
	 "@:8: groups.0 has both device and offload; expected one of them"},
	{MODEL "shares: [1, -1]\n", {0}, "@:5: shares is `-1`; expected a number of at least 0"},
	{MODEL "shares: [1, half]\n", {0}, "@:5: shares is `half`; expected a number of at least 0"},
	{MODEL "shares: []\n", {0}, "@:5: shares is a list of 0; expected 1 to 64 numbers"},
	{MODEL "shares: [0, 0.0]\n", {0}, "@:5: shares has only zeros; expected a number above 0 for a device that computes"},
	{MODEL "share: [1, 2]\n", {0}, "@:5: unknown key `share` in the recipe; did you mean `shares`?"},
	{MODEL, {"shares=[1, x]"}, "override `shares=[1, x]`: shares is `x`; expected a number of at least 0"},
	/* overrides */
	{MODEL, {"train.lr"}, "override `train.lr`: expected KEY=VALUE, e.g. train.lr=0.01 or groups.1.lr=0.01"},
	{MODEL, {"=3"}, "override `=3`: expected KEY=VALUE, e.g. train.lr=0.01 or groups.1.lr=0.01"},
	{MODEL, {"train..lr=3"}, "override `train..lr=3`: a part of the key is empty"},
	{MODEL, {"train.lr=no"}, "override `train.lr=no`: train.lr is `no`; expected a number of at least 0"},
	{MODEL, {"train.lerning_rate=1"},
	 "override `train.lerning_rate=1`: unknown key `lerning_rate` in train; did you mean `lr`?"},
	{MODEL, {"model.layers.7.conv.out=1"},
	 "override `model.layers.7.conv.out=1`: position 7 is beyond a list of 1; 1 would append"},
	{MODEL, {"model.layers.fc.out=1"},
	 "override `model.layers.fc.out=1`: `fc` is not a position in a list of 1; the first is 0"},
	{MODEL "train: {lr: 3}\n", {"train.lr.x=1"}, "override `train.lr.x=1`: there is no `x` in `3`"},
	{MODEL, {"groups.0.match=*.bias"},
	 "override `groups.0.match=*.bias`: aliases (`*name`) are not taken in a recipe; a text that begins with * needs quotes"},
	{MODEL, {"data.classes=[5"}, "override `data.classes=[5`: did not find expected ',' or ']'"},
	{MODEL, {"train.steps=1", "train.epochs=1"},
	 "override `train.steps=1`: train has both epochs and steps; expected one of them"},
};

static void expand(const char *message, char *expected, size_t size)
{
	if (*message == '@')
		snprintf(expected, size, "%s%s", path, message + 1);
	else
		snprintf(expected, size, "%s", message);
}

static void wrong_recipes_name_the_line(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < LW_COUNT(wrong); i++) {
		lw_recipe *recipe = NULL;
		char expected[1024];

		expand(wrong[i].message, expected, sizeof(expected));
		if (read_recipe(&recipe, wrong[i].text, wrong[i].overrides) != LW_OK && strcmp(lw_last_error(), expected) == 0 && !recipe)
			continue;
		print_error("wrong recipe %zu:\n  expected %s\n  found    %s\n", i, expected, recipe ? "nothing wrong" : lw_last_error());
		lw_recipe_destroy(&recipe);
		failed++;
	}
	assert_int_equal(failed, 0);
}

static void missing_file_is_named(void **state)
{
	lw_recipe *recipe = NULL;

	(void)state;
	assert_int_equal(lw_recipe_read(&recipe, "/nowhere/r.yaml", NULL, 0), LW_E_IO);
	assert_non_null(strstr(lw_last_error(), "/nowhere/r.yaml"));
	assert_null(recipe);
}

/* --- Right recipes --- */

static const char whole[] =
	"model:\n"
	"  input: [3, 8, 6]\n"
	"  layers:\n"
	"    - conv:    {name: conv1, out: 32, kernel: [3, 5], pad: 1, stride: 2, dilation: 1, groups: 1, bias: no}\n"
	"    - relu:    {}\n"
	"    - relu:\n"
	"    - relu\n"
	"    - maxpool: {kernel: 2, stride: 2, ceil_mode: on}\n"
	"    - batchnorm: {name: bn, eps: 1e-3, momentum: 0.2, update_frozen: true}\n"
	"    - add: {name: sum, from: [bn, bn]}\n"
	"    - dropout: {p: .5}\n"
	"    - linear:  {name: fc, out: 1_0, from: sum}\n"
	"  weights: [a.safetensors, /b.safetensors]\n"
	"  init: xavier\n"
	"data:\n"
	"  format: cifar10\n"
	"  train: [one, two]\n"
	"  test: /three\n"
	"  classes: [5, 6]\n"
	"  limit: 1e3\n"
	"  normalize: {mean: [0.1, 0.2, 0.3], std: 0.5}\n"
	"train:\n"
	"  batch: 0x10\n"
	"  steps: 500\n"
	"  shuffle: false\n"
	"  seed: 7\n"
	"  rule: adamw\n"
	"  lr: 1e-3\n"
	"  betas: [0.8, 0.99]\n"
	"  weight_decay: 5.0e-4\n"
	"  schedule: {kind: multistep, milestones: [3, 9], gamma: 0.5}\n"
	"  clip_norm: 1\n"
	"  label_smoothing: 0.1\n"
	"  precision: accurate\n"
	"  reproducible: yes\n"
	"  gradients: per_group\n"
	"  checkpoint: {dir: run, every: 200, keep: 3}\n"
	"  on_nan: skip:3\n"
	"  evaluate_every: 2\n"
	"  no_decay_on_bias_and_norm: true\n"
	"  sync_batchnorm: true\n"
	"  slices: 8\n"
	"groups:\n"
	"  - {name: old, match: \"conv*\", lr: 0.00001, schedule: cosine, nesterov: false, clip_norm: 2}\n"
	"  - {name: new, match: [\"fc.*\", \"re:^bn\"], lr_mult: 2, device: \"portable:0\"}\n"
	"  - {name: rest, default: true, freeze: true, unfreeze_at: 100, offload: cpu}\n"
	"devices: [portable:0, \"intel:0/2.0\"]\n"
	"shares: [1, 2.5]\n";

static void check_model(const lw_recipe *r)
{
	char joined[128];

	assert_int_equal(r->input[0], 3);
	assert_int_equal(r->input[2], 6);
	assert_int_equal(r->layer_count, 9);
	assert_string_equal(r->layers[0].options.name, "conv1");
	assert_int_equal(r->layers[0].options.kernel[0], 3);
	assert_int_equal(r->layers[0].options.kernel[1], 5);
	assert_int_equal(r->layers[0].options.stride[1], 2);
	assert_false(r->layers[0].options.bias);
	for (int i = 1; i < 4; i++)
		assert_string_equal(r->layers[i].kind, "relu");
	assert_true(r->layers[4].options.ceil_mode);
	assert_true(r->layers[5].options.eps == 1e-3);
	assert_true(r->layers[5].options.update_frozen);
	assert_int_equal(r->layers[6].options.from_count, 2);
	assert_string_equal(r->layers[6].options.from[1], "bn");
	assert_true(r->layers[7].options.p == 0.5);
	assert_int_equal(r->layers[8].options.out, 10);
	assert_int_equal(r->layers[8].node->line, 12);
	snprintf(joined, sizeof(joined), "%s/a.safetensors", folder);
	assert_string_equal(r->weights.items[0], joined);
	assert_string_equal(r->weights.items[1], "/b.safetensors");
	assert_int_equal(r->init, LW_INIT_XAVIER);
}

static void check_options(const lw_recipe *r)
{
	const lw_train_options *t = lw_recipe_train(r);
	const lw_plan_options *p = lw_recipe_plan(r);
	const lw_optim_options *o = lw_recipe_optim(r);
	char joined[128];

	assert_int_equal(p->batch, 16);
	assert_int_equal(t->steps, 500);
	assert_int_equal(t->epochs, 0);
	assert_false(t->shuffle);
	assert_int_equal(t->seed, 7);
	assert_int_equal(p->seed, 7);
	assert_string_equal(o->rule.rule, "adamw");
	assert_true(o->lr == 1e-3 && o->rule.beta1 == 0.8 && o->rule.beta2 == 0.99 && o->rule.weight_decay == 5e-4);
	assert_int_equal(o->schedule.kind, LW_SCHEDULE_MULTISTEP);
	assert_int_equal(o->schedule.milestone_count, 2);
	assert_int_equal(o->schedule.milestones[1], 9);
	assert_true(o->schedule.gamma == 0.5 && o->clip_norm == 1 && p->label_smoothing == 0.1);
	assert_int_equal(p->precision, LW_PRECISION_ACCURATE);
	assert_true(p->reproducible);
	assert_int_equal(p->gradients, LW_GRADIENTS_PER_GROUP);
	assert_true(p->synchronise_batchnorm && p->slices == 8);
	assert_int_equal(p->share_count, 2);
	assert_true(p->shares[0] == 1 && p->shares[1] == 2.5);
	snprintf(joined, sizeof(joined), "%s/run", folder);
	assert_string_equal(t->checkpoint_dir, joined);
	assert_int_equal(t->checkpoint_every, 200);
	assert_int_equal(t->checkpoint_keep, 3);
	assert_int_equal(t->skip_not_finite, 3);
	assert_int_equal(t->evaluate_every, 2);
	assert_true(o->no_decay_on_bias_and_norm);
	assert_string_equal(lw_recipe_devices(r), "portable:0,intel:0/2.0");
}

static void check_groups(const lw_recipe *r)
{
	size_t count = 0;
	const lw_group_options *g = lw_recipe_groups(r, &count);

	assert_int_equal(count, 3);
	assert_true(g[0].lr == 1e-5 && g[0].clip_norm == 2);
	assert_int_equal(g[0].schedule->kind, LW_SCHEDULE_COSINE);
	assert_int_equal(g[0].nesterov, 0);
	assert_int_equal(g[0].caffe, -1);
	assert_true(isnan(g[0].momentum));
	assert_int_equal(g[1].match_count, 2);
	assert_string_equal(g[1].match[1], "re:^bn");
	assert_true(g[1].lr_mult == 2 && isnan(g[1].lr));
	assert_string_equal(g[1].device, "portable:0");
	assert_true(g[2].is_default && g[2].freeze);
	assert_int_equal(g[2].unfreeze_at, 100);
	assert_string_equal(g[2].device, "cpu");
}

static void a_whole_recipe_is_read(void **state)
{
	const lw_recipe_data *d;
	lw_recipe *r = NULL;

	(void)state;
	assert_int_equal(read_recipe(&r, whole, (const char *const[3]){0}), LW_OK);
	check_model(r);
	check_options(r);
	check_groups(r);
	d = &r->data;
	assert_string_equal(d->format, "cifar10");
	assert_int_equal(d->train.count, 2);
	assert_string_equal(d->test.items[0], "/three");
	assert_int_equal(d->class_count, 2);
	assert_int_equal(d->classes[1], 6);
	assert_int_equal(d->limit, 1000);
	assert_int_equal(d->mean_count, 3);
	assert_int_equal(d->std_count, 1);
	lw_recipe_destroy(&r);
	assert_null(r);
}

static void defaults_stand_where_nothing_is_said(void **state)
{
	lw_recipe *r = NULL;
	size_t count = 1;

	(void)state;
	assert_int_equal(read_recipe(&r, MODEL, (const char *const[3]){0}), LW_OK);
	assert_int_equal(lw_recipe_train(r)->epochs, 1);
	assert_int_equal(lw_recipe_train(r)->steps, 0);
	assert_true(lw_recipe_train(r)->shuffle);
	assert_int_equal(lw_recipe_plan(r)->batch, 64);
	assert_string_equal(lw_recipe_optim(r)->rule.rule, "sgd");
	assert_true(lw_recipe_optim(r)->lr == 0.01);
	assert_string_equal(lw_recipe_devices(r), "auto");
	assert_int_equal(lw_recipe_plan(r)->share_count, 0);
	assert_int_equal(lw_recipe_plan(r)->slices, 0);
	assert_false(lw_recipe_plan(r)->synchronise_batchnorm);
	lw_recipe_groups(r, &count);
	assert_int_equal(count, 0);
	assert_int_equal(r->init, LW_INIT_HE);
	lw_recipe_destroy(&r);
}

static void overrides_replace_append_and_create(void **state)
{
	static const char *const sets[] = {
		"train.epochs=3", "groups.1.lr=0.5",	  "groups.3={name: four, match: \"x\"}", "model.layers.4.maxpool.kernel=[2, 1]",
		"model.layers.2.relu.name=second",	  "data.classes=[7]",			 "train.schedule=constant",
		"train.momentum=0.25",			  "train.lr=0.5",			 "train.lr=0.25",
	};
	lw_recipe *r = NULL;

	(void)state;
	write_recipe(whole);
	assert_int_equal(lw_recipe_read(&r, path, sets, LW_COUNT(sets)), LW_OK);
	assert_int_equal(r->train.epochs, 3); /* an override of epochs ends what the file says of steps */
	assert_int_equal(r->train.steps, 0);
	assert_int_equal(r->group_count, 4);
	assert_true(r->groups[1].lr == 0.5);
	assert_string_equal(r->groups[3].name, "four");
	assert_int_equal(r->layers[4].options.kernel[1], 1);
	assert_string_equal(r->layers[2].options.name, "second");
	assert_int_equal(r->data.class_count, 1);
	assert_int_equal(r->data.classes[0], 7);
	assert_int_equal(r->optim.schedule.kind, LW_SCHEDULE_CONSTANT);
	assert_true(r->optim.rule.momentum == 0.25 && r->optim.lr == 0.25);
	lw_recipe_destroy(&r);

	assert_int_equal(lw_recipe_read(&r, path, (const char *const[]){"model.weights=[]"}, 1), LW_OK);
	assert_int_equal(r->weights.count, 0); /* all from scratch */
	lw_recipe_destroy(&r);
}

static void scalars_are_those_of_yaml(void **state)
{
	static const struct {
		const char *text;
		double number; /* NAN: none */
	} scalars[] = {
		{"1", 1},	 {"-1.5", -1.5}, {"+2", 2},    {"1e-5", 1e-5}, {"1E+2", 100}, {".5", 0.5},  {"5.", 5},
		{"0x1F", 31},	 {"0b101", 5},	 {"017", 15},  {"1_000", 1000}, {"08", NAN},  {"1e", NAN},  {"e5", NAN},
		{"1.2.3", NAN},	 {".", NAN},	 {"-", NAN},   {"inf", NAN},   {".inf", NAN}, {"nan", NAN}, {"0x", NAN},
		{"1 2", NAN},	 {"1,5", NAN},	 {"\"1\"", NAN}, {"1e400", NAN}, {"99999999999999999999", NAN}, {"true", NAN},
	};

	(void)state;
	for (size_t i = 0; i < LW_COUNT(scalars); i++) {
		lw_node *node = NULL;
		double value = 0;

		assert_int_equal(lw_yaml_parse(&node, scalars[i].text, strlen(scalars[i].text), "t", false), LW_OK);
		if (lw_node_number(node, &value) == isnan(scalars[i].number) || (!isnan(scalars[i].number) && value != scalars[i].number))
			fail_msg("%s was read as %g", scalars[i].text, value);
		lw_node_destroy(&node);
	}
}

/* --- What is made of them --- */

static void the_net_is_built_and_its_errors_have_a_line(void **state)
{
	static const char bad[] = "model:\n  input: [1, 4, 4]\n  layers:\n    - relu\n    - conv: {out: 2, kernel: 9}\n";
	lw_load_report report;
	char prefix[128];
	lw_recipe *r = NULL;
	lw_net *net = NULL;

	(void)state;
	assert_int_equal(read_recipe(&r, MODEL, (const char *const[3]){0}), LW_OK);
	assert_int_equal(lw_recipe_net(r, &net, &report), LW_OK);
	assert_int_equal(lw_net_param_count(net), 2);
	assert_int_equal(lw_net_classes(net), 3);
	assert_int_equal(report.loaded, 0);
	lw_load_report_clear(&report);
	lw_net_destroy(&net);
	lw_recipe_destroy(&r);

	assert_int_equal(read_recipe(&r, bad, (const char *const[3]){0}), LW_OK);
	assert_int_equal(lw_recipe_net(r, &net, NULL), LW_E_ARGUMENT);
	snprintf(prefix, sizeof(prefix), "%s:5: ", path);
	assert_memory_equal(lw_last_error(), prefix, strlen(prefix));
	assert_null(net);
	lw_recipe_destroy(&r);
}

static void ready_made_nets_by_name(void **state)
{
	static const struct {
		const char *text;
		int channels, height, classes;
	} cases[] = {
		{"model: {arch: lenet}\n", 1, 28, 10},
		{"model:\n  classes: 7\n  arch: lenet\n", 1, 28, 7},
		{"model:\n  arch: {classes: 5, name: resnet18}\n  input: [3, 32, 48]\n", 3, 32, 5},
		{"model:\n  arch: squeezenet1_1\n", 3, 224, 1000},
		{"data: {format: images, test: x, normalize: {mean: [0.1, 0.2, 0.3]}}\nmodel: {arch: cifar6}\n", 3, 32, 10},
	};
	char expected[256];
	lw_recipe *r = NULL;
	lw_net *net = NULL;

	(void)state;
	for (size_t i = 0; i < LW_COUNT(cases); i++) {
		int channels, height, width;

		assert_int_equal(read_recipe(&r, cases[i].text, (const char *const[3]){0}), LW_OK);
		assert_int_equal(lw_recipe_net(r, &net, NULL), LW_OK);
		lw_net_input(net, &channels, &height, &width);
		assert_int_equal(channels, cases[i].channels);
		assert_int_equal(height, cases[i].height);
		assert_int_equal(r->input[1], cases[i].height); /* what data sets are made for */
		assert_int_equal(lw_net_classes(net), cases[i].classes);
		lw_net_destroy(&net);
		lw_recipe_destroy(&r);
	}
	assert_int_equal(read_recipe(&r, "model:\n  input: [1, 4, 4]\n  arch: lenet\n", (const char *const[3]){0}), LW_OK);
	assert_int_equal(lw_recipe_net(r, &net, NULL), LW_E_ARGUMENT);
	snprintf(expected, sizeof(expected), "%s:3: lenet for images of 4 x 4: layer `conv1`: ", path);
	assert_memory_equal(lw_last_error(), expected, strlen(expected));
	assert_null(net);
	lw_recipe_destroy(&r);
}

static void files_that_are_not_there_are_named(void **state)
{
	static const char text[] = MODEL "  weights: w.safetensors\ndata:\n  format: idx\n  train: [i.gz, l.gz]\n";
	lw_dataset *set = NULL;
	lw_recipe *r = NULL;
	lw_net *net = NULL;
	char prefix[128];

	(void)state;
	assert_int_equal(read_recipe(&r, text, (const char *const[3]){0}), LW_OK);
	assert_int_equal(lw_recipe_net(r, &net, NULL), LW_E_IO);
	snprintf(prefix, sizeof(prefix), "%s:5: %s/w.safetensors", path, folder);
	assert_memory_equal(lw_last_error(), prefix, strlen(prefix));
	assert_int_equal(lw_recipe_dataset(r, true, &set), LW_E_IO);
	snprintf(prefix, sizeof(prefix), "%s:8: %s/i.gz", path, folder);
	assert_memory_equal(lw_last_error(), prefix, strlen(prefix));
	assert_int_equal(lw_recipe_dataset(r, false, &set), LW_OK);
	assert_null(set);
	lw_recipe_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_recipes_name_the_line),
		cmocka_unit_test(missing_file_is_named),
		cmocka_unit_test(a_whole_recipe_is_read),
		cmocka_unit_test(defaults_stand_where_nothing_is_said),
		cmocka_unit_test(overrides_replace_append_and_create),
		cmocka_unit_test(scalars_are_those_of_yaml),
		cmocka_unit_test(the_net_is_built_and_its_errors_have_a_line),
		cmocka_unit_test(ready_made_nets_by_name),
		cmocka_unit_test(files_that_are_not_there_are_named),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
