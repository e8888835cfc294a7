/* Numbers for people. */
#include "base/base.h"
#include <layerwise/report.h>

#include <math.h>

const char *lw_format_bytes(char buffer[32], double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t unit = 0;

	while (fabs(bytes) >= 1023.95 && unit + 1 < LW_COUNT(units)) { /* 1023.96 would be printed as 1024.0 */
		bytes /= 1024;
		unit++;
	}
	snprintf(buffer, 32, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
	return buffer;
}

const char *lw_format_count(char buffer[32], double count)
{
	static const char *const units[] = {"", " k", " M", " G", " T", " P", " E"};
	size_t unit = 0;

	while (fabs(count) >= 999.995 && unit + 1 < LW_COUNT(units)) {
		count /= 1000;
		unit++;
	}
	if (unit == 0 && count == floor(count))
		snprintf(buffer, 32, "%.0f", count);
	else
		snprintf(buffer, 32, "%.2f%s", count, units[unit]);
	return buffer;
}

const char *lw_format_duration(char buffer[32], double seconds)
{
	long long s;

	if (!(seconds >= 0) || seconds > 1e9) {
		snprintf(buffer, 32, "-");
		return buffer;
	}
	s = llround(seconds);
	if (s >= 3600)
		snprintf(buffer, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(buffer, 32, "%lld:%02lld", s / 60, s % 60);
	return buffer;
}
