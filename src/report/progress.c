/* A progress line: rewritten in place on a terminal, a plain line now and then elsewhere. */
#include "base/base.h"
#include <layerwise/report.h>

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

static const double terminal_seconds = 0.1, plain_seconds = 5;

void lw_progress_begin(lw_progress_line *line, FILE *stream)
{
	line->stream = stream;
	line->terminal = isatty(fileno(stream)) == 1;
	line->last = -INFINITY; /* the first step is shown at once: it is the slow one */
	line->every = plain_seconds;
}

/* Ends the line that is being rewritten, if there is one. */
static void clear_line(const lw_progress_line *line)
{
	if (line->terminal)
		fputs("\r\033[K", line->stream);
}

static void print_position(const lw_progress_line *line, const lw_train_progress *progress)
{
	fprintf(line->stream, "step %" PRId64 "/%" PRId64, progress->step, progress->total);
	if (progress->epochs > 0)
		fprintf(line->stream, "  epoch %" PRId64 "/%" PRId64, progress->epoch, progress->epochs);
}

void lw_progress_update(lw_progress_line *line, const lw_train_progress *progress)
{
	double now = lw_now(), every = line->terminal ? terminal_seconds : line->every;
	bool first = isinf(line->last);
	char eta[32];

	if (progress->evaluated) {
		clear_line(line);
		print_position(line, progress);
		fprintf(line->stream, "  test accuracy %.4f  test loss %.4f\n", progress->accuracy, progress->evaluation_loss);
		fflush(line->stream);
		return;
	}
	if (now - line->last < every && progress->step < progress->total)
		return;
	line->last = now;
	clear_line(line);
	print_position(line, progress);
	fprintf(line->stream, "  loss %.4f", progress->loss);
	if (!first) /* the first step compiled kernels: its rate says nothing */
		fprintf(line->stream, "  %.0f images/s  ETA %s", progress->images_per_second,
			lw_format_duration(eta, progress->eta_seconds));
	fputs(line->terminal ? "" : "\n", line->stream);
	fflush(line->stream);
}

void lw_progress_end(lw_progress_line *line)
{
	if (line->terminal)
		fputc('\n', line->stream);
	fflush(line->stream);
}
