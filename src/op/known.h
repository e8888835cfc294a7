/* known: the shipped table of choices that were found faster than operators' first guesses; known.inc holds its rows. */
#ifndef LW_OP_KNOWN_H
#define LW_OP_KNOWN_H

#include "op/op.h"

typedef struct lw_known {
	int vector;         /* floats of the vectors that the device prefers: 4, 8 or 16; 0: any */
	const char *key;    /* a glob on lw_op_tuning_key's text, of a GPU's with "gpu " before it; NULL ends a table */
	const char *choice; /* a glob on choices' names: the first listed one that matches is taken */
} lw_known;

extern const lw_known lw_known_rows[];

/*
 * The place in the list of what the first row that fits says, 0 where none does. Only choices with the algorithm of the first are
 * taken: a row never changes a run's bits.
 */
int lw_known_find(const lw_known *rows, const lw_device *device, const char *key, const lw_choice *list, int count);

/* A line of known.inc for what was found faster: a row, or in a comment what a row cannot say, another algorithm. */
enum { LW_KNOWN_TEXT = 512 };
void lw_known_print(const lw_device *device, const char *key, const lw_choice *usual, const lw_choice *best, double gain,
		    char text[LW_KNOWN_TEXT]);

#endif
