/* support: what most operators' files share. */
#ifndef LW_OP_SUPPORT_H
#define LW_OP_SUPPORT_H

#include "op/op.h"

/* The two forms most kernels here come in: an item per element, and (for CPUs) an item per run of elements, in vectors. */
enum { LW_SCALAR, LW_VECTOR, LW_SCALAR_AND_VECTOR };

const char *lw_op_scalar_or_vector(int variant);
/* For operators whose only variant is the scalar one, or whose vector variant takes any call. */
bool lw_op_applies(const lw_op_context *context, const lw_op_call *call, int variant);

/* Which form to use: what a test forces, else vectors on a CPU. */
int lw_op_form(const lw_op_context *context);

/* The vector width for runs of `length` floats: of the device's native width, 4, 8 or 16, but at most the length; 1 below 4. */
int lw_op_vector_width(const lw_device *device, size_t length);

/* LW_E_ARGUMENT where an input is empty or has more than 2^31-1 elements. */
lw_status lw_op_check_inputs(const char *kind, const lw_shape *inputs, int input_count);

/* The rule of an operator without options whose output has the shape of its one input. */
lw_status lw_op_same_shape(const char *kind, const lw_shape *inputs, int input_count, lw_op_rule *rule);

/* A launch of at least `items` work-items, one per element; the kernel leaves those past the end alone. */
void lw_op_items(lw_launch *launch, size_t items);

/* to and also, which may be NULL, = from, elements in order */
lw_status lw_op_copy(const lw_op_context *context, size_t floats, lw_buf *from, lw_buf *to, lw_buf *also);

/*
 * Whether kernels in vectors should store `floats` around the caches (option STREAM): more than these hold would be read
 * before it is written, and drive out what is needed next. row: floats whose beginnings are vectors' too.
 */
bool lw_op_streams(const lw_device *device, size_t floats, size_t row);

/* Elementwise kernels in vectors: floats that one work-item takes. */
enum { LW_OP_RUN = 8192 };
static inline size_t lw_op_runs(size_t count) { return (count + LW_OP_RUN - 1) / LW_OP_RUN; }

#endif
