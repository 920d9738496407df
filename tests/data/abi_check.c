/*
 * What a C compiler says of mem(4)'s structures and request numbers.
 *
 * Compiled to assembly only, never assembled, linked or run: every fact is left in the output as
 * a string "-> name value". So a 32-bit answer needs no 32-bit C library.
 *
 *   -DEMULATE_ILP32  i386 layout without -m32: 64-bit integers align to 4, pointers are 32 bits
 *   -DHOST_MACROS    also the numbers that this system's own <sys/ioctl.h> makes
 */
#include <stddef.h>
#ifdef HOST_MACROS
#include <sys/ioctl.h>
#endif

#ifdef EMULATE_ILP32
typedef unsigned long long wide __attribute__((aligned(4)));
typedef unsigned int pointer;
#else
typedef unsigned long long wide;
typedef void *pointer;
#endif

struct desc {
	wide mr_base;
	wide mr_len;
	int mr_flags;
	char mr_owner[8];
};

struct op {
	pointer mo_desc;
	int mo_arg[2];
};

/* BSD: direction in the top three bits, 13 bits of length. */
#define BSD_IOC(inout, num, len) \
	((inout) | (((unsigned)(len) & 0x1fffu) << 16) | ((unsigned)'m' << 8) | (num))

/* Linux: two bits of direction (1 write, 2 read), 14 bits of length. */
#define LINUX_IOC(dir, num, len) \
	(((unsigned)(dir) << 30) | ((unsigned)(len) << 16) | ((unsigned)'m' << 8) | (num))

#define FACT(name, value) \
	__asm__ volatile(".ascii \"-> " #name " %c0\"" : : "i"((unsigned)(value)))

void
facts(void)
{
	FACT(pointer, sizeof(pointer));
	FACT(desc, sizeof(struct desc));
	FACT(mr_base, offsetof(struct desc, mr_base));
	FACT(mr_len, offsetof(struct desc, mr_len));
	FACT(mr_flags, offsetof(struct desc, mr_flags));
	FACT(mr_owner, offsetof(struct desc, mr_owner));
	FACT(op, sizeof(struct op));
	FACT(mo_desc, offsetof(struct op, mo_desc));
	FACT(mo_arg, offsetof(struct op, mo_arg));
	FACT(bsd_get, BSD_IOC(0xc0000000u, 50, sizeof(struct op)));
	FACT(bsd_set, BSD_IOC(0x80000000u, 51, sizeof(struct op)));
	FACT(linux_get, LINUX_IOC(3, 50, sizeof(struct op)));
	FACT(linux_set, LINUX_IOC(1, 51, sizeof(struct op)));
#ifdef HOST_MACROS
	FACT(host_get, _IOWR('m', 50, struct op));
	FACT(host_set, _IOW('m', 51, struct op));
#endif
}
