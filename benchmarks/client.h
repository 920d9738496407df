/* What the programs here share: how a frame is found, and how a server is reached. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Whether frames are those of Modbus, not memhub's. */
static int modbus;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

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
