/*
 * layerwise/device.h - what OpenCL devices there are, and opening them by name.
 */
#ifndef LAYERWISE_DEVICE_H
#define LAYERWISE_DEVICE_H

#include <layerwise/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lw_device lw_device;

typedef enum lw_device_type {
	LW_DEVICE_CPU,
	LW_DEVICE_GPU,
	LW_DEVICE_ACCELERATOR,
	LW_DEVICE_SIMULATED
} lw_device_type;

typedef struct lw_device_info {
	int platform_index; /* position among the platforms; the order of platforms may change */
	int device_index;   /* position within the platform */
	char platform[128];
	char platform_vendor[128];
	char vendor[128];
	char name[256];
	char driver[128];
	char opencl_version[128];   /* of the device, as the driver words it */
	char opencl_c_version[128];
	lw_device_type type;
	unsigned compute_units;
	unsigned clock_mhz;
	uint64_t global_memory;     /* bytes */
	uint64_t local_memory;      /* bytes a work-group may use */
	uint64_t max_allocation;    /* bytes of one buffer */
	size_t max_work_group;
	size_t max_local_size[3];
	unsigned vector_width;      /* native width of float, at least 1 */
	unsigned alignment;         /* bytes, of a slice of a buffer */
	bool fp16;
	bool fp64;
	bool fast_fma;              /* fma() is an instruction; emulated, it is slow to run and slower to compile */
	bool denormals;             /* float denormals are kept */
	bool correctly_rounded;     /* divide and sqrt can be asked to be correctly rounded */
} lw_device_info;

/*
 * Lists every device of every platform. *list is the caller's to free with lw_device_list_free.
 * LW_E_DEVICE where there is no OpenCL driver at all; the message says what to install.
 */
LW_API lw_status lw_device_list(lw_device_info **list, size_t *count);
LW_API void lw_device_list_free(lw_device_info **list);

/*
 * Opens devices by name: "auto" (a GPU before a CPU), or "P:D[/n[.k]]": P a platform's number or
 * part of its name or vendor, D a device's number or part of its name (without regard to case; "P"
 * alone is "P:0"); "/n" its n equal sub-devices as n devices, "/n.k" the k-th of them alone, from
 * 0; "sim[:options]" is a simulated device for tests. Commas separate several. *devices holds *count
 * devices; the array is the caller's (lw_devices_close). LW_E_ARGUMENT for a name that fits nothing
 * or several; the message lists what there is.
 */
LW_API lw_status lw_devices_open(lw_device ***devices, size_t *count, const char *names);
LW_API void lw_devices_close(lw_device ***devices, size_t count);

/* As lw_devices_open for a name that means exactly one device. */
LW_API lw_status lw_device_open(lw_device **device, const char *name);
LW_API void lw_device_close(lw_device **device);

/* The device's properties; valid as long as the device is open. */
LW_API const lw_device_info *lw_device_get_info(const lw_device *device);

/* "P:D"-style label, unique among open devices and usable with lw_device_open, e.g. "Portable Computing Language:0". */
LW_API const char *lw_device_label(const lw_device *device);

#ifdef __cplusplus
}
#endif
#endif
