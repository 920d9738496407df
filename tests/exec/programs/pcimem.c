/* Reads or writes words of a memory device through mmap, as pcimem does: one shared
 * mapping of the pages that hold them, opened with O_SYNC. What is written is read back.
 * Arguments: the file, the address, the width in bits, the number of words, and what to write. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t get(volatile void *at, int width)
{
	switch (width) {
	case 8: return *(volatile uint8_t *)at;
	case 16: return *(volatile uint16_t *)at;
	case 32: return *(volatile uint32_t *)at;
	default: return *(volatile uint64_t *)at;
	}
}

static void put(volatile void *at, int width, uint64_t value)
{
	switch (width) {
	case 8: *(volatile uint8_t *)at = value; break;
	case 16: *(volatile uint16_t *)at = value; break;
	case 32: *(volatile uint32_t *)at = value; break;
	default: *(volatile uint64_t *)at = value; break;
	}
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR | O_SYNC);
	uint64_t address = strtoull(argv[2], NULL, 0), page = sysconf(_SC_PAGESIZE);
	int width = atoi(argv[3]), count = atoi(argv[4]);
	uint64_t inside = address & (page - 1), length = inside + count * width / 8;
	char *base;

	if (fd < 0) {
		perror("open");
		return 1;
	}
	base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, address - inside);
	if (base == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (int at = 0; at < count; at++) {
		char *word = base + inside + at * width / 8;

		printf("%#llx: %#llx\n", (unsigned long long)address + at * width / 8,
		       (unsigned long long)get(word, width));
		if (argc > 5) {
			put(word, width, strtoull(argv[5], NULL, 0));
			printf("written: %#llx\n", (unsigned long long)get(word, width));
		}
	}
	return 0;
}
