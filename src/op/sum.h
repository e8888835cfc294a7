/* sum: sums over the batch, cut into lw_batch_parts parts that are added in order. */
#ifndef LW_OP_SUM_H
#define LW_OP_SUM_H

#include "op/op.h"

/* sum[i] = ((partial[0][i] + partial[1][i]) + partial[2][i]) + ... over the parts of each slice, and over these: see lw_op_call. */
lw_status lw_op_sum_parts(const lw_op_context *context, int parts, int slices, size_t count, lw_buf *partial, lw_buf *sum);

/* The sum of each channel of the call's output gradient over all pixels of all images, by way of the workspace. */
lw_status lw_op_sum_rows(const lw_op_context *context, const lw_op_call *call, lw_buf *sum);
size_t lw_op_sum_rows_workspace(const lw_op_call *call);

#endif
