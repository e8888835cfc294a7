/* Schedules: PyTorch's factors, warm-up, boundaries, and what is refused. */
#include "optim/optim.h"
#include "optim/reference_torch.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static lw_schedule defaults(lw_schedule_kind kind)
{
	lw_schedule s;

	lw_schedule_defaults(&s);
	s.kind = kind;
	return s;
}

static void close_to(double got, double expected)
{
	if (!(fabs(got - expected) <= 1e-12 * fabs(expected) + 1e-15))
		fail_msg("got %.17g, expected %.17g", got, expected);
}

static void torch_factors(void **state)
{
	(void)state;
	for (size_t i = 0; i < LW_COUNT(reference_schedules); i++) {
		assert_int_equal(lw_schedule_check(&reference_schedules[i].schedule), LW_OK);
		for (int step = 1; step <= REFERENCE_TOTAL; step++)
			close_to(lw_schedule_factor(&reference_schedules[i].schedule, step, REFERENCE_TOTAL),
				 reference_schedules[i].values[step - 1]);
	}
}

static void warm_up_ramps_and_multiplies(void **state)
{
	lw_schedule s = defaults(LW_SCHEDULE_CONSTANT);

	(void)state;
	s.warmup = 4;
	close_to(lw_schedule_factor(&s, 1, 0), 0.25);
	close_to(lw_schedule_factor(&s, 3, 0), 0.75);
	close_to(lw_schedule_factor(&s, 4, 0), 1.0);
	close_to(lw_schedule_factor(&s, 1000, 0), 1.0);
	/* the run's steps go on counting under it */
	s.kind = LW_SCHEDULE_EXPONENTIAL;
	s.gamma = 0.5;
	close_to(lw_schedule_factor(&s, 2, 0), 0.5 * 0.5);
	close_to(lw_schedule_factor(&s, 5, 0), 0.0625);
	s = defaults(LW_SCHEDULE_MULTISTEP);
	s.warmup = 4;
	s.milestone_count = 1;
	s.milestones[0] = 2;
	close_to(lw_schedule_factor(&s, 2, 0), 0.5);
	close_to(lw_schedule_factor(&s, 3, 0), 0.75 * 0.1);
}

/* t begins after warm-up. */
static void cosine_after_warm_up(void **state)
{
	lw_schedule s = defaults(LW_SCHEDULE_COSINE);

	(void)state;
	s.warmup = 10;
	s.min_factor = 0.2;
	close_to(lw_schedule_factor(&s, 5, 30), 0.5);
	close_to(lw_schedule_factor(&s, 10, 30), 1.0);
	close_to(lw_schedule_factor(&s, 11, 30), 1.0);
	close_to(lw_schedule_factor(&s, 21, 30), 0.6);
	close_to(lw_schedule_factor(&s, 31, 30), 0.2);
	close_to(lw_schedule_factor(&s, 1000, 30), 0.2);
	/* warm-up longer than the run never gets to the cosine */
	close_to(lw_schedule_factor(&s, 4, 5), 0.4);
	s.kind = LW_SCHEDULE_POLYNOMIAL;
	s.power = 2;
	close_to(lw_schedule_factor(&s, 21, 30), 0.2 + 0.8 * 0.25);
}

static void one_cycle_ends(void **state)
{
	lw_schedule s = defaults(LW_SCHEDULE_ONE_CYCLE);

	(void)state;
	close_to(lw_schedule_factor(&s, 1, 100), 0.04);
	close_to(lw_schedule_factor(&s, 30, 100), 1.0);
	close_to(lw_schedule_factor(&s, 100, 100), 4e-6);
	close_to(lw_schedule_factor(&s, 200, 100), 4e-6);
	for (int total = 1; total < 6; total++)
		for (int step = 1; step <= total + 1; step++) {
			double pct[] = {0.0, 0.3, 1.0};
			for (size_t i = 0; i < LW_COUNT(pct); i++) {
				double factor;
				s.pct_start = pct[i];
				factor = lw_schedule_factor(&s, step, total);
				assert_true(factor >= 4e-6 && factor <= 1.0);
			}
		}
}

static void default_gammas(void **state)
{
	lw_schedule s = defaults(LW_SCHEDULE_EXPONENTIAL);

	(void)state;
	close_to(lw_schedule_factor(&s, 3, 0), 0.999 * 0.999);
	s.kind = LW_SCHEDULE_STEP;
	s.size = 2;
	close_to(lw_schedule_factor(&s, 2, 0), 1.0);
	close_to(lw_schedule_factor(&s, 3, 0), 0.1);
}

static void names(void **state)
{
	lw_schedule_kind kind;

	(void)state;
	for (int k = LW_SCHEDULE_CONSTANT; k <= LW_SCHEDULE_ONE_CYCLE; k++) {
		assert_int_equal(lw_schedule_find(lw_schedule_name((lw_schedule_kind)k), &kind), LW_OK);
		assert_int_equal(kind, k);
	}
	assert_int_equal(lw_schedule_find("cosin", &kind), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "`cosine`"));
	assert_int_equal(lw_schedule_find("qqqqqqqqqqqqqqqq", &kind), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "one_cycle"));
}

static void refused(void **state)
{
	static const struct {
		lw_schedule_kind kind;
		lw_schedule set; /* fields other than 0 replace the defaults */
		const char *word;
	} rows[] = {
		{LW_SCHEDULE_CONSTANT, {.warmup = -1}, "warmup"},
		{LW_SCHEDULE_STEP, {.size = -3}, "size"},
		{LW_SCHEDULE_STEP, {.size = 3, .gamma = -0.5}, "gamma"},
		{LW_SCHEDULE_EXPONENTIAL, {.gamma = INFINITY}, "gamma"},
		{LW_SCHEDULE_MULTISTEP, {.milestone_count = 17}, "milestones"},
		{LW_SCHEDULE_MULTISTEP, {.milestone_count = 2, .milestones = {5, 5}}, "rise"},
		{LW_SCHEDULE_MULTISTEP, {.milestone_count = 2, .milestones = {0, 5}}, "milestone 0"},
		{LW_SCHEDULE_COSINE, {.min_factor = 1.5}, "min_factor"},
		{LW_SCHEDULE_COSINE, {.min_factor = NAN}, "min_factor"},
		{LW_SCHEDULE_POLYNOMIAL, {.power = -1}, "power"},
		{LW_SCHEDULE_ONE_CYCLE, {.warmup = 3}, "warmup"},
		{LW_SCHEDULE_ONE_CYCLE, {.pct_start = 1.2}, "pct_start"},
		{LW_SCHEDULE_ONE_CYCLE, {.div_factor = 0.5}, "div_factor"},
		{LW_SCHEDULE_ONE_CYCLE, {.final_div_factor = -1}, "final_div_factor"},
	};
	lw_schedule s;

	(void)state;
	for (size_t i = 0; i < LW_COUNT(rows); i++) {
		const lw_schedule *set = &rows[i].set;

		s = defaults(rows[i].kind);
		s.warmup = set->warmup;
		s.size = set->size;
		s.gamma = set->gamma != 0 ? set->gamma : s.gamma;
		s.milestone_count = set->milestone_count;
		memcpy(s.milestones, set->milestones, sizeof s.milestones);
		s.power = set->power != 0 ? set->power : s.power;
		s.min_factor = set->min_factor;
		s.pct_start = set->pct_start != 0 ? set->pct_start : s.pct_start;
		s.div_factor = set->div_factor != 0 ? set->div_factor : s.div_factor;
		s.final_div_factor = set->final_div_factor != 0 ? set->final_div_factor : s.final_div_factor;
		assert_int_equal(lw_schedule_check(&s), LW_E_ARGUMENT);
		if (!strstr(lw_last_error(), rows[i].word))
			fail_msg("row %zu: `%s` does not say `%s`", i, lw_last_error(), rows[i].word);
	}
	s = defaults(LW_SCHEDULE_COSINE);
	assert_int_equal(lw_schedule_check(&s), LW_OK);
	assert_int_equal(lw_schedule_check_total(&s, 0), LW_E_ARGUMENT);
	assert_int_equal(lw_schedule_check_total(&s, 1), LW_OK);
	s.kind = LW_SCHEDULE_EXPONENTIAL;
	assert_int_equal(lw_schedule_check_total(&s, 0), LW_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torch_factors),
		cmocka_unit_test(warm_up_ramps_and_multiplies),
		cmocka_unit_test(cosine_after_warm_up),
		cmocka_unit_test(one_cycle_ends),
		cmocka_unit_test(default_gammas),
		cmocka_unit_test(names),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
