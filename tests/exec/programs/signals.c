/* Opens a plain file again and again while a timer sends signals whose handler is installed
 * without SA_RESTART; prints how many opens failed with EINTR, of how many.
 * Arguments: the timer's period in microseconds, the number of opens, the number of processes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void ignore(int number)
{
	(void)number;
}

static void open_often(int period, int count)
{
	struct sigaction action = {.sa_handler = ignore};
	struct itimerval timer = {{0, period}, {0, period}};
	int interrupted = 0;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	for (int at = 0; at < count; at++) {
		int fd = open("/etc/passwd", O_RDONLY);

		if (fd >= 0)
			close(fd);
		else if (errno == EINTR)
			interrupted++;
		else
			exit(1);
	}
	timer.it_value.tv_usec = 0;
	setitimer(ITIMER_REAL, &timer, NULL);
	printf("%d of %d\n", interrupted, count);
	exit(0);
}

int main(int argc, char **argv)
{
	int processes = argc > 3 ? atoi(argv[3]) : 1, status, failed = 0;

	for (int at = 0; at < processes; at++)
		if (!fork())
			open_often(atoi(argv[1]), atoi(argv[2]));
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}
