/*
 * A client that misbehaves until it is killed: misbehave ADDRESS KIND PRELUDE REQUEST
 *
 * KIND "flood": sends the prelude, then REQUEST again and again, and reads no answer. KIND "churn":
 * opens a connection, sends the prelude, drops the connection as soon as that is answered, and begins
 * again. Prints "begin" when it is at work. It gives way to the other load on its core.
 */
#define _GNU_SOURCE
#include "client.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

/* The server ends a connection with more than 64 requests in flight. */
#define BLOCK 32

static unsigned char prelude[4096], request[4096];
static size_t prelude_size, request_size;

/* Opens a connection; whether the server has answered the prelude. */
static int begin(const char *address, int *fd)
{
	unsigned char answer[4096];

	*fd = dial(address);
	for (size_t at = 0; at < prelude_size; at += frame_size(prelude + at))
		if (send(*fd, prelude + at, frame_size(prelude + at), MSG_NOSIGNAL) < 0 ||
		    recv(*fd, answer, sizeof answer, 0) <= 0)
			return 0;
	return 1;
}

/* The frames of many requests, each with another number. */
static size_t fill(unsigned char *room, size_t size)
{
	static unsigned int id;
	size_t at;

	for (at = 0; at + request_size <= size; at += request_size) {
		id = id + 1 ? id + 1 : 1;
		memcpy(room + at, request, request_size);
		number(room + at, (unsigned char *)&id);
	}
	return at;
}

/* Until the server ends the connection: half of what may be in flight, whenever it has read that. */
static void flood(int fd)
{
	static unsigned char room[4096];

	for (;;) {
		size_t size = fill(room, BLOCK * request_size);
		int unread;

		if (send(fd, room, size, MSG_NOSIGNAL) != (ssize_t)size)
			return;
		while (!ioctl(fd, SIOCOUTQ, &unread) && unread)
			usleep(20);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	prelude_size = load_file(argv[3], prelude);
	request_size = load_file(argv[4], request);
	nice(10);
	puts("begin");
	fflush(stdout);
	for (;;) {
		int fd;
		if (begin(argv[1], &fd) && !strcmp(argv[2], "flood"))
			flood(fd);
		close(fd);
	}
}
