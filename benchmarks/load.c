/*
 * A load client: load ADDRESS FRAMING CONNECTIONS DEPTH MILLISECONDS PRELUDE REQUEST
 *
 * ADDRESS is a Unix socket's path or a TCP port on 127.0.0.1. FRAMING is "memhub" or "modbus".
 * PRELUDE and REQUEST are files of frames: each frame of the prelude is sent on every connection
 * and its answer awaited; then DEPTH requests are kept in flight. Each answer names its request,
 * whose number is used again. Prints "begin" and, at the end, how many answers came; goes when
 * its standard input ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ROOM (1 << 18)

struct connection {
	int fd;
	size_t have;
	unsigned char *buffer;
};

static int modbus;
static unsigned char prelude[4096], request[4096];
static size_t prelude_size, request_size;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static size_t header(void) { return modbus ? 6 : 12; }

static size_t frame_size(const unsigned char *frame)
{
	unsigned int length;

	if (modbus)
		return 6 + (frame[4] << 8 | frame[5]);
	memcpy(&length, frame, 4);
	return 12 + (size_t)length;
}

static void number(unsigned char *frame, const unsigned char *from)
{
	if (modbus)
		memcpy(frame, from, 2);
	else
		memcpy(frame + 8, from, 4);
}

static size_t load_file(const char *path, unsigned char *into)
{
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file)
		fail(path);
	size = fread(into, 1, 4096, file);
	fclose(file);
	return size;
}

static int dial(const char *address)
{
	int port = atoi(address), fd, one = 1;

	if (port) {
		struct sockaddr_in inet = { .sin_family = AF_INET, .sin_port = htons(port) };
		inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (connect(fd, (struct sockaddr *)&inet, sizeof inet))
			fail("connect");
	} else {
		struct sockaddr_un local = { .sun_family = AF_UNIX };
		strncpy(local.sun_path, address, sizeof local.sun_path - 1);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		while (connect(fd, (struct sockaddr *)&local, sizeof local))
			if (errno != EAGAIN)
				fail("connect");
			else
				usleep(1000);
	}
	return fd;
}

static void send_all(int fd, const unsigned char *data, size_t size)
{
	while (size) {
		ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
		if (sent < 0)
			fail("send");
		data += sent;
		size -= sent;
	}
}

static void receive(struct connection *it)
{
	ssize_t got = recv(it->fd, it->buffer + it->have, ROOM - it->have, 0);

	if (got <= 0)
		fail("recv: the server closed the connection");
	it->have += got;
}

/* Takes the whole frames out of the buffer; asks again for each if `again` is set. */
static long take(struct connection *it, int again)
{
	static unsigned char out[ROOM];
	size_t at = 0, out_size = 0;
	long count = 0;

	while (it->have - at >= header() && it->have - at >= frame_size(it->buffer + at)) {
		if (again) {
			memcpy(out + out_size, request, request_size);
			number(out + out_size, it->buffer + at + (modbus ? 0 : 8));
			out_size += request_size;
		}
		at += frame_size(it->buffer + at);
		count++;
	}
	memmove(it->buffer, it->buffer + at, it->have -= at);
	send_all(it->fd, out, out_size);
	return count;
}

static void begin(struct connection *it, const char *address)
{
	size_t at;

	it->fd = dial(address);
	it->have = 0;
	it->buffer = malloc(ROOM);
	for (at = 0; at < prelude_size; at += frame_size(prelude + at)) {
		send_all(it->fd, prelude + at, frame_size(prelude + at));
		do
			receive(it);
		while (!take(it, 0));
	}
}

static void ask(struct connection *it, int depth)
{
	for (int i = 1; i <= depth; i++) {
		unsigned char id[4] = { i & 0xff, i >> 8 };
		number(request, id);
		send_all(it->fd, request, request_size);
	}
}

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	int many, depth, poll = epoll_create1(0);
	long long start, end;
	long answers = 0;
	struct connection *all;

	if (argc != 8)
		return 2;
	modbus = !strcmp(argv[2], "modbus");
	many = atoi(argv[3]);
	depth = atoi(argv[4]);
	prelude_size = load_file(argv[6], prelude);
	request_size = load_file(argv[7], request);
	all = calloc(many, sizeof *all);
	for (int i = 0; i < many; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &all[i] };
		begin(&all[i], argv[1]);
		epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
	}
	puts("begin");
	fflush(stdout);
	start = now();
	end = start + atoi(argv[5]) * 1000000LL;
	for (int i = 0; i < many; i++)
		ask(&all[i], depth);
	while (now() < end) {
		struct epoll_event ready[256];
		int count = epoll_wait(poll, ready, 256, 1000);
		for (int i = 0; i < count; i++) {
			receive(ready[i].data.ptr);
			answers += take(ready[i].data.ptr, 1);
		}
	}
	printf("%ld\n", answers);
	fflush(stdout);
	/* What closing costs the server is not to be counted. */
	while (getchar() != EOF)
		;
	return 0;
}
