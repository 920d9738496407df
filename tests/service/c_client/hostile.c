/*
 * hostile.c - the client against bytes that no good service would send. Standard input holds cases:
 * u32 length of what is sent before the client greets, u32 length of what is sent once its
 * requests are on their way, u32 how many descriptors come with that, then both pieces. Each case
 * is answered by a line: the code that ended the connection, how many calls succeeded, how many
 * failed, how many events came, and the reason. A case with 1000 descriptors is JSON for the
 * functions that read it.
 *
 * The requests have the ids 1 to 20 in the order of start_all().
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memhub.h"

#define CALLS 20
#define READ_BYTES 1000
#define WRITE_BYTES 300000
#define SLOTS 3

struct results {
    uint8_t *bytes[2];
    struct mem_range_desc *list;
    struct mem_range_op count, get;
    struct memhub_outcome outcome;
    struct memhub_claim claims[2];
    struct memhub_map map;
    struct memhub_handle opened[2];
    char *texts[2];
    size_t lengths[2];
};

static uint32_t load_number(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
        (uint32_t)bytes[3] << 24;
}

static void start_all(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    struct results *to, const uint8_t *source)
{
    struct mem_range_desc desc = {0xd0000000, 0x100000, MDF_WRITECOMBINE, "rig"};

    to->count = (struct mem_range_op){NULL, {0, 0}};
    to->get = (struct mem_range_op){to->list, {SLOTS, 0}};
    memhub_start_open(hub, call++, "/dev/mem", MEMHUB_OPEN_READ, 0, &to->opened[0]);
    memhub_start_pread(hub, call++, handle, to->bytes[0], READ_BYTES, 0);
    memhub_start_read(hub, call++, handle, to->bytes[1], READ_BYTES);
    memhub_start_ioctl(hub, call++, handle, MEMRANGE_GET, &to->count, 0, 0);
    memhub_start_ioctl(hub, call++, handle, MEMRANGE_GET, &to->get, 0, 0);
    memhub_start_set(hub, call++, handle, 0, &desc, 0, 0, 0, &to->outcome);
    memhub_start_claim(hub, call++, handle, 0, 4096, 0, 0, &to->claims[0]);
    memhub_start_renew(hub, call++, handle, 0, 4096, 7, 0, &to->claims[1]);
    memhub_start_release(hub, call++, handle, 0, 4096, 7);
    memhub_start_wait_free(hub, call++, handle, 0, 4096, MEMHUB_FOREVER);
    memhub_start_break(hub, call++, handle, 0, 4096, 0, "stale");
    memhub_start_explain(hub, call++, handle, 4096, &to->texts[0], &to->lengths[0]);
    memhub_start_report(hub, call++, "", "", &to->texts[1], &to->lengths[1]);
    memhub_start_map(hub, call++, handle, MEMHUB_MAP_READ, &to->map);
    memhub_start_subscribe(hub, call++, "", 0, 0, 0, 0);
    memhub_start_open(hub, call++, "/dev/kmem", MEMHUB_OPEN_READ, 0, &to->opened[1]);
    memhub_start_seek(hub, call++, handle, -1, MEMHUB_SEEK_END);
    memhub_start_ping(hub, call++, 99);
    memhub_start_close(hub, call++, handle);
    memhub_start_pwrite(hub, call++, handle, source, WRITE_BYTES, 0);
}

/* Send bytes, and descriptors with the first of them. */
static void send_bytes(int fd, const uint8_t *bytes, size_t length, unsigned descriptors)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)bytes, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (length == 0)
        return;
    if (descriptors > 0) {
        struct cmsghdr *rights;

        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
        rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
        for (unsigned i = 0; i < descriptors; i++) {
            int file = fileno(stdin);

            memcpy(CMSG_DATA(rights) + i * sizeof(file), &file, sizeof(file));
        }
    }
    if (sendmsg(fd, &message, MSG_NOSIGNAL) != (ssize_t)length && errno != EPIPE)
        abort();
}

static void run_case(const uint8_t *first, size_t first_length, const uint8_t *second,
    size_t second_length, unsigned descriptors, const uint8_t *source)
{
    struct memhub_options options = {.timeout_ms = 5000, .event_limit = 2};
    struct memhub_call calls[CALLS] = {{0}};
    struct results to = {.map = {.fd = -1}};
    struct memhub_handle handle = {.number = 1, .model = MEMHUB_MODEL_LP64};
    struct memhub_event event;
    unsigned succeeded = 0, failed = 0, events = 0;
    memhub *hub = memhub_new();
    uint64_t offset, follow;
    int pair[2], code;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        abort();
    to.bytes[0] = malloc(READ_BYTES);
    to.bytes[1] = malloc(READ_BYTES);
    to.list = malloc(SLOTS * sizeof(*to.list));
    send_bytes(pair[1], first, first_length, 0);
    if (second_length == 0 || first_length < 12 || first_length - 12 < load_number(first))
        shutdown(pair[1], SHUT_WR); /* nothing else would end the wait for WELCOME */
    code = memhub_attach(hub, pair[0], &options);
    if (code == 0) {
        bool early = memhub_room(hub) < CALLS; /* then a start waits for answers */

        if (!early)
            start_all(hub, calls, &handle, &to, source);
        if (second_length > 0)
            send_bytes(pair[1], second, second_length, descriptors);
        shutdown(pair[1], SHUT_WR);
        if (early)
            start_all(hub, calls, &handle, &to, source);
        while (memhub_next_event(hub, &event, MEMHUB_FOREVER)) {
            char text[8];

            events++;
            memhub_json_u64(event.detail, "fence", &offset);
            memhub_json_string(event.detail, "event", text, sizeof(text));
        }
        code = memhub_pump(hub, 0);
        for (size_t i = 0; i < CALLS; i++) {
            if (!calls[i].done)
                abort();
            *(calls[i].error.code == 0 ? &succeeded : &failed) += 1;
        }
        memhub_map_locate(&to.map, 4096, &offset, &follow);
    }
    printf("%d %u %u %u ", code, succeeded, failed, events);
    for (const char *at = memhub_last_error(hub)->reason; *at != '\0'; at++)
        putchar(*at < ' ' || *at > '~' ? '?' : *at);
    putchar('\n');
    memhub_free(hub);
    for (size_t i = 0; i < CALLS; i++)
        memhub_call_clear(&calls[i]);
    memhub_map_clear(&to.map);
    memhub_outcome_clear(&to.outcome);
    free(to.texts[0]);
    free(to.texts[1]);
    free(to.bytes[0]);
    free(to.bytes[1]);
    free(to.list);
    close(pair[1]);
}

/* Both functions on a text without more room than it needs. */
static void run_json(const uint8_t *bytes, size_t length)
{
    char *json = malloc(length + 1), *text = malloc(length + 1);
    uint64_t value = 0;
    bool number, string;

    memcpy(json, bytes, length);
    json[length] = '\0';
    number = memhub_json_u64(json, "a", &value);
    string = memhub_json_string(json, "a", text, length + 1);
    printf("json %d %llu %d ", number, (unsigned long long)value, string);
    for (const char *at = string ? text : ""; *at != '\0'; at++)
        printf("%02x", (unsigned char)*at);
    putchar('\n');
    free(json);
    free(text);
}

int main(void)
{
    uint8_t *source = calloc(1, WRITE_BYTES), head[12];
    int before = dup(0), after;

    close(before);
    while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
        size_t first = load_number(head), second = load_number(head + 4);
        unsigned descriptors = load_number(head + 8);
        uint8_t *bytes = malloc(first + second + 1);

        if (fread(bytes, 1, first + second, stdin) != first + second)
            abort();
        if (descriptors == 1000)
            run_json(bytes, first);
        else
            run_case(bytes, first, bytes + first, second, descriptors, source);
        free(bytes);
    }
    free(source);
    after = dup(0);
    if (after != before) /* a descriptor was left open */
        abort();
    close(after);
    return 0;
}
