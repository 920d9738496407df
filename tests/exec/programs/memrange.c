/* Exercises a range device as a program of the host would: argv[1] is the device, argv[2] what to
 * do. Prints one line per answer; the exit status is 0 unless the device could not be opened. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct mem_range_desc {
	uint64_t mr_base;
	uint64_t mr_len;
	int mr_flags;
	char mr_owner[8];
};

struct mem_range_op {
	struct mem_range_desc *mo_desc;
	int mo_arg[2];
};

#define BSD_GET 0xc0106d32ul
#define BSD_SET 0x80106d33ul
#define LINUX_GET _IOWR('m', 50, struct mem_range_op)
#define LINUX_SET _IOW('m', 51, struct mem_range_op)

static const char *outcome(int result)
{
	return result < 0 ? strerror(errno) : "ok";
}

static void list(int fd, unsigned long get)
{
	struct mem_range_op op = {NULL, {0, 0}};
	struct mem_range_desc *table;
	int i, result = ioctl(fd, get, &op);

	printf("count %s %d\n", outcome(result), op.mo_arg[0]);
	if (result < 0)
		return;
	table = calloc(op.mo_arg[0], sizeof(*table));
	op.mo_desc = table;
	printf("get %s", outcome(ioctl(fd, get, &op)));
	printf(" %d\n", op.mo_arg[0]);
	for (i = 0; i < op.mo_arg[0]; i++)
		if (table[i].mr_len)
			printf("%d %#jx %#jx %#x %.8s\n", i, (uintmax_t)table[i].mr_base,
			    (uintmax_t)table[i].mr_len, table[i].mr_flags, table[i].mr_owner);
	free(table);
}

static void set(int fd, unsigned long request, uint64_t base, uint64_t len, int flags, int what)
{
	struct mem_range_desc desc = {base, len, flags, "cprog"};
	struct mem_range_op op = {&desc, {what, 0}};

	printf("set %s\n", outcome(ioctl(fd, request, &op)));
}

static void bad_pointers(int fd)
{
	struct mem_range_op op = {(struct mem_range_desc *)16, {4, 0}};

	printf("get %s\n", outcome(ioctl(fd, BSD_GET, &op)));
	op.mo_arg[0] = 0;
	printf("set %s\n", outcome(ioctl(fd, BSD_SET, &op)));
	printf("argument %s\n", outcome(ioctl(fd, BSD_GET, 16)));
	printf("unknown %s\n", outcome(ioctl(fd, 0x40046d99ul, &op)));
}

static void rate(int fd, int rounds)
{
	struct mem_range_op op = {NULL, {0, 0}};
	struct timespec start, end;
	int i;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < rounds; i++) {
		op.mo_arg[0] = 0;
		if (ioctl(fd, BSD_GET, &op) < 0)
			exit(1);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.0f\n", rounds / (end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9));
}

int main(int argc, char **argv)
{
	int fd = argc < 3 ? -1 : open(argv[1], O_RDONLY);

	if (fd < 0) {
		perror("open");
		return 1;
	}
	if (!strcmp(argv[2], "bsd") || !strcmp(argv[2], "linux")) {
		int bsd = !strcmp(argv[2], "bsd");
		unsigned long request = bsd ? BSD_SET : LINUX_SET;

		set(fd, request, 0x100000, 0x100000, 2, 0);
		set(fd, request, 0x123, 0x100000, 2, 0);
		set(fd, request, 0x100000, 0x100000, 2, 7);
		list(fd, bsd ? BSD_GET : LINUX_GET);
	} else if (!strcmp(argv[2], "bad")) {
		bad_pointers(fd);
	} else {
		rate(fd, atoi(argv[2]));
	}
	return 0;
}
