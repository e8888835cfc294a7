/* conv of single pixels (1x1, no padding) on CPUs: products of matrices, with the chains of the direct algorithm. */
#include "op/conv.h"

#include <string.h>

static bool is_strided(const lw_conv *conv) { return conv->stride[0] != 1 || conv->stride[1] != 1; }

/* The product of a pass; buffers are the caller's to set. A pixel is a row of x, y and their gradients. */
static lw_gemm gemm_of(const lw_conv *conv, lw_pass pass)
{
	const int pixels = conv->images * conv->output[0] * conv->output[1], in = conv->channels, out = conv->out_channels;

	if (pass == LW_PASS_FORWARD)
		return (lw_gemm){.transpose_b = true, .m = pixels, .n = out, .k = in, .lda = in, .ldb = in, .ldc = out, .parts = 1,
				 .relu = conv->relu};
	if (pass == LW_PASS_DATA)
		return (lw_gemm){.m = pixels, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in, .parts = 1};
	return (lw_gemm){.transpose_a = true, .m = out, .n = in, .k = pixels, .lda = out, .ldb = conv->stride[1] * in, .ldc = in,
			 .parts = conv->parts, .slices = conv->slices,
			 .b_line = is_strided(conv) ? conv->output[1] : 0,
			 .b_line_pitch = conv->stride[0] * conv->input[1] * in};
}

static bool applies(const lw_conv *conv, lw_pass pass)
{
	for (int i = 0; i < 2; i++)
		if (conv->kernel[i] != 1 || conv->pad[i])
			return false;
	/* only for weights, and where rows of pixels are equally far apart from one image to the next; a stride may be beyond the input */
	if (is_strided(conv) && (pass != LW_PASS_WEIGHT || conv->stride[1] > conv->input[1] ||
				 (long)conv->stride[0] * conv->output[0] != conv->input[0]))
		return false;
	/* else the parts of the batch are not those of the pixels */
	return conv->groups == 1 && (pass != LW_PASS_WEIGHT || conv->images % conv->parts == 0);
}

/* Weights that leave room in a core's second cache are read there again and again: packing x, too, is not worth it. */
static bool suits(const lw_conv *conv, lw_pass pass)
{
	enum { CACHED_FLOATS = 256 * 1024 };

	return pass == LW_PASS_WEIGHT || (double)conv->channels * conv->out_channels > CACHED_FLOATS;
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	lw_choice found[LW_MAX_CHOICES];
	int count, kept = 0;
	lw_gemm gemm;

	if (!applies(conv, pass) || (context->force_variant < 0 && !suits(conv, pass)))
		return 0;
	gemm = gemm_of(conv, pass);
	count = lw_gemm_choices(context, &gemm, found);
	for (int i = 0; i < count && kept < capacity; i++)
		if (found[i].family == LW_GEMM_CPU || found[i].family == LW_GEMM_OUTER) {
			list[kept] = found[i];
			list[kept].inner = found[i].family;
			list[kept].algorithm = LW_CONV_DIRECT;
			snprintf(list[kept++].name, sizeof list->name, "direct/gemm%.28s", strchr(found[i].name, ' '));
		}
	return kept;
}

static lw_choice gemm_choice(const lw_choice *choice)
{
	lw_choice gemm = *choice;

	gemm.algorithm = 0;
	gemm.family = choice->inner;
	return gemm;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	const lw_choice taken = gemm_choice(choice);
	const lw_gemm gemm = gemm_of(conv, pass);

	return lw_gemm_workspace(context, &gemm, &taken);
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *b)
{
	const lw_choice taken = gemm_choice(choice);
	lw_gemm gemm = gemm_of(conv, pass);

	gemm.workspace = b->workspace;
	gemm.a = pass == LW_PASS_FORWARD ? b->x : b->gradient;
	gemm.b = pass == LW_PASS_WEIGHT ? b->x : b->weight;
	if (pass == LW_PASS_FORWARD) {
		gemm.bias = b->bias;
		gemm.c = b->y;
	} else if (pass == LW_PASS_DATA) {
		gemm.mask = conv->mask ? b->x : NULL;
		gemm.c = b->x_gradient;
	} else {
		gemm.c = b->weight_gradient;
	}
	return lw_gemm_run(context, &gemm, &taken);
}

const lw_conv_family lw_conv_gemm = {"gemm", false, choices, workspace, run};
