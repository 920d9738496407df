/* Makes a system call by the 32-bit convention: getpid through int 0x80. */
#include <stdio.h>

int main(void)
{
	long result = 20;

	__asm__ volatile("int $0x80" : "+a"(result) : : "memory");
	printf("%ld\n", result);
	return 0;
}
