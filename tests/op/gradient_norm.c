/* Norms of gradients and clip coefficients on a device: bits of the plain C twin, and what is not finite found. */
#include "op/runner.h"
#include "optim/twins.h"

#include <stdlib.h>

enum { CHUNKS = 150, ROWS = 7, DOMAINS = 3, GAP = 2, LONG_CHUNK = LW_CHUNK_FLOATS };

static const int32_t domain_of_row[ROWS] = {0, 1, -1, 0, 2, 1, 0};
static const float max_norms[DOMAINS] = {0.5f, INFINITY, 3.0f};

/* What one gradient is set to. */
typedef struct norm_case {
	const char *name;
	float factor; /* of all gradients */
	int chunk;    /* -1: none */
	float value;
} norm_case;

static const norm_case cases[] = {
	{"ordinary", 1.0f, -1, 0.0f},
	{"small", 1e-12f, -1, 0.0f},
	{"zero", 0.0f, -1, 0.0f},
	{"squares that overflow", 1e25f, -1, 0.0f},
	{"one square that overflows", 1.0f, 0, 3e38f},
	{"all near the largest float", 3e38f, -1, 0.0f},
	{"NaN", 1.0f, 3, NAN},
	{"NaN in a row without a domain", 1.0f, 2, NAN},
	{"infinity", 1.0f, 149, INFINITY},
	{"minus infinity among large ones", 1e30f, 77, -INFINITY},
};

typedef struct norm_data {
	lw_chunk chunks[CHUNKS];
	int chunk_count;
	size_t floats;
	float *gradients;
	float chunk_norms[CHUNKS], norms[DOMAINS], scale[ROWS];
} norm_data;

static int length_of(int chunk, bool quick)
{
	static const int lengths[] = {1, 64, 63, 65, 129, 7, 128, 1000, 16, 33};

	if (chunk == 5 && !quick)
		return LONG_CHUNK;
	return lengths[chunk % (int)LW_COUNT(lengths)] - (quick && chunk % 10 == 7 ? 900 : 0);
}

static lw_status create_data(const norm_case *c, bool quick, norm_data *d)
{
	int at = 0;

	*d = (norm_data){.chunk_count = CHUNKS};
	for (int i = 0; i < CHUNKS; i++) {
		d->chunks[i] = (lw_chunk){at, length_of(i, quick), i % ROWS, i};
		at += d->chunks[i].length + GAP;
	}
	d->floats = (size_t)at;
	LW_TRY(lw_alloc(&d->gradients, d->floats, sizeof(float)));
	lw_test_fill(d->gradients, d->floats, LW_VALUES_RANDOM, 3, 5);
	for (size_t i = 0; i < d->floats; i++)
		d->gradients[i] *= c->factor;
	/* what is between the chunks must not count */
	for (int i = 0; i < CHUNKS; i++)
		d->gradients[d->chunks[i].offset + d->chunks[i].length] = NAN;
	if (c->chunk >= 0)
		d->gradients[d->chunks[c->chunk].offset + d->chunks[c->chunk].length - 1] = c->value;
	return LW_OK;
}

static void expect(norm_data *d)
{
	bool finite = true;

	for (int i = 0; i < CHUNKS; i++) {
		d->chunk_norms[i] = twin_norm(d->gradients + d->chunks[i].offset, NULL, (size_t)d->chunks[i].length);
		finite = finite && isfinite(d->chunk_norms[i]);
	}
	for (int domain = 0; domain < DOMAINS; domain++) {
		float terms[CHUNKS];
		int lane[CHUNKS];
		size_t count = 0;

		for (int i = 0; i < CHUNKS; i++) {
			if (domain_of_row[d->chunks[i].row] != domain)
				continue;
			terms[count] = d->chunk_norms[i];
			lane[count++] = i % 64;
		}
		d->norms[domain] = finite ? twin_norm(terms, lane, count) : NAN;
	}
	for (int row = 0; row < ROWS; row++) {
		const int domain = domain_of_row[row];

		d->scale[row] = domain < 0 ? 1.0f : fminf(max_norms[domain] / (d->norms[domain] + 1e-6f), 1.0f);
		if (!finite)
			d->scale[row] = NAN;
	}
}

/* The results' buffers begin as poison. */
static lw_status compare(lw_test_run *run, const char *where, const char *what, const lw_test_buf *buf,
			 const float *expected, size_t count)
{
	float got[CHUNKS];
	char text[160];
	bool intact;

	snprintf(text, sizeof text, "%s: %s", where, what);
	LW_TRY(lw_test_buf_read(run, buf, got));
	lw_test_bits(run, text, got, expected, count);
	LW_TRY(lw_test_buf_intact(run, buf, &intact));
	if (!intact)
		lw_test_fail(run, "%s: something was written beside them", text);
	return LW_OK;
}

static lw_status run_case(lw_test_run *run, const norm_case *c, const char *form)
{
	lw_test_buf chunks = {0}, gradients = {0}, chunk_norms = {0}, domains = {0}, limits = {0}, scale = {0},
		    norms = {0};
	char where[120];
	lw_status status;
	norm_data d;

	snprintf(where, sizeof where, "%s, %s", c->name, form);
	LW_GO(create_data(c, run->quick, &d));
	expect(&d);
	LW_GO(lw_test_buf_create(run, &chunks, sizeof d.chunks, true, d.chunks));
	LW_GO(lw_test_buf_create(run, &gradients, d.floats * sizeof(float), true, d.gradients));
	LW_GO(lw_test_buf_create(run, &chunk_norms, sizeof d.chunk_norms, false, NULL));
	LW_GO(lw_test_buf_create(run, &domains, sizeof domain_of_row, true, domain_of_row));
	LW_GO(lw_test_buf_create(run, &limits, sizeof max_norms, true, max_norms));
	LW_GO(lw_test_buf_create(run, &scale, sizeof d.scale, false, NULL));
	LW_GO(lw_test_buf_create(run, &norms, sizeof d.norms, false, NULL));
	LW_GO(lw_chunk_norms(&run->context, chunks.buf, CHUNKS, gradients.buf, chunk_norms.buf));
	LW_GO(lw_clip_coefficients(&run->context, chunks.buf, CHUNKS, chunk_norms.buf, domains.buf, ROWS, limits.buf, DOMAINS,
				   scale.buf, norms.buf));
	LW_GO(lw_queue_finish(run->context.queue));
	LW_GO(compare(run, where, "chunk norms", &chunk_norms, d.chunk_norms, CHUNKS));
	LW_GO(compare(run, where, "norms", &norms, d.norms, DOMAINS));
	LW_GO(compare(run, where, "coefficients", &scale, d.scale, ROWS));
out:
	lw_test_buf_destroy(&chunks);
	lw_test_buf_destroy(&gradients);
	lw_test_buf_destroy(&chunk_norms);
	lw_test_buf_destroy(&domains);
	lw_test_buf_destroy(&limits);
	lw_test_buf_destroy(&scale);
	lw_test_buf_destroy(&norms);
	free(d.gradients);
	return status;
}

static lw_status run_gradient_norm(lw_test_run *run)
{
	const int forced = run->context.force_variant;
	lw_status status = LW_OK;

	for (int v = 0; v < lw_update_variant_count(); v++) {
		if (!lw_update_variant_applies(&run->context, v))
			continue;
		run->context.force_variant = v;
		for (size_t i = 0; i < LW_COUNT(cases); i++)
			LW_GO(run_case(run, &cases[i], lw_update_variant_name(v)));
	}
out:
	run->context.force_variant = forced;
	return status;
}

const lw_check lw_check_gradient_norm = {"gradient_norm", run_gradient_norm};
