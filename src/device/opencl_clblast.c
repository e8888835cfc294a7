/* Matrix products by CLBlast, which is tuned for GPUs; on CPUs our own kernels are several times faster. */
#define CL_TARGET_OPENCL_VERSION 120
#include "device/backend.h"

#ifdef LW_HAVE_CLBLAST

#include <clblast_c.h>
#include <stdlib.h>
#include <string.h>

/* CLBlast 1.5.3 is not safe to call from several threads, whatever its documentation says. */
static pthread_mutex_t clblast_lock = PTHREAD_MUTEX_INITIALIZER;

static bool wanted(const lw_device *device)
{
	const char *choice = getenv("LAYERWISE_CLBLAST");

	if (choice && *choice)
		return strcmp(choice, "off") != 0;
	return device->info.type == LW_DEVICE_GPU;
}

lw_status lw_opencl_gemm(lw_queue *queue, bool transpose_a, bool transpose_b, int m, int n, int k, lw_buf *a, int lda,
			 lw_buf *b, int ldb, lw_buf *c, int ldc, void **event)
{
	cl_command_queue handle = queue->handle;
	CLBlastStatusCode code;

	if (!wanted(queue->device))
		return lw_fail(LW_E_UNSUPPORTED, "CLBlast is for GPUs, %s is none", queue->device->info.name);
	pthread_mutex_lock(&clblast_lock);
	code = CLBlastSgemm(CLBlastLayoutRowMajor, transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
			    transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo, (size_t)m, (size_t)n, (size_t)k,
			    1.0f, a->handle, 0, (size_t)lda, b->handle, 0, (size_t)ldb, 0.0f, c->handle, 0, (size_t)ldc,
			    &handle, (cl_event *)event);
	pthread_mutex_unlock(&clblast_lock);
	if (code == CLBlastSuccess)
		return LW_OK;
	if (code > CLBlastNotImplemented) /* OpenCL's own codes pass through; CLBlast's begin at -1024 */
		return lw_opencl_fail(code, "CLBlastSgemm", "%d x %d x %d", m, n, k);
	return lw_fail(LW_E_DEVICE, "CLBlastSgemm: status %d (%d x %d x %d)", (int)code, m, n, k);
}

#else

lw_status lw_opencl_gemm(lw_queue *queue, bool transpose_a, bool transpose_b, int m, int n, int k, lw_buf *a, int lda,
			 lw_buf *b, int ldb, lw_buf *c, int ldc, void **event)
{
	(void)queue, (void)transpose_a, (void)transpose_b, (void)m, (void)n, (void)k;
	(void)a, (void)lda, (void)b, (void)ldb, (void)c, (void)ldc, (void)event;
	return lw_fail(LW_E_UNSUPPORTED, "this build is without CLBlast");
}

#endif
