#include "net/net.h"
int lw_slice_runs(int first, int count, lw_run runs[LW_MAX_RUNS]) { int n=0; while(count>0){int s=1; while(first%(2*s)==0&&2*s<=count) s*=2; runs[n++]=(lw_run){first,s}; first+=s;count-=s;} return n; }
lw_status lw_sum_runs(const lw_op_context *context, size_t count, const lw_run *runs, lw_buf *const *partials, int run_count, size_t off, lw_buf *sum)
{ (void)runs;(void)off;(void)sum; for(int r=1;r<run_count;r++) LW_TRY(lw_accumulate(context,count,partials[r],partials[0])); return LW_OK; }
