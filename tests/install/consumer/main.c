/* Somebody else's program: lists the devices through the installed library. */
#include <layerwise/layerwise.h>
#include <stdio.h>

int main(void)
{
	lw_device_info *list = NULL;
	size_t count = 0;

	if (lw_device_list(&list, &count) != LW_OK) {
		fprintf(stderr, "%s\n", lw_last_error());
		return 1;
	}
	for (size_t i = 0; i < count; i++)
		printf("layerwise %s sees %s\n", lw_version(), list[i].name);
	lw_device_list_free(&list);
	return count == 0;
}
