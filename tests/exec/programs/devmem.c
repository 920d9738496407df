/* Reads a word of physical memory through a mapping and writes it, as devmem2 and pcimem do. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    uint64_t address = strtoull(argv[2], NULL, 0);
    int fd = open(argv[1], O_RDWR | O_SYNC);
    void *page;
    volatile uint32_t *word;

    if (fd < 0) {
        printf("open %s\n", strerror(errno));
        return 1;
    }
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, address & ~0xfffULL);
    if (page == MAP_FAILED) {
        printf("mmap %s\n", strerror(errno));
        return 1;
    }
    word = (volatile uint32_t *)((char *)page + (address & 0xfff));
    printf("read 0x%08x\n", *word);
    if (argc > 3) {
        *word = strtoul(argv[3], NULL, 0);
        printf("written 0x%08x\n", *word);
    }
    return 0;
}
