/*
 * A load client: load ADDRESS FRAMING CONNECTIONS DEPTH MILLISECONDS PRELUDE REQUESTS [RATE]
 *
 * ADDRESS is a Unix socket's path or a TCP port on 127.0.0.1. FRAMING is "memhub" or "modbus".
 * PRELUDE and REQUESTS are files of frames: each frame of the prelude is sent on every connection
 * and its answer awaited. Each connection has as many of the requests as the others, which it sends
 * in turn; where there are fewer requests than connections, each has all. Prints "begin", waits for a
 * line on its standard input, and goes when that ends.
 *
 * Without RATE, DEPTH requests are kept in flight on each connection; each answer names its
 * request, whose number is used again. Goes on until there is an answer.
 * Prints how many came, their bytes, and the nanoseconds that they took.
 *
 * With RATE, that many requests a second are due at fixed times, on one connection after the other,
 * whether or not others are answered. Those due while DEPTH are in flight on their connection are
 * sent later. Prints how many were due, how many were refused, and nanoseconds from when a request
 * was due to its answer: the median, the 99th percentile and the worst. What has no answer when
 * twice the time is over counts as if it came then.
 */
#define _GNU_SOURCE
#include "client.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

/* An answer of 1 MiB, and what comes with it. */
#define ROOM ((1 << 20) + (1 << 16))
#define FRAMES 64
#define DATA 0x40
#define ERROR 0xff
#define NS 1000000000LL

struct connection {
	int fd;
	size_t have, kept;
	unsigned char *buffer, *out;
	long sent, answered, turn;
	int first;
};

static int each, shared;
static unsigned char prelude[4096], requests[4096], *request[FRAMES];
static size_t prelude_size, requests_size;
static long long bytes;

/* Whether no other frame of this answer follows. */
static int is_last(const unsigned char *frame)
{
	return modbus || frame[4] != DATA || frame[6] & 1;
}

static size_t header(void) { return modbus ? 6 : 12; }

static void receive(struct connection *it)
{
	ssize_t got = recv(it->fd, it->buffer + it->have, ROOM - it->have, 0);

	if (got <= 0)
		fail("recv: the server closed the connection");
	it->have += got;
}

/* Keeps the next request of a connection for sending, with the number that `id` holds. */
static void keep_request(struct connection *it, const unsigned char *id)
{
	const unsigned char *frame = request[it->first + it->turn++ % each];

	memcpy(it->out + it->kept, frame, frame_size(frame));
	number(it->out + it->kept, id);
	it->kept += frame_size(frame);
}

/* Takes the answers out of the buffer, and gives each to `then` with its connection. */
static long take(struct connection *it, void (*then)(struct connection *, const unsigned char *))
{
	size_t at = 0, size;
	long count = 0;

	while (it->have - at >= header() && it->have - at >= (size = frame_size(it->buffer + at))) {
		bytes += size;
		if (is_last(it->buffer + at)) {
			if (then)
				then(it, it->buffer + at);
			count++;
		}
		at += size;
	}
	memmove(it->buffer, it->buffer + at, it->have -= at);
	return count;
}

static void ask_again(struct connection *it, const unsigned char *answer)
{
	keep_request(it, answer + (modbus ? 0 : 8));
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

static void begin(struct connection *it, const char *address)
{
	size_t at;

	it->fd = dial(address);
	it->buffer = malloc(ROOM);
	it->out = malloc(ROOM);
	for (at = 0; at < prelude_size; at += frame_size(prelude + at)) {
		send_all(it->fd, prelude + at, frame_size(prelude + at));
		do
			receive(it);
		while (!take(it, NULL));
	}
}

static void flush_kept(struct connection *it)
{
	send_all(it->fd, it->out, it->kept);
	it->kept = 0;
}

static void ask(struct connection *it, int depth)
{
	for (int i = 1; i <= depth; i++) {
		unsigned char id[4] = { i & 0xff, i >> 8 };
		keep_request(it, id);
		flush_kept(it);
	}
}

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* As many requests in flight as there may be. */
static void keep_busy(struct connection *all, int many, int depth, long long length)
{
	int poll = epoll_create1(0);
	long long start, end;
	long answers = 0;

	for (int i = 0; i < many; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &all[i] };
		epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
	}
	bytes = 0;
	start = now();
	end = start + length;
	for (int i = 0; i < many; i++)
		ask(&all[i], depth);
	while (now() < end || !answers) {
		struct epoll_event ready[256];
		int count = epoll_wait(poll, ready, 256, 1000);
		for (int i = 0; i < count; i++) {
			receive(ready[i].data.ptr);
			answers += take(ready[i].data.ptr, ask_again);
			flush_kept(ready[i].data.ptr);
		}
	}
	printf("%ld %lld %lld\n", answers, bytes, now() - start);
}

static long long *took, began;
static double apart;
static long refused;

static long long due(long index) { return began + (long long)(index * apart); }

static void note_answer(struct connection *it, const unsigned char *answer)
{
	unsigned int id;

	memcpy(&id, answer + 8, 4);
	if (!id)
		errno = EPROTO, fail("the server ends the connection");
	took[id - 1] = now() - due(id - 1);
	it->answered++;
	refused += answer[4] == ERROR;
}

/* Sends what is due on a connection; the number of a request tells when it was due. */
static void send_due(struct connection *it, int place, int many, int depth, long total)
{
	long index;
	ssize_t sent;

	while ((index = place + it->sent * many) < total && it->sent - it->answered < depth &&
	       due(index) <= now()) {
		unsigned int id = index + 1;
		keep_request(it, (unsigned char *)&id);
		it->sent++;
	}
	if (!it->kept)
		return;
	sent = send(it->fd, it->out, it->kept, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno != EAGAIN)
		fail("send");
	if (sent > 0)
		memmove(it->out, it->out + sent, it->kept -= sent);
}

/* When a connection that can send more has to: never, if all is sent or it awaits answers. */
static long long next_due(struct connection *it, int place, int many, int depth, long total)
{
	long index = place + it->sent * many;

	return index < total && it->sent - it->answered < depth ? due(index) : began + (NS << 16);
}

static int by_size(const void *one, const void *other)
{
	long long a = *(const long long *)one, b = *(const long long *)other;

	return (a > b) - (a < b);
}

/* Requests at their times. */
static void keep_pace(struct connection *all, int many, int depth, long long length, double rate)
{
	long total = rate * length / NS, answers = 0;
	struct pollfd *files = calloc(many, sizeof *files);

	/* Sleep to the nanosecond, not to the next 50 us. */
	prctl(PR_SET_TIMERSLACK, 1);
	total = total ? total : 1;
	took = malloc(total * sizeof *took);
	apart = NS / rate;
	memset(took, -1, total * sizeof *took);
	began = now();
	while (answers < total && now() < began + 2 * length) {
		long long wake = began + 2 * length, wait;
		struct timespec time;

		for (int i = 0; i < many; i++) {
			long long next;
			send_due(&all[i], i, many, depth, total);
			next = next_due(&all[i], i, many, depth, total);
			wake = next < wake ? next : wake;
			files[i].fd = all[i].fd;
			files[i].events = POLLIN | (all[i].kept ? POLLOUT : 0);
		}
		wait = wake - now();
		wait = wait < 0 ? 0 : wait;
		time = (struct timespec){ wait / NS, wait % NS };
		ppoll(files, many, &time, NULL);
		for (int i = 0; i < many; i++)
			if (files[i].revents & ~POLLOUT) {
				receive(&all[i]);
				answers += take(&all[i], note_answer);
			}
	}
	for (long i = 0; i < total; i++)
		if (took[i] < 0)
			took[i] = now() - due(i);
	qsort(took, total, sizeof *took, by_size);
	printf("%ld %ld %lld %lld %lld\n", total, refused, took[total / 2], took[total * 99 / 100],
	       took[total - 1]);
}

/* Finds the frames in the file of requests, and how many of them each connection has. */
static void share_out(int many)
{
	int count = 0;

	for (size_t at = 0; at < requests_size; at += frame_size(requests + at))
		if (count < FRAMES)
			request[count++] = requests + at;
	shared = count < many;
	each = shared ? count : count / many;
}

int main(int argc, char **argv)
{
	int many, depth;
	long long length;
	struct connection *all;

	if (argc != 8 && argc != 9)
		return 2;
	modbus = !strcmp(argv[2], "modbus");
	many = atoi(argv[3]);
	depth = atoi(argv[4]);
	length = atoi(argv[5]) * 1000000LL;
	prelude_size = load_file(argv[6], prelude);
	requests_size = load_file(argv[7], requests);
	share_out(many);
	all = calloc(many, sizeof *all);
	for (int i = 0; i < many; i++) {
		all[i].first = shared ? 0 : i * each;
		begin(&all[i], argv[1]);
	}
	puts("begin");
	fflush(stdout);
	getchar();
	if (argc == 9)
		keep_pace(all, many, depth, length, atof(argv[8]));
	else
		keep_busy(all, many, depth, length);
	fflush(stdout);
	/* What closing costs the server is not to be counted. */
	while (getchar() != EOF)
		;
	return 0;
}
