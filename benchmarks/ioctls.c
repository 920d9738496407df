/* Makes MEMRANGE_GET count queries on /dev/mem for a while, knowing of neither memhub nor umockdev:
 * ioctls MILLISECONDS FILE. Writes the seconds that one took, and the count, into FILE. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct mem_range_op {
	void *mo_desc;
	int mo_arg[2];
};

#define MEMRANGE_GET 0xc0106d32ul
#define WARM 200
#define BATCH 50

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec * 1e-9;
}

static int ask(int fd, int times)
{
	struct mem_range_op op = {NULL, {0, 0}};

	while (times-- > 0) {
		op.mo_arg[0] = 0;
		if (ioctl(fd, MEMRANGE_GET, &op) < 0) {
			perror("MEMRANGE_GET");
			exit(1);
		}
	}
	return op.mo_arg[0];
}

int main(int argc, char **argv)
{
	double begin, taken;
	long calls = 0;
	int fd, count;
	FILE *file;

	if (argc != 3)
		return 2;
	fd = open("/dev/mem", O_RDONLY);
	if (fd < 0) {
		perror("/dev/mem");
		return 1;
	}
	count = ask(fd, WARM);
	begin = now();
	do {
		ask(fd, BATCH);
		calls += BATCH;
		taken = now() - begin;
	} while (taken < atoi(argv[1]) * 1e-3);
	close(fd);
	file = fopen(argv[2], "w");
	if (file == NULL || fprintf(file, "%.9e %d\n", taken / calls, count) < 0 || fclose(file))
		return 1;
	return 0;
}
