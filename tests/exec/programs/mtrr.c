/* Each ioctl of /proc/mtrr, as a display server makes them; what each answers on a line. */

#include <asm/mtrr.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void tell(const char *what, int result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %d\n", what, result);
}

int main(void)
{
	struct mtrr_sentry screen = {0xd0000000, 0x1000000, MTRR_TYPE_WRCOMB};
	struct mtrr_sentry pages = {0xe0000, 0x10, MTRR_TYPE_UNCACHABLE};
	struct mtrr_sentry odd = {0xd0000000, 3, MTRR_TYPE_WRCOMB};
	struct mtrr_gentry found = {.regnum = 1};
	struct stat seen;
	char text[4096];
	int fd = open("/proc/mtrr", O_RDWR);

	if (fd < 0) {
		tell("open", fd);
		return 1;
	}

	fstat(fd, &seen);
	printf("file: %d\n", S_ISREG(seen.st_mode));
	tell("add", ioctl(fd, MTRRIOC_ADD_ENTRY, &screen));
	tell("get", ioctl(fd, MTRRIOC_GET_ENTRY, &found));
	printf("%llx %x %u\n", (unsigned long long)found.base, found.size, found.type);
	tell("set", ioctl(fd, MTRRIOC_SET_ENTRY, &odd));
	tell("add pages", ioctl(fd, MTRRIOC_ADD_PAGE_ENTRY, &pages));
	tell("set pages", ioctl(fd, MTRRIOC_SET_PAGE_ENTRY, &pages));
	found.regnum = 2;
	tell("get page", ioctl(fd, MTRRIOC_GET_PAGE_ENTRY, &found));
	printf("%llx %x %u\n", (unsigned long long)found.base, found.size, found.type);
	tell("del pages", ioctl(fd, MTRRIOC_DEL_PAGE_ENTRY, &pages));
	tell("kill pages", ioctl(fd, MTRRIOC_KILL_PAGE_ENTRY, &pages));
	tell("kill", ioctl(fd, MTRRIOC_KILL_ENTRY, &odd));
	tell("bad pointer", ioctl(fd, MTRRIOC_ADD_ENTRY, NULL));
	tell("unknown", ioctl(fd, 0x4d77, NULL));
	tell("read", (int)read(fd, text, 5));
	tell("seek", (int)lseek(fd, 0, SEEK_SET));
	tell("seek to the end", (int)lseek(fd, 0, SEEK_END));
	tell("pwrite", (int)pwrite(fd, "x", 1, 0));
	tell("write", (int)write(fd, "disable=9", 9));
	tell("del", ioctl(fd, MTRRIOC_DEL_ENTRY, &screen));
	tell("add again", ioctl(fd, MTRRIOC_ADD_ENTRY, &screen));
	return 0;
}
