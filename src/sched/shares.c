/* Shares of a batch, by speed. */
#include "sched/shares.h"

#include <math.h>

static bool has_room(const int *most, const int *parts, size_t i) { return !most || parts[i] < most[i]; }

/* In proportion to the speeds of those with room, rounded down; returns what is left. */
static int share_in_proportion(int left, size_t count, const double *speeds, const int *most, int *parts)
{
	double open = 0;
	int given = 0;

	for (size_t i = 0; i < count; i++)
		open += has_room(most, parts, i) ? speeds[i] : 0;
	for (size_t i = 0; i < count && open > 0; i++) {
		int part;

		if (!has_room(most, parts, i))
			continue;
		part = lw_min_int((int)(left * (speeds[i] / open) * (1 + 1e-12)), left - given);
		part = most ? lw_min_int(part, most[i] - parts[i]) : part;
		parts[i] += part;
		given += part;
	}
	return left - given;
}

/* One to whoever has room and would end soonest; false where nobody has. */
static bool share_one(size_t count, const double *speeds, const int *most, int *parts)
{
	double best = INFINITY;
	size_t to = count;

	for (size_t i = 0; i < count; i++) {
		const double end = (parts[i] + 1) / speeds[i];

		if (speeds[i] > 0 && has_room(most, parts, i) && end < best) {
			best = end;
			to = i;
		}
	}
	if (to < count)
		parts[to]++;
	return to < count;
}

/* In proportion while that gives any: again where some were full. What is left over then is less than one each. */
int lw_share_out(int total, size_t count, const double *speeds, const int *most, int *parts)
{
	int left = total, before = left + 1;

	for (size_t i = 0; i < count; i++)
		parts[i] = 0;
	while (left > 0 && left < before) {
		before = left;
		left = share_in_proportion(left, count, speeds, most, parts);
		if (left >= (int)count)
			continue;
		while (left > 0 && share_one(count, speeds, most, parts))
			left--;
	}
	return left;
}
