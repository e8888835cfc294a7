/* Owners of parcels: the clock on cases worked out by hand, the choice against exhaustive search, limits, and size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sched/placement.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARCELS = 64, MAX_DEVICES = 48 };

typedef struct instance {
	lw_placement_device devices[MAX_DEVICES];
	lw_placement_parcel parcels[MAX_PARCELS];
	lw_placement_problem problem;
} instance;

static double uniform(uint32_t stream, uint64_t *counter) { return lw_random_uniform(7, stream, (*counter)++); }

static double logarithmic(uint32_t stream, uint64_t *counter, double low, double high)
{
	return low * pow(high / low, uniform(stream, counter));
}

/* A random problem. Links and updates take from little to more than what computing takes. */
static void make_instance(instance *in, uint32_t stream, int max_parcels, int max_devices)
{
	uint64_t counter = 0;
	int parcels = 1 + (int)(uniform(stream, &counter) * max_parcels);
	int devices = 2 + (int)(uniform(stream, &counter) * (max_devices - 1));

	memset(in, 0, sizeof *in);
	for (int d = 0; d < devices; d++)
		in->devices[d] = (lw_placement_device){.name = "device",
						       .update_bandwidth = logarithmic(stream, &counter, 5e9, 100e9),
						       .link_bandwidth = logarithmic(stream, &counter, 2e9, 30e9),
						       .latency = 10e-6,
						       .domain = uniform(stream, &counter) < 0.3 ? 0 : d,
						       .is_lane = d == 0 || uniform(stream, &counter) < 0.7,
						       .compute_seconds = logarithmic(stream, &counter, 1e-3, 20e-3)};
	for (int p = 0; p < parcels; p++) {
		double bytes = logarithmic(stream, &counter, 1e5, 3e7);
		in->parcels[p] = (lw_placement_parcel){.name = "parcel",
						       .bytes = (uint64_t)bytes,
						       .state_bytes = (uint64_t)(2 * bytes),
						       .update_bytes = (uint64_t)(7 * bytes),
						       .ready = uniform(stream, &counter),
						       .fixed_owner = -1};
	}
	in->problem = (lw_placement_problem){in->devices, (size_t)devices, in->parcels, (size_t)parcels};
}

static double value_of(const lw_placement_problem *problem, const int *owner)
{
	double makespan = -1;

	assert_int_equal(lw_placement_makespan(problem, owner, &makespan, NULL), LW_OK);
	return makespan;
}

/* The best of all placements that fit; INFINITY where none does. */
static double exhaustive(const lw_placement_problem *problem)
{
	lw_placement_clock *clock = NULL;
	int owner[MAX_PARCELS] = {0};
	double best = INFINITY;
	size_t at;

	assert_int_equal(lw_placement_clock_create(&clock, problem), LW_OK);
	do {
		if (lw_placement_check(problem, owner) == LW_OK)
			best = fmin(best, lw_placement_clock_run(clock, owner, NULL, NULL));
		for (at = 0; at < problem->parcel_count && ++owner[at] == (int)problem->device_count; at++)
			owner[at] = 0;
	} while (at < problem->parcel_count);
	lw_placement_clock_destroy(&clock);
	return best;
}

/* Two lanes, each in its own memory, one parcel of 1 MB: every time is a round number. */
static void a_step_is_timed_as_it_says(void **state)
{
	const lw_placement_device lane = {.update_bandwidth = 1e9, .link_bandwidth = 1e9, .is_lane = true, .compute_seconds = 10e-3};
	lw_placement_device devices[3] = {lane, lane, lane};
	const lw_placement_parcel parcel = {.bytes = 1000000, .update_bytes = 3000000, .ready = 0.5, .fixed_owner = -1};
	lw_placement_parcel parcels[2] = {parcel, parcel};
	lw_placement_problem problem = {devices, 2, parcels, 1};
	lw_placement_times times[2];
	lw_placement_load loads[3];
	lw_placement_timeline timeline = {times, loads, 0, 0};
	int owner[2] = {0, 0};
	double makespan;

	(void)state;
	devices[1].domain = 1;
	devices[2].domain = 2;
	/* ready at 5 ms, there at 6, updated (3 MB and the other's 1 MB) by 10, back by 11; the owner computes 4 ms longer */
	assert_int_equal(lw_placement_makespan(&problem, owner, &makespan, &timeline), LW_OK);
	assert_float_equal(times[0].gathered, 6e-3, 1e-9);
	assert_float_equal(times[0].update_end, 10e-3, 1e-9);
	assert_float_equal(times[0].spread, 11e-3, 1e-9);
	assert_float_equal(loads[0].compute_end, 14e-3, 1e-9);
	assert_float_equal(makespan, 14e-3, 1e-9);
	assert_float_equal(timeline.bytes_moved, 2e6, 1);
	/* the sender's slower link decides, and latency */
	devices[1].link_bandwidth = 0.5e9;
	devices[1].latency = 1e-3;
	assert_int_equal(lw_placement_makespan(&problem, owner, &makespan, &timeline), LW_OK);
	assert_float_equal(times[0].gathered, 8e-3, 1e-9);
	assert_float_equal(times[0].spread, 15e-3, 1e-9);
	devices[1] = lane;
	/* one memory: nothing is copied */
	assert_int_equal(lw_placement_makespan(&problem, owner, &makespan, &timeline), LW_OK);
	assert_float_equal(times[0].gathered, 5e-3, 1e-9);
	assert_float_equal(times[0].spread, 9e-3, 1e-9);
	assert_float_equal(timeline.bytes_moved, 0, 0);
	/* three lanes: two copies in one after the other, three to sum, two copies out; then the second parcel's update waits */
	devices[1].domain = 1;
	problem.device_count = 3;
	problem.parcel_count = 2;
	parcels[0].ready = parcels[1].ready = 1;
	assert_int_equal(lw_placement_makespan(&problem, owner, &makespan, &timeline), LW_OK);
	assert_float_equal(times[0].gathered, 12e-3, 1e-9);
	assert_float_equal(times[0].update_end, 17e-3, 1e-9);
	assert_float_equal(times[0].spread, 19e-3, 1e-9);
	assert_float_equal(times[1].gathered, 14e-3, 1e-9);
	assert_float_equal(times[1].update_end, 22e-3, 1e-9);
	assert_float_equal(times[1].spread, 24e-3, 1e-9);
	assert_float_equal(loads[0].in, 4e-3, 1e-9);
	assert_float_equal(loads[0].out, 4e-3, 1e-9);
	assert_float_equal(loads[1].in, 2e-3, 1e-9);
}

static bool first_lane_of_domain(const lw_placement_problem *problem, size_t device)
{
	for (size_t d = 0; d < device; d++)
		if (problem->devices[d].is_lane && problem->devices[d].domain == problem->devices[device].domain)
			return false;
	return true;
}

/* What must hold of any step, however many devices there are and whatever the placement. */
static void check_step(const instance *in, const int *owner)
{
	const lw_placement_problem *problem = &in->problem;
	lw_placement_times times[MAX_PARCELS];
	lw_placement_load loads[MAX_DEVICES];
	lw_placement_timeline timeline = {times, loads, 0, 0};
	double makespan, updates[MAX_DEVICES] = {0}, seconds;
	int lanes = 0;

	assert_int_equal(lw_placement_makespan(problem, owner, &makespan, &timeline), LW_OK);
	for (size_t d = 0; d < problem->device_count; d++)
		lanes += in->devices[d].is_lane;
	for (size_t p = 0; p < problem->parcel_count; p++) {
		const lw_placement_device *own = &in->devices[owner[p]];
		const double bytes = (double)in->parcels[p].bytes;
		double fan_in = 0, fan_out = 0;

		for (size_t d = 0; d < problem->device_count; d++) {
			const lw_placement_device *lane = &in->devices[d];
			const bool apart = lane->domain != own->domain;
			const double slower = fmax(lane->latency + bytes / lane->link_bandwidth, own->latency + bytes / own->link_bandwidth);

			if (!lane->is_lane)
				continue;
			assert_true(times[p].gathered >= in->parcels[p].ready * lane->compute_seconds + (apart ? slower : 0) - 1e-12);
			fan_in += apart ? own->latency + bytes / own->link_bandwidth : 0;
			fan_out += apart && first_lane_of_domain(problem, d) ? own->latency + bytes / own->link_bandwidth : 0;
		}
		seconds = lw_placement_update_seconds(problem, owner[p], (int)p, lanes);
		updates[owner[p]] += seconds;
		assert_true(times[p].gathered >= fan_in && times[p].update_start >= times[p].gathered);
		assert_float_equal(times[p].update_end, times[p].update_start + seconds, 1e-9);
		assert_true(times[p].spread >= times[p].update_end + fan_out - 1e-9 && times[p].spread <= makespan);
		for (size_t q = 0; q < p; q++) /* an owner's updates do not overlap */
			assert_true(owner[q] != owner[p] || times[q].update_start >= times[p].update_end - 1e-9 ||
				    times[p].update_start >= times[q].update_end - 1e-9);
	}
	for (size_t d = 0; d < problem->device_count; d++) {
		assert_float_equal(loads[d].update, updates[d], 1e-9);
		assert_true(loads[d].in <= makespan && loads[d].out <= makespan && loads[d].compute_end <= makespan);
		assert_true(!in->devices[d].is_lane || loads[d].compute_end >= in->devices[d].compute_seconds);
	}
	assert_float_equal(timeline.makespan, makespan, 0);
}

static void steps_keep_their_order(void **state)
{
	(void)state;
	for (uint32_t k = 2000; k < 2100; k++) {
		instance in;
		int owner[MAX_PARCELS];

		make_instance(&in, k, MAX_PARCELS - 1, MAX_DEVICES - 1);
		for (size_t p = 0; p < in.problem.parcel_count; p++)
			owner[p] = (int)(lw_random_bits(7, k, 5000 + p) % in.problem.device_count);
		check_step(&in, owner);
	}
}

static void owners_are_near_the_best(void **state)
{
	double sum = 0, worst = 0;

	(void)state;
	for (uint32_t k = 0; k < 200; k++) {
		instance in;
		int owner[MAX_PARCELS], again[MAX_PARCELS];
		double best, makespan, excess;

		make_instance(&in, k, 8, 3);
		best = exhaustive(&in.problem);
		assert_int_equal(lw_place(&in.problem, owner, &makespan), LW_OK);
		assert_float_equal(makespan, value_of(&in.problem, owner), 0);
		excess = makespan / best - 1;
		assert_true(excess > -1e-9);
		sum += excess;
		worst = fmax(worst, excess);
		assert_int_equal(lw_place(&in.problem, again, NULL), LW_OK);
		assert_memory_equal(owner, again, in.problem.parcel_count * sizeof *owner);
	}
	print_message("200 instances: %.2f %% above the best on average, %.2f %% at worst\n", sum / 2, 100 * worst);
	assert_true(sum / 200 < 0.05 && worst < 0.15);
}

static void memory_and_fixed_owners_are_respected(void **state)
{
	int tight = 0, impossible = 0;

	(void)state;
	for (uint32_t k = 1000; k < 1100; k++) {
		instance in;
		int owner[MAX_PARCELS];
		uint64_t counter = 1000, state_bytes = 0;
		double best, makespan = 0;

		make_instance(&in, k, 6, 3);
		for (size_t p = 0; p < in.problem.parcel_count; p++)
			state_bytes += 2 * in.parcels[p].state_bytes;
		for (size_t d = 0; d < in.problem.device_count; d++) {
			in.devices[d].used = 1000;
			in.devices[d].memory = 1000 + (uint64_t)((double)state_bytes * logarithmic(k, &counter, 0.2, 0.9));
		}
		if (uniform(k, &counter) < 0.5)
			in.parcels[0].fixed_owner = (int)(uniform(k, &counter) * (double)in.problem.device_count);
		best = exhaustive(&in.problem);
		if (isinf(best)) {
			impossible++;
			assert_int_equal(lw_place(&in.problem, owner, &makespan), LW_E_MEMORY);
			continue;
		}
		assert_int_equal(lw_place(&in.problem, owner, &makespan), LW_OK);
		assert_int_equal(lw_placement_check(&in.problem, owner), LW_OK);
		assert_true(makespan < 1.15 * best);
		tight++;
	}
	assert_true(tight > 20 && impossible > 5);
}

static void failures_name_what_is_wrong(void **state)
{
	instance in;
	int owner[MAX_PARCELS];
	double makespan;

	(void)state;
	make_instance(&in, 1, 8, 3);
	in.parcels[0].name = "fc.weight";
	in.parcels[0].state_bytes = 1000;
	for (size_t d = 0; d < in.problem.device_count; d++)
		in.devices[d].memory = 1500;
	in.problem.parcel_count = 1;
	in.devices[1].name = "the larger";
	in.devices[1].memory = 1900;
	assert_int_equal(lw_place(&in.problem, owner, NULL), LW_E_MEMORY);
	assert_non_null(strstr(lw_last_error(), "fc.weight"));
	assert_non_null(strstr(lw_last_error(), "the larger"));
	in.devices[1].memory = 2000;
	assert_int_equal(lw_place(&in.problem, owner, NULL), LW_OK);
	assert_int_equal(owner[0], 1);
	in.parcels[0].fixed_owner = 0;
	in.devices[0].name = "the smaller";
	assert_int_equal(lw_place(&in.problem, owner, NULL), LW_E_MEMORY);
	assert_non_null(strstr(lw_last_error(), "the smaller"));
	in.devices[0].used = 1501;
	assert_int_equal(lw_place(&in.problem, owner, NULL), LW_E_MEMORY);
	in.devices[0].used = in.devices[0].memory = 0;
	owner[0] = (int)in.problem.device_count;
	assert_int_equal(lw_placement_makespan(&in.problem, owner, &makespan, NULL), LW_E_ARGUMENT);
	for (size_t d = 0; d < in.problem.device_count; d++)
		in.devices[d].is_lane = false;
	assert_int_equal(lw_place(&in.problem, owner, NULL), LW_E_ARGUMENT);
	in.devices[0].is_lane = true;
	in.devices[0].link_bandwidth = 0;
	assert_int_equal(lw_place(&in.problem, owner, NULL), LW_E_ARGUMENT);
}

static void simple_cases_are_sane(void **state)
{
	const lw_placement_device lane = {.update_bandwidth = 10e9, .link_bandwidth = 10e9, .is_lane = true, .compute_seconds = 1e-3};
	enum { EQUAL = 16 };
	lw_placement_device devices[4];
	lw_placement_parcel parcels[EQUAL];
	lw_placement_problem problem = {devices, 4, parcels, EQUAL};
	int owner[EQUAL], owned[4] = {0};
	double makespan;

	(void)state;
	for (int d = 0; d < 4; d++) {
		devices[d] = lane;
		devices[d].domain = d;
	}
	for (int p = 0; p < EQUAL; p++)
		parcels[p] = (lw_placement_parcel){.bytes = 1 << 20, .update_bytes = 12 << 20, .ready = 1, .fixed_owner = -1};
	/* equals share equally */
	assert_int_equal(lw_place(&problem, owner, &makespan), LW_OK);
	for (int p = 0; p < EQUAL; p++)
		owned[owner[p]]++;
	for (int d = 0; d < 4; d++)
		assert_int_equal(owned[d], EQUAL / 4);
	/* one lane, and no other that updates faster: it keeps all, nothing is copied */
	for (int d = 1; d < 4; d++)
		devices[d].is_lane = false, devices[d].link_bandwidth = 1e8;
	assert_int_equal(lw_place(&problem, owner, &makespan), LW_OK);
	for (int p = 0; p < EQUAL; p++)
		assert_int_equal(owner[p], 0);
	assert_float_equal(makespan, 1e-3 + EQUAL * 12.0 * (1 << 20) / 10e9, 1e-9);
	/* another in the same memory takes its part */
	devices[1].domain = 0;
	assert_int_equal(lw_place(&problem, owner, &makespan), LW_OK);
	assert_float_equal(makespan, 1e-3 + EQUAL / 2 * 12.0 * (1 << 20) / 10e9, 1e-9);
	/* nothing to place */
	problem.parcel_count = 0;
	assert_int_equal(lw_place(&problem, owner, &makespan), LW_OK);
	assert_float_equal(makespan, 1e-3, 0);
}

/* 1,024 devices and 10,000 parcels. Sanitizers and other tests beside this one make it slower: the limit is generous then. */
static void thousands_are_planned_in_seconds(void **state)
{
	enum { DEVICES = 1024, PARCELS = 10000 };
	lw_placement_device *devices = calloc(DEVICES, sizeof *devices);
	lw_placement_parcel *parcels = calloc(PARCELS, sizeof *parcels);
	lw_placement_problem problem = {devices, DEVICES, parcels, PARCELS};
	int *owner = calloc(PARCELS, sizeof *owner);
	uint64_t counter = 0;
	double makespan, round_robin, started, seconds;

	(void)state;
	assert_true(devices && parcels && owner);
	for (int d = 0; d < DEVICES; d++)
		devices[d] = (lw_placement_device){.update_bandwidth = logarithmic(3, &counter, 50e9, 1000e9),
						   .link_bandwidth = logarithmic(3, &counter, 5e9, 50e9),
						   .latency = 5e-6,
						   .memory = (uint64_t)64 << 30,
						   .used = (uint64_t)8 << 30,
						   .domain = d,
						   .is_lane = true,
						   .compute_seconds = 1 + 0.1 * uniform(3, &counter)};
	for (int p = 0; p < PARCELS; p++) {
		uint64_t bytes = (uint64_t)logarithmic(3, &counter, 1e4, 4e6);
		parcels[p] = (lw_placement_parcel){.bytes = bytes,
						   .state_bytes = 2 * bytes,
						   .update_bytes = 7 * bytes,
						   .ready = 0.33 + 0.67 * p / PARCELS,
						   .fixed_owner = -1};
		owner[p] = p % DEVICES;
	}
	round_robin = value_of(&problem, owner);
	started = lw_now();
	assert_int_equal(lw_place(&problem, owner, &makespan), LW_OK);
	seconds = lw_now() - started;
	print_message("1,024 devices, 10,000 parcels: planned in %.2f s; step %.3f s, in turn %.3f s\n", seconds, makespan, round_robin);
	assert_true(makespan < round_robin);
	assert_int_equal(lw_placement_check(&problem, owner), LW_OK);
#if !defined(__SANITIZE_ADDRESS__)
	assert_true(seconds < 4);
#endif
	free(devices);
	free(parcels);
	free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_step_is_timed_as_it_says),
		cmocka_unit_test(steps_keep_their_order),
		cmocka_unit_test(owners_are_near_the_best),
		cmocka_unit_test(memory_and_fixed_owners_are_respected),
		cmocka_unit_test(failures_name_what_is_wrong),
		cmocka_unit_test(simple_cases_are_sane),
		cmocka_unit_test(thousands_are_planned_in_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
