/*
 * memhub.c - see memhub.h.
 *
 * From the bottom up: errno numbers, buffers, the codec (one table of layouts), errors, calls,
 * what comes in, what goes out, connecting, and then one pair of functions for each request.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "memhub.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifdef __GNUC__
#define PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF(text, first)
#endif

#define HEADER 12u
#define LAST 1u
#define MAGIC UINT64_C(0x0a0d6275686d656d) /* 6d 65 6d 68 75 62 0d 0a */
#define BODY_LEAST 4096u
#define GREETING_MOST 4096u /* the longest body until WELCOME */
#define FIELDS_MOST 8u
#define BUCKETS 64u
#define PIECE_MOST (1u << 20)    /* of a write that is longer than a frame */
#define RECEIVE_AT_ONCE (1u << 20)
#define OPEN_BUS_BYTES (UINT64_C(1) << 20) /* of 0xff, at the start of the file of MAP_ROM */
#define RECEIVE_ROOM (64u << 10)

enum {
    HELLO = 0x01,
    GOODBYE = 0x02,
    WELCOME = 0x03,
    REFUSED = 0x04,
    ABORT = 0x05,
    EVENT = 0x06,
    OPEN = 0x10,
    CLOSE = 0x11,
    READ = 0x12,
    PREAD = 0x13,
    WRITE = 0x14,
    PWRITE = 0x15,
    SEEK = 0x16,
    IOCTL = 0x18,
    SET = 0x19,
    CANCEL = 0x1f,
    CLAIM = 0x20,
    RELEASE = 0x21,
    RENEW = 0x22,
    WAIT = 0x23,
    BREAK = 0x24,
    SUBSCRIBE = 0x28,
    UNSUBSCRIBE = 0x29,
    REPORT = 0x2a,
    EXPLAIN = 0x2b,
    MAP = 0x2c,
    PING = 0x2d,
    FAULTS = 0x2e,
    SNAPSHOT = 0x30,
    SHOW = 0x31,
    CALL = 0x32,
    FLUSH = 0x2f,
    DATA = 0x40,
    DONE = 0x80,
    OPENED = 0x81,
    IOCTL_DONE = 0x82,
    CLAIMED = 0x83,
    MAPPED = 0x84,
    SET_DONE = 0x85,
    ERROR = 0xff
};

/* ---- Errno numbers ------------------------------------------------------------------------- */

static const struct errno_row {
    int code, host;
    const char *name;
} errno_rows[] = {
    {MEMHUB_EPERM, EPERM, "EPERM"},
    {MEMHUB_ENOENT, ENOENT, "ENOENT"},
    {MEMHUB_EIO, EIO, "EIO"},
    {MEMHUB_ENXIO, ENXIO, "ENXIO"},
    {MEMHUB_EBADF, EBADF, "EBADF"},
    {MEMHUB_EDEADLK, EDEADLK, "EDEADLK"},
    {MEMHUB_ENOMEM, ENOMEM, "ENOMEM"},
    {MEMHUB_EACCES, EACCES, "EACCES"},
    {MEMHUB_EFAULT, EFAULT, "EFAULT"},
    {MEMHUB_EBUSY, EBUSY, "EBUSY"},
    {MEMHUB_EEXIST, EEXIST, "EEXIST"},
    {MEMHUB_ENODEV, ENODEV, "ENODEV"},
    {MEMHUB_ENOTDIR, ENOTDIR, "ENOTDIR"},
    {MEMHUB_EINVAL, EINVAL, "EINVAL"},
    {MEMHUB_ENFILE, ENFILE, "ENFILE"},
    {MEMHUB_EMFILE, EMFILE, "EMFILE"},
    {MEMHUB_ENOTTY, ENOTTY, "ENOTTY"},
    {MEMHUB_ENOSPC, ENOSPC, "ENOSPC"},
    {MEMHUB_EPIPE, EPIPE, "EPIPE"},
    {MEMHUB_EAGAIN, EAGAIN, "EAGAIN"},
    {MEMHUB_ENOTSOCK, ENOTSOCK, "ENOTSOCK"},
    {MEMHUB_EMSGSIZE, EMSGSIZE, "EMSGSIZE"},
    {MEMHUB_EOPNOTSUPP, EOPNOTSUPP, "EOPNOTSUPP"},
    {MEMHUB_EADDRNOTAVAIL, EADDRNOTAVAIL, "EADDRNOTAVAIL"},
    {MEMHUB_ENETUNREACH, ENETUNREACH, "ENETUNREACH"},
    {MEMHUB_ECONNRESET, ECONNRESET, "ECONNRESET"},
    {MEMHUB_ENOBUFS, ENOBUFS, "ENOBUFS"},
    {MEMHUB_EISCONN, EISCONN, "EISCONN"},
    {MEMHUB_ENOTCONN, ENOTCONN, "ENOTCONN"},
    {MEMHUB_ETIMEDOUT, ETIMEDOUT, "ETIMEDOUT"},
    {MEMHUB_ECONNREFUSED, ECONNREFUSED, "ECONNREFUSED"},
    {MEMHUB_ELOOP, ELOOP, "ELOOP"},
    {MEMHUB_ENAMETOOLONG, ENAMETOOLONG, "ENAMETOOLONG"},
    {MEMHUB_EHOSTUNREACH, EHOSTUNREACH, "EHOSTUNREACH"},
    {MEMHUB_ENOSYS, ENOSYS, "ENOSYS"},
    {MEMHUB_ECANCELED, ECANCELED, "ECANCELED"},
    {MEMHUB_EPROTO, EPROTO, "EPROTO"},
};

#define ERRNO_ROWS (sizeof(errno_rows) / sizeof(errno_rows[0]))

const char *memhub_errno_name(int code)
{
    for (size_t i = 0; i < ERRNO_ROWS; i++)
        if (errno_rows[i].code == code)
            return errno_rows[i].name;
    return "";
}

int memhub_host_errno(int code)
{
    if (code == 0)
        return 0;
    for (size_t i = 0; i < ERRNO_ROWS; i++)
        if (errno_rows[i].code == code)
            return errno_rows[i].host;
    return EIO;
}

static int code_of_host(int host)
{
    for (size_t i = 0; i < ERRNO_ROWS; i++)
        if (errno_rows[i].host == host)
            return errno_rows[i].code;
    return MEMHUB_EIO;
}

/* ---- Buffers ------------------------------------------------------------------------------- */

struct buffer {
    uint8_t *data;
    size_t start, end, size; /* what is in it lies from start to end */
};

static size_t buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

static void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof(*buffer));
}

/* Make room for `more` bytes behind the end. */
static bool buffer_reserve(struct buffer *buffer, size_t more)
{
    size_t length = buffer_length(buffer), size = buffer->size;
    uint8_t *data;

    if (buffer->size - buffer->end >= more)
        return true;
    if (buffer->start > 0) {
        memmove(buffer->data, buffer->data + buffer->start, length);
        buffer->start = 0;
        buffer->end = length;
    }
    if (buffer->size - buffer->end >= more)
        return true;
    if (more > SIZE_MAX / 2 - length)
        return false;
    if (size < 4096)
        size = 4096;
    while (size < length + more)
        size *= 2;
    data = realloc(buffer->data, size);
    if (data == NULL)
        return false;
    buffer->data = data;
    buffer->size = size;
    return true;
}

static void buffer_drop(struct buffer *buffer, size_t count)
{
    buffer->start += count;
    if (buffer->start == buffer->end)
        buffer->start = buffer->end = 0;
}

/* ---- The codec ----------------------------------------------------------------------------- */

static uint64_t load(const uint8_t *bytes, size_t width)
{
    uint64_t value = 0;

    while (width-- > 0)
        value = value << 8 | bytes[width];
    return value;
}

static void store(uint8_t *bytes, size_t width, uint64_t value)
{
    for (size_t i = 0; i < width; i++, value >>= 8)
        bytes[i] = (uint8_t)value;
}

/*
 * The fields of each frame: h u16, l u32, q u64, t text or blob, r rest, s a rest whose length is
 * the number before it, o a u32 that may be missing.
 */
static const struct layout {
    uint16_t type;
    const char *kinds;
} layouts[] = {
    {HELLO, "qhhhhltt"},
    {GOODBYE, "lt"},
    {WELCOME, "hhlllllt"},
    {REFUSED, "ltt"},
    {ABORT, "t"},
    {EVENT, "llqqqtr"},
    {OPEN, "hht"},
    {CLOSE, "l"},
    {READ, "lq"},
    {PREAD, "lqq"},
    {WRITE, "lqr"},
    {PWRITE, "lqqr"},
    {SEEK, "llq"},
    {IOCTL, "llqlllsr"},
    {SET, "llqllr"},
    {CANCEL, ""},
    {CLAIM, "lllqq"},
    {RELEASE, "lqqq"},
    {RENEW, "lqqql"},
    {WAIT, "lqql"},
    {BREAK, "lqqqt"},
    {SUBSCRIBE, "lqqto"},
    {UNSUBSCRIBE, "l"},
    {REPORT, "tt"},
    {EXPLAIN, "lq"},
    {MAP, "ll"},
    {PING, "q"},
    {FAULTS, "tt"},
    {SNAPSHOT, "ttr"},
    {SHOW, "ttt"},
    {CALL, "ltr"},
    {FLUSH, "llqq"},
    {DATA, "r"},
    {DONE, "q"},
    {OPENED, "lhhtt"},
    {IOCTL_DONE, "lsr"},
    {CLAIMED, "lqqq"},
    {MAPPED, "lr"},
    {SET_DONE, "qhhhhr"},
    {ERROR, "lqtttr"},
};

/* A field's number, or its bytes. Of a field that may be missing, `length` is 1 if it is there. */
struct field {
    uint64_t number;
    const void *bytes;
    size_t length;
};

#define NUMBER(n) ((struct field){.number = (n)})
#define OPTION(n, there) ((struct field){.number = (n), .length = (there)})
#define BYTES(data, count) ((struct field){.bytes = (data), .length = (count)})
#define TEXT(text) text_field(text)

/* A text without its NUL. NULL is the empty text. */
static struct field text_field(const char *text)
{
    return BYTES(text, text != NULL ? strlen(text) : 0);
}

static const char *kinds_of(uint16_t type)
{
    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
        if (layouts[i].type == type)
            return layouts[i].kinds;
    return NULL;
}

static size_t width_of(char kind)
{
    return kind == 'h' ? 2 : kind == 'l' || kind == 'o' ? 4 : kind == 'q' ? 8 : 0;
}

/* Take a body apart. False if a field goes past its end; bytes behind the last one are ignored. */
static bool decode_body(const char *kinds, const uint8_t *body, size_t length,
    struct field fields[FIELDS_MOST])
{
    size_t at = 0;

    for (size_t i = 0; kinds[i] != '\0'; i++) {
        size_t width = width_of(kinds[i]), left = length - at, count;

        memset(&fields[i], 0, sizeof(fields[i]));
        if (kinds[i] == 'o' && left == 0)
            continue;
        if (width > 0) {
            if (left < width)
                return false;
            fields[i].number = load(body + at, width);
            fields[i].length = kinds[i] == 'o';
            at += width;
            continue;
        }
        count = left;
        if (kinds[i] == 't') {
            if (left < 2)
                return false;
            count = (size_t)load(body + at, 2);
            at += 2;
            left -= 2;
        } else if (kinds[i] == 's')
            count = (size_t)fields[i - 1].number;
        if (count > left)
            return false;
        fields[i].bytes = body + at;
        fields[i].length = count;
        at += count;
    }
    return true;
}

/*
 * Put a frame behind what is in the buffer. EINVAL if a text is too long for its count, EMSGSIZE
 * if the body is longer than `most`, ENOMEM; then nothing is put.
 */
static int encode_frame(struct buffer *out, uint16_t type, uint16_t flags, uint32_t id,
    const struct field *fields, size_t most)
{
    const char *kinds = kinds_of(type);
    size_t length = 0;
    uint8_t *at;

    if (kinds == NULL)
        return MEMHUB_EINVAL;
    for (size_t i = 0; kinds[i] != '\0'; i++) {
        size_t more = width_of(kinds[i]);

        if (kinds[i] == 'o' && fields[i].length == 0)
            more = 0;
        else if (more == 0) {
            if (kinds[i] == 't' && fields[i].length > UINT16_MAX)
                return MEMHUB_EINVAL;
            more = fields[i].length + (kinds[i] == 't' ? 2 : 0);
        }
        if (most < length || more > most - length)
            return MEMHUB_EMSGSIZE;
        length += more;
    }
    if (length > UINT32_MAX)
        return MEMHUB_EMSGSIZE;
    if (!buffer_reserve(out, HEADER + length))
        return MEMHUB_ENOMEM;
    at = out->data + out->end;
    store(at, 4, length);
    store(at + 4, 2, type);
    store(at + 6, 2, flags);
    store(at + 8, 4, id);
    at += HEADER;
    for (size_t i = 0; kinds[i] != '\0'; i++) {
        size_t width = width_of(kinds[i]);

        if (kinds[i] == 'o' && fields[i].length == 0)
            continue;
        if (width > 0) {
            store(at, width, fields[i].number);
            at += width;
            continue;
        }
        if (kinds[i] == 't') {
            store(at, 2, fields[i].length);
            at += 2;
        }
        if (fields[i].length > 0)
            memcpy(at, fields[i].bytes, fields[i].length);
        at += fields[i].length;
    }
    out->end += HEADER + length;
    return 0;
}

/* mem(4)'s structures in the layout of a data model. */
static size_t desc_size(unsigned model)
{
    return model == MEMHUB_MODEL_ILP32 ? 28 : 32;
}

static void store_desc(uint8_t *bytes, unsigned model, const struct mem_range_desc *desc)
{
    memset(bytes, 0, desc_size(model));
    store(bytes, 8, desc->mr_base);
    store(bytes + 8, 8, desc->mr_len);
    store(bytes + 16, 4, (uint32_t)desc->mr_flags);
    memcpy(bytes + 20, desc->mr_owner, sizeof(desc->mr_owner));
}

/* A u32 as the int that mem(4) keeps it in. */
static int load_int(const uint8_t *bytes)
{
    uint32_t value = (uint32_t)load(bytes, 4);
    int result;

    memcpy(&result, &value, sizeof(result));
    return result;
}

static void load_desc(const uint8_t *bytes, struct mem_range_desc *desc)
{
    desc->mr_base = load(bytes, 8);
    desc->mr_len = load(bytes + 8, 8);
    desc->mr_flags = load_int(bytes + 16);
    memcpy(desc->mr_owner, bytes + 20, sizeof(desc->mr_owner));
}

/* ---- The connection ------------------------------------------------------------------------ */

struct memhub_calls {
    struct memhub_call *head, *tail;
};

struct kept_event {
    struct kept_event *next;
    struct memhub_event event;
    char texts[];
};

struct subscription {
    struct subscription *next;
    uint32_t number;
    uint64_t missed; /* events that were dropped here and not reported yet */
};

enum state { CLOSED, GREETING, RUNNING, LEAVING };

struct memhub {
    int fd;
    enum state state;
    bool send_failed;
    uint32_t asked; /* features */
    uint16_t model; /* asked for, too */
    struct memhub_welcome welcome;
    struct buffer in, out;
    size_t memory_limit, event_limit;
    uint32_t timeout_ms;
    int64_t progress; /* when a byte last came or went, in ms */

    struct memhub_calls flying[BUCKETS], done;
    uint32_t in_flight, last_id;
    struct memhub_call *streams, **streams_end; /* writes with bytes that are not in `out` */

    int *fds; /* that came for MAPPED frames which have not; -1 is one that was lost */
    size_t fd_count, fd_size, maps_in_flight;

    struct kept_event *events, **events_end, *given;
    size_t event_count;
    struct subscription *subscriptions;

    char *ending;
    struct memhub_error last, why;
    char *last_text, why_text[512];
};

static int64_t now_ms(void)
{
    struct timespec now = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t deadline_of(uint32_t timeout_ms)
{
    return timeout_ms == MEMHUB_FOREVER ? INT64_MAX : now_ms() + timeout_ms;
}

/* The time until a deadline, for memhub_pump(). */
static uint32_t left_until(int64_t deadline)
{
    int64_t left;

    if (deadline == INT64_MAX)
        return MEMHUB_FOREVER;
    left = deadline - now_ms();
    return left <= 0 ? 0 : left >= INT_MAX ? INT_MAX : (uint32_t)left;
}

static void empty_error(struct memhub_error *error)
{
    *error = (struct memhub_error){.name = "", .kind = "", .reason = "", .obstacles = ""};
}

/* An error that this side found; its reason has to stay where it is. */
static void local_error(struct memhub_error *error, int code, bool again, const char *reason)
{
    empty_error(error);
    error->code = code;
    error->local = true;
    error->again = again;
    error->name = memhub_errno_name(code);
    error->reason = reason;
}

/* Set the connection's error. `reason` may be the one that is replaced. */
static int set_last(memhub *hub, int code, bool again, const char *reason)
{
    size_t length = strlen(reason);
    char *text = malloc(length + 1);

    if (text != NULL)
        memcpy(text, reason, length + 1);
    free(hub->last_text);
    hub->last_text = text;
    local_error(&hub->last, code, again, text != NULL ? text : "no memory for the reason");
    return code;
}

static void calls_append(struct memhub_calls *list, struct memhub_call *call)
{
    call->list = list;
    call->next = NULL;
    call->previous = list->tail;
    *(list->tail != NULL ? &list->tail->next : &list->head) = call;
    list->tail = call;
}

static void calls_remove(struct memhub_call *call)
{
    struct memhub_calls *list = call->list;

    *(call->previous != NULL ? &call->previous->next : &list->head) = call->next;
    *(call->next != NULL ? &call->next->previous : &list->tail) = call->previous;
    call->list = NULL;
    call->next = call->previous = NULL;
}

static struct memhub_call *call_of_id(memhub *hub, uint32_t id)
{
    struct memhub_call *call = hub->flying[id % BUCKETS].head;

    while (call != NULL && call->id != id)
        call = call->next;
    return call;
}

static void stream_append(memhub *hub, struct memhub_call *call)
{
    call->next_stream = NULL;
    *hub->streams_end = call;
    hub->streams_end = &call->next_stream;
}

static void stream_remove(memhub *hub, struct memhub_call *call)
{
    struct memhub_call **at = &hub->streams;

    while (*at != NULL && *at != call)
        at = &(*at)->next_stream;
    if (*at == NULL)
        return;
    *at = call->next_stream;
    if (*at == NULL)
        hub->streams_end = at;
}

/* Move a call from those in flight to those that are done. */
static void call_done(memhub *hub, struct memhub_call *call)
{
    calls_remove(call);
    hub->in_flight--;
    if (call->type == MAP)
        hub->maps_in_flight--;
    call->done = true;
    calls_append(&hub->done, call);
}

/* Give a call an error of this side. Its reason is copied. */
static void call_failed(struct memhub_call *call, int code, bool again, const char *reason)
{
    size_t length = strlen(reason);

    free(call->text);
    call->text = malloc(length + 1);
    if (call->text != NULL)
        memcpy(call->text, reason, length + 1);
    local_error(&call->error, code, again,
        call->text != NULL ? call->text : "no memory for the reason");
    call->error.moved = call->moved;
    call->value = call->moved;
}

static void drop_fds(memhub *hub)
{
    for (size_t i = 0; i < hub->fd_count; i++)
        if (hub->fds[i] >= 0)
            close(hub->fds[i]);
    hub->fd_count = 0;
}

/* Close the connection; every call in flight is done, with this error. */
static void disconnect(memhub *hub, int code, bool again, const char *reason)
{
    if (reason != hub->why_text)
        snprintf(hub->why_text, sizeof(hub->why_text), "%s", reason);
    local_error(&hub->why, code, again, hub->why_text);
    if (hub->fd >= 0)
        close(hub->fd);
    hub->fd = -1;
    hub->state = CLOSED;
    buffer_free(&hub->in);
    buffer_free(&hub->out);
    hub->streams = NULL;
    hub->streams_end = &hub->streams;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct memhub_call *call;

        while ((call = hub->flying[i].head) != NULL) {
            call_failed(call, code, again, hub->why_text);
            call_done(hub, call);
        }
    }
    drop_fds(hub);
    while (hub->subscriptions != NULL) {
        struct subscription *next = hub->subscriptions->next;

        free(hub->subscriptions);
        hub->subscriptions = next;
    }
}

/* Send what is possible of `out` without waiting. False if the peer takes nothing any more. */
static bool send_out(memhub *hub)
{
    while (buffer_length(&hub->out) > 0) {
        ssize_t sent = send(
            hub->fd, hub->out.data + hub->out.start, buffer_length(&hub->out), MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        buffer_drop(&hub->out, (size_t)sent);
        hub->progress = now_ms();
    }
    return true;
}

/* The service broke the rule that `word` stands for: tell it, and end the connection. */
PRINTF(3, 4)
static void breach(memhub *hub, const char *word, const char *format, ...)
{
    int length = snprintf(hub->why_text, sizeof(hub->why_text), "%s: ", word);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(hub->why_text + length, sizeof(hub->why_text) - (size_t)length, format, arguments);
    va_end(arguments);
    if (!hub->send_failed) {
        struct field fields[] = {TEXT(hub->why_text)};

        if (encode_frame(&hub->out, ABORT, 0, 0, fields, GREETING_MOST) == 0)
            send_out(hub);
    }
    disconnect(hub, MEMHUB_EPROTO, false, hub->why_text);
}

/* ---- What comes in ------------------------------------------------------------------------- */

/* Copy bytes to a text of a fixed size, cut to fit. */
static void copy_text(char *text, size_t size, const struct field *field)
{
    size_t length = field->length < size - 1 ? field->length : size - 1;

    if (length < field->length) /* not in the middle of a character */
        while (length > 0 && (((const uint8_t *)field->bytes)[length] & 0xc0) == 0x80)
            length--;
    if (length > 0)
        memcpy(text, field->bytes, length);
    text[length] = '\0';
}

/* Copy bytes and a NUL to `*at`, and move it behind them. */
static const char *put_text(char **at, const struct field *field)
{
    char *text = *at;

    if (field->length > 0)
        memcpy(text, field->bytes, field->length);
    text[field->length] = '\0';
    *at = text + field->length + 1;
    return text;
}

/* Allocate `count` rows, and at least one byte. NULL if there is no memory. */
static void *rows(size_t count, size_t size)
{
    return calloc(count > 0 ? count : 1, size);
}

/* How a handler of an answer ends. */
enum verdict { FINISHED, MORE, MALFORMED, BAD_STREAM, NO_MEMORY };

static enum verdict take_error(struct memhub_call *call, const struct field *fields)
{
    struct memhub_error *error = &call->error;
    bool reads = call->expects == DATA;
    char *text, *at;

    if (fields[0].number == 0 || fields[0].number > INT_MAX)
        return MALFORMED;
    if (call->source != NULL && fields[1].number > call->count)
        return MALFORMED;
    at = text = malloc(
        fields[2].length + fields[3].length + fields[4].length + fields[5].length + 4);
    if (text == NULL)
        return NO_MEMORY;
    free(call->text);
    call->text = text;
    empty_error(error);
    error->code = (int)fields[0].number;
    error->moved = reads ? call->moved : call->source != NULL ? fields[1].number : 0;
    error->name = put_text(&at, &fields[2]);
    error->kind = put_text(&at, &fields[3]);
    error->reason = put_text(&at, &fields[4]);
    error->obstacles = put_text(&at, &fields[5]);
    call->value = error->moved;
    return FINISHED;
}

/* A piece of a read goes to the caller's buffer; one of a report behind those before it. */
static enum verdict take_data(
    memhub *hub, struct memhub_call *call, const struct field *data, bool last)
{
    bool report = call->result_length != NULL;

    if (data->length == 0 && !last)
        return BAD_STREAM;
    if (report) {
        size_t needed = call->text_length + data->length + 1;

        if (data->length >= hub->memory_limit || needed > hub->memory_limit)
            return NO_MEMORY;
        if (needed > call->text_size) {
            size_t size = needed > SIZE_MAX / 2 ? needed : needed * 2;
            char *text = realloc(call->text, size);

            if (text == NULL)
                return NO_MEMORY;
            call->text = text;
            call->text_size = size;
        }
        if (data->length > 0)
            memcpy(call->text + call->text_length, data->bytes, data->length);
        call->text_length += data->length;
        call->text[call->text_length] = '\0';
    } else {
        if (data->length > call->count - call->moved)
            return BAD_STREAM;
        if (data->length > 0)
            memcpy((uint8_t *)call->result + call->moved, data->bytes, data->length);
        call->moved += data->length;
    }
    if (!last)
        return MORE;
    if (report) {
        *(char **)call->result = call->text;
        *call->result_length = call->text_length;
        call->text = NULL;
    }
    call->value = call->moved;
    return FINISHED;
}

static enum verdict take_done(memhub *hub, struct memhub_call *call, uint64_t value)
{
    if (call->source != NULL && value > call->count)
        return MALFORMED;
    if (call->type == PING && value != call->count)
        return MALFORMED;
    if (call->type == SUBSCRIBE) {
        struct subscription *entry;

        if (value > UINT32_MAX)
            return MALFORMED;
        for (entry = hub->subscriptions; entry != NULL; entry = entry->next)
            if (entry->number == value)
                return MALFORMED;
        entry = calloc(1, sizeof(*entry));
        if (entry == NULL)
            return NO_MEMORY;
        entry->number = (uint32_t)value;
        entry->next = hub->subscriptions;
        hub->subscriptions = entry;
    }
    if (call->type == UNSUBSCRIBE)
        for (struct subscription **at = &hub->subscriptions; *at != NULL; at = &(*at)->next)
            if ((*at)->number == call->count) {
                struct subscription *entry = *at;

                *at = entry->next;
                free(entry);
                break;
            }
    call->value = value;
    return FINISHED;
}

static enum verdict take_opened(struct memhub_call *call, const struct field *fields)
{
    struct memhub_handle *handle = call->result;

    if (fields[1].number != MEMHUB_MODEL_LP64 && fields[1].number != MEMHUB_MODEL_ILP32)
        return MALFORMED;
    handle->number = (uint32_t)fields[0].number;
    handle->model = (uint16_t)fields[1].number;
    copy_text(handle->arch, sizeof(handle->arch), &fields[3]);
    copy_text(handle->machine, sizeof(handle->machine), &fields[4]);
    return FINISHED;
}

/*
 * Of MEMRANGE_GET, the descriptors must fit what the caller has, and their number must be the one
 * that the answer states: the caller will rely on it.
 */
static enum verdict take_ioctl(struct memhub_call *call, const struct field *fields)
{
    struct mem_range_op *op = call->result;
    const uint8_t *answer = fields[1].bytes, *desc = fields[2].bytes;
    size_t pointer = call->model == MEMHUB_MODEL_ILP32 ? 4 : 8;
    size_t size = desc_size(call->model), count = fields[2].length / size;
    int stated;

    if (op == NULL) /* MEMRANGE_SET, or a command that is not mem(4)'s */
        return FINISHED;
    if (fields[1].length != pointer + 8 || fields[2].length % size != 0)
        return MALFORMED;
    stated = load_int(answer + pointer);
    if (fields[2].length > call->count || stated < 0)
        return MALFORMED;
    if (call->count > 0 && (size_t)stated != count)
        return MALFORMED;
    for (size_t i = 0; i < count; i++)
        load_desc(desc + i * size, &op->mo_desc[i]);
    op->mo_arg[0] = stated;
    return FINISHED;
}

static enum verdict take_claimed(struct memhub_call *call, const struct field *fields)
{
    struct memhub_claim *claim = call->result;

    claim->lease_ms = (uint32_t)fields[0].number;
    claim->fence = fields[1].number;
    claim->base = fields[2].number;
    claim->length = fields[3].number;
    return FINISHED;
}

static enum verdict take_set(struct memhub_call *call, const struct field *fields)
{
    struct memhub_outcome scrap, *outcome = call->result != NULL ? call->result : &scrap;
    size_t slots = (size_t)fields[1].number, claimed = (size_t)fields[2].number;
    size_t released = (size_t)fields[3].number, msrs = (size_t)fields[4].number;
    const uint8_t *at = fields[5].bytes;

    memset(outcome, 0, sizeof(*outcome));
    outcome->fence = fields[0].number;
    if (slots == 0xffff)
        return FINISHED;
    if (slots * 68 + claimed * 4 + released * 4 + msrs * 20 > fields[5].length)
        return MALFORMED;
    if (call->result == NULL)
        return FINISHED;
    outcome->slots = rows(slots, sizeof(*outcome->slots));
    outcome->claimed = rows(claimed, sizeof(*outcome->claimed));
    outcome->released = rows(released, sizeof(*outcome->released));
    outcome->msrs = rows(msrs, sizeof(*outcome->msrs));
    if (!outcome->slots || !outcome->claimed || !outcome->released || !outcome->msrs) {
        memhub_outcome_clear(outcome);
        return NO_MEMORY;
    }
    for (size_t i = 0; i < slots; i++, at += 68) {
        outcome->slots[i].slot = (uint32_t)load(at, 4);
        load_desc(at + 4, &outcome->slots[i].before);
        load_desc(at + 36, &outcome->slots[i].after);
    }
    for (size_t i = 0; i < claimed; i++, at += 4)
        outcome->claimed[i] = (uint32_t)load(at, 4);
    for (size_t i = 0; i < released; i++, at += 4)
        outcome->released[i] = (uint32_t)load(at, 4);
    for (size_t i = 0; i < msrs; i++, at += 20) {
        outcome->msrs[i].number = (uint32_t)load(at, 4);
        outcome->msrs[i].before = load(at + 4, 8);
        outcome->msrs[i].after = load(at + 12, 8);
    }
    outcome->slot_count = slots;
    outcome->claimed_count = claimed;
    outcome->released_count = released;
    outcome->msr_count = msrs;
    outcome->complete = true;
    return FINISHED;
}

/* Whether a row of a table can be relied on, given the size of the file. */
static bool piece_fits(const struct memhub_piece *piece, uint64_t file_size)
{
    if (piece->length == 0 || piece->length - 1 > UINT64_MAX - piece->base)
        return false;
    if (piece->kind > MEMHUB_PIECE_NVS) /* open bus is mapped again and again; a device is not */
        return true;
    return piece->offset <= file_size && piece->length <= file_size - piece->offset;
}

static enum verdict take_mapped(memhub *hub, struct memhub_call *call, const struct field *fields)
{
    struct memhub_map *map = call->result;
    const uint8_t *table = fields[1].bytes;
    size_t count = fields[1].length / 32;
    struct stat status;
    int fd;

    if (fields[1].length % 32 != 0 || hub->fd_count == 0)
        return MALFORMED;
    fd = hub->fds[0];
    memmove(hub->fds, hub->fds + 1, --hub->fd_count * sizeof(*hub->fds));
    if (fd < 0) {
        call_failed(call, MEMHUB_EMFILE, false, "the descriptor was lost: too many files are open");
        return FINISHED;
    }
    map->pieces = rows(count, sizeof(*map->pieces));
    if (map->pieces == NULL) {
        close(fd);
        return NO_MEMORY;
    }
    map->fd = fd;
    map->count = count;
    map->rights = (uint32_t)fields[0].number;
    for (size_t i = 0; i < count; i++, table += 32) {
        struct memhub_piece *piece = &map->pieces[i];

        piece->base = load(table, 8);
        piece->length = load(table + 8, 8);
        piece->offset = load(table + 16, 8);
        piece->kind = (uint32_t)load(table + 24, 4);
        if (fstat(fd, &status) != 0 || !piece_fits(piece, (uint64_t)status.st_size)) {
            memhub_map_clear(map);
            return MALFORMED;
        }
    }
    return FINISHED;
}

/* Behind the last byte of a write that is answered early, its stream must end. */
static int end_stream(memhub *hub, struct memhub_call *call)
{
    struct field nothing[] = {BYTES(NULL, 0)};

    if (call->source_left == 0)
        return 0;
    stream_remove(hub, call);
    call->source_left = 0;
    return encode_frame(&hub->out, DATA, LAST, call->id, nothing, GREETING_MOST);
}

static void take_answer(memhub *hub, uint16_t type, uint16_t flags, uint32_t id,
    const struct field *fields)
{
    struct memhub_call *call = call_of_id(hub, id);
    enum verdict verdict;

    if (call == NULL) {
        breach(hub, "bad-request-id", "answer 0x%x to %lu, which is not in flight",
            (unsigned)type, (unsigned long)id);
        return;
    }
    if (type == ERROR)
        verdict = take_error(call, fields);
    else if (type != call->expects) {
        breach(hub, "malformed", "answer 0x%x to request 0x%x", (unsigned)type,
            (unsigned)call->type);
        return;
    } else if (type == DATA)
        verdict = take_data(hub, call, &fields[0], (flags & LAST) != 0);
    else if (type == DONE)
        verdict = take_done(hub, call, fields[0].number);
    else if (type == OPENED)
        verdict = take_opened(call, fields);
    else if (type == IOCTL_DONE)
        verdict = take_ioctl(call, fields);
    else if (type == CLAIMED)
        verdict = take_claimed(call, fields);
    else if (type == SET_DONE)
        verdict = take_set(call, fields);
    else
        verdict = take_mapped(hub, call, fields);

    if (verdict == FINISHED && end_stream(hub, call) != 0)
        verdict = NO_MEMORY;
    if (verdict == FINISHED)
        call_done(hub, call);
    else if (verdict == MALFORMED)
        breach(hub, "malformed", "fields of answer 0x%x to request 0x%x", (unsigned)type,
            (unsigned)call->type);
    else if (verdict == BAD_STREAM)
        breach(hub, "bad-stream", "%lu bytes of data for request 0x%x",
            (unsigned long)fields[0].length, (unsigned)call->type);
    else if (verdict == NO_MEMORY)
        disconnect(hub, MEMHUB_ENOMEM, false, "no memory for an answer");
}

/* Keep an event until it is taken; the oldest makes room. */
static void take_event(memhub *hub, const struct field *fields)
{
    struct subscription *entry = hub->subscriptions;
    struct kept_event *kept;
    char *at;

    while (entry != NULL && entry->number != fields[0].number)
        entry = entry->next;
    if (entry == NULL) {
        breach(hub, "malformed", "event of subscription %lu, which does not exist",
            (unsigned long)fields[0].number);
        return;
    }
    kept = malloc(sizeof(*kept) + fields[5].length + fields[6].length + 2);
    if (kept == NULL) {
        disconnect(hub, MEMHUB_ENOMEM, false, "no memory for an event");
        return;
    }
    at = kept->texts;
    kept->next = NULL;
    kept->event = (struct memhub_event){
        .subscription = (uint32_t)fields[0].number,
        .missed = fields[1].number,
        .sequence = fields[2].number,
        .base = fields[3].number,
        .length = fields[4].number,
        .event = put_text(&at, &fields[5]),
        .detail = put_text(&at, &fields[6]),
    };
    *hub->events_end = kept;
    hub->events_end = &kept->next;
    if (++hub->event_count > hub->event_limit) {
        struct kept_event *oldest = hub->events;

        for (entry = hub->subscriptions; entry != NULL; entry = entry->next)
            if (entry->number == oldest->event.subscription)
                entry->missed += 1 + oldest->event.missed;
        hub->events = oldest->next;
        if (hub->events == NULL)
            hub->events_end = &hub->events;
        hub->event_count--;
        free(oldest);
    }
}

static void take_welcome(memhub *hub, const struct field *fields)
{
    struct memhub_welcome *welcome = &hub->welcome;

    welcome->version = (uint16_t)fields[0].number;
    welcome->model = (uint16_t)fields[1].number;
    welcome->features = (uint32_t)fields[2].number & hub->asked;
    welcome->max_body = (uint32_t)fields[3].number;
    welcome->max_in_flight = (uint32_t)fields[4].number;
    welcome->max_handles = (uint32_t)fields[5].number;
    welcome->idle_ms = (uint32_t)fields[6].number;
    copy_text(welcome->server, sizeof(welcome->server), &fields[7]);
    if (welcome->version != 1 || welcome->model != hub->model)
        breach(hub, "malformed", "version %u and data model %u, which were not asked for",
            welcome->version, welcome->model);
    else if (welcome->max_in_flight == 0 || welcome->max_body < BODY_LEAST)
        breach(hub, "malformed", "max_in_flight %lu, max_body %lu",
            (unsigned long)welcome->max_in_flight, (unsigned long)welcome->max_body);
    else
        hub->state = RUNNING;
}

/* Frames that concern the connection. */
static void take_control(memhub *hub, uint16_t type, const struct field *fields)
{
    char text[512];
    int length;

    if (type == ABORT) {
        length = snprintf(text, sizeof(text), "the service ended the connection: ");
        copy_text(text + length, sizeof(text) - (size_t)length, &fields[0]);
        disconnect(hub, MEMHUB_EPROTO, false, text);
    } else if (type == REFUSED && hub->state == GREETING) {
        int code = fields[0].number == 0 || fields[0].number > INT_MAX ? MEMHUB_EACCES
                                                                       : (int)fields[0].number;

        copy_text(text, sizeof(text), &fields[2]);
        disconnect(hub, code, code == MEMHUB_EAGAIN, text);
        hub->why.local = false;
    } else if (type == GOODBYE && hub->state == GREETING) {
        copy_text(text, sizeof(text), &fields[1]);
        disconnect(hub, MEMHUB_ECANCELED, true, text);
    } else if (type == WELCOME && hub->state == GREETING)
        take_welcome(hub, fields);
    else if (type == GOODBYE) {
        char *at = malloc(fields[1].length + 1);

        if (at == NULL)
            disconnect(hub, MEMHUB_ENOMEM, false, "no memory for a reason");
        else {
            free(hub->ending);
            hub->ending = at;
            put_text(&at, &fields[1]);
        }
    } else if (type == EVENT && hub->state != GREETING)
        take_event(hub, fields);
    else
        breach(hub, "out-of-order", "frame 0x%x from the service", (unsigned)type);
}

static void take_frame(memhub *hub, const uint8_t *header, size_t length)
{
    uint16_t type = (uint16_t)load(header + 4, 2), flags = (uint16_t)load(header + 6, 2);
    uint32_t id = (uint32_t)load(header + 8, 4);
    struct field fields[FIELDS_MOST];
    const char *kinds = kinds_of(type);
    bool answer = type >= DATA;

    if (kinds == NULL || type == HELLO || (!answer && type >= OPEN))
        breach(hub, "unknown-frame", "type 0x%x from the service", (unsigned)type);
    else if ((flags & ~LAST) != 0 || (flags != 0 && type != DATA))
        breach(hub, "malformed", "flags 0x%x of a frame of type 0x%x", (unsigned)flags,
            (unsigned)type);
    else if (!answer && id != 0)
        breach(hub, "bad-request-id", "%lu in a frame of type 0x%x", (unsigned long)id,
            (unsigned)type);
    else if (!decode_body(kinds, header + HEADER, length, fields))
        breach(hub, "malformed", "body of %lu bytes in a frame of type 0x%x",
            (unsigned long)length, (unsigned)type);
    else if (answer && hub->state == GREETING)
        breach(hub, "out-of-order", "answer 0x%x before WELCOME", (unsigned)type);
    else if (answer)
        take_answer(hub, type, flags, id, fields);
    else
        take_control(hub, type, fields);
}

/* The longest body that is accepted now. */
static size_t body_limit(const memhub *hub)
{
    size_t most = hub->state == GREETING ? GREETING_MOST : hub->welcome.max_body;

    return most < hub->memory_limit ? most : hub->memory_limit;
}

/* Take every whole frame out of `in`, and make room for the rest of the next. */
static void take_frames(memhub *hub)
{
    while (hub->fd >= 0 && buffer_length(&hub->in) >= HEADER) {
        const uint8_t *header = hub->in.data + hub->in.start;
        size_t length = (size_t)load(header, 4);

        if (length > body_limit(hub)) {
            breach(hub, "too-long", "body of %lu bytes; %lu is the limit", (unsigned long)length,
                (unsigned long)body_limit(hub));
            return;
        }
        if (buffer_length(&hub->in) < HEADER + length)
            return;
        take_frame(hub, header, length);
        if (hub->fd >= 0)
            buffer_drop(&hub->in, HEADER + length);
    }
}

/* Keep a descriptor for the MAPPED frame that it belongs to; -1 is one that was lost. */
static void keep_fd(memhub *hub, int fd)
{
    if (hub->fd_count >= hub->maps_in_flight) { /* nobody asked for it */
        if (fd >= 0)
            close(fd);
        return;
    }
    if (hub->fd_count == hub->fd_size) {
        size_t size = hub->fd_size * 2 + 8;
        int *fds = realloc(hub->fds, size * sizeof(*fds));

        if (fds == NULL) {
            if (fd >= 0)
                close(fd);
            disconnect(hub, MEMHUB_ENOMEM, false, "no memory for a descriptor");
            return;
        }
        hub->fds = fds;
        hub->fd_size = size;
    }
#ifndef MSG_CMSG_CLOEXEC
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
    hub->fds[hub->fd_count++] = fd;
}

static void keep_fds(memhub *hub, struct msghdr *message)
{
    bool any = false;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        size_t count;

        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(part) + i * sizeof(fd), sizeof(fd));
            if (hub->fd >= 0) {
                keep_fd(hub, fd);
                any = true;
            } else
                close(fd);
        }
    }
    if ((message->msg_flags & MSG_CTRUNC) != 0 && !any && hub->fd >= 0)
        keep_fd(hub, -1);
}

/* Read once. False if nothing more is there now, or the connection has ended. */
static bool receive_once(memhub *hub)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct iovec room;
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1};
    ssize_t got;
    int flags = 0;

#ifdef MSG_CMSG_CLOEXEC
    flags = MSG_CMSG_CLOEXEC;
#endif
    if (!buffer_reserve(&hub->in, RECEIVE_ROOM)) {
        disconnect(hub, MEMHUB_ENOMEM, false, "no memory for a frame");
        return false;
    }
    room.iov_base = hub->in.data + hub->in.end;
    room.iov_len = hub->in.size - hub->in.end;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof(control.bytes);
    do
        got = recvmsg(hub->fd, &message, flags);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        hub->progress = now_ms();
        hub->in.end += (size_t)got;
        keep_fds(hub, &message);
        if (hub->fd >= 0)
            take_frames(hub);
        return hub->fd >= 0 && (size_t)got == room.iov_len;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        if (hub->send_failed)
            disconnect(hub, MEMHUB_EPIPE, true, "the service reads nothing any more");
        return false;
    }
    if (hub->state == GREETING)
        disconnect(hub, MEMHUB_ECONNRESET, true, "the service closed before it answered HELLO");
    else if (hub->ending != NULL) {
        char text[512];

        snprintf(text, sizeof(text), "the service ended: %s", hub->ending);
        disconnect(hub, MEMHUB_ECONNRESET, true, text);
    } else
        disconnect(hub, got < 0 ? code_of_host(errno) : MEMHUB_ECONNRESET, true,
            got < 0 ? strerror(errno) : "the service closed the connection");
    return false;
}

/* ---- What goes out ------------------------------------------------------------------------- */

/* Send what is possible without waiting, and take more of the writes' bytes as there is room. */
static void send_some(memhub *hub)
{
    while (!hub->send_failed) {
        struct memhub_call *call = hub->streams;

        if (buffer_length(&hub->out) == 0 && call != NULL) {
            size_t most = hub->welcome.max_body < PIECE_MOST ? hub->welcome.max_body : PIECE_MOST;
            size_t count = call->source_left < most ? call->source_left : most;
            struct field piece[] = {BYTES(call->source, count)};

            if (encode_frame(&hub->out, DATA, count == call->source_left ? LAST : 0, call->id,
                    piece, most) != 0) {
                disconnect(hub, MEMHUB_ENOMEM, false, "no memory for a frame");
                return;
            }
            call->source += count;
            call->source_left -= count;
            if (call->source_left == 0)
                stream_remove(hub, call);
        }
        if (buffer_length(&hub->out) == 0)
            return;
        if (!send_out(hub)) {
            /* What the service said before it closed may still be read. */
            hub->send_failed = true;
            hub->out.start = hub->out.end = 0;
        }
        if (buffer_length(&hub->out) > 0)
            return;
    }
}

bool memhub_wants_to_send(const memhub *hub)
{
    return hub->fd >= 0 && !hub->send_failed &&
        (buffer_length(&hub->out) > 0 || hub->streams != NULL);
}

int memhub_fd(const memhub *hub)
{
    return hub->fd;
}

/* Why there is no connection. */
static int set_why(memhub *hub)
{
    set_last(hub, hub->why.code, hub->why.again, hub->why.reason);
    hub->last.local = hub->why.local;
    return hub->why.code;
}

int memhub_pump(memhub *hub, uint32_t timeout_ms)
{
    struct pollfd wait;
    size_t before;

    if (hub->fd < 0)
        return set_why(hub);
    send_some(hub);
    if (hub->fd < 0)
        return set_why(hub);
    wait.fd = hub->fd;
    wait.events = (short)(POLLIN | (memhub_wants_to_send(hub) ? POLLOUT : 0));
    wait.revents = 0;
    if (hub->send_failed)
        timeout_ms = 0;
    if (poll(&wait, 1, timeout_ms > INT_MAX ? -1 : (int)timeout_ms) < 0)
        return errno == EINTR ? 0 : set_last(hub, code_of_host(errno), false, strerror(errno));
    if ((wait.revents & POLLOUT) != 0)
        send_some(hub);
    if (hub->fd >= 0 && ((wait.revents & ~POLLOUT) != 0 || hub->send_failed)) {
        before = 0;
        while (receive_once(hub) && before < RECEIVE_AT_ONCE)
            before += RECEIVE_ROOM;
    }
    if (hub->fd >= 0)
        send_some(hub);
    return hub->fd >= 0 ? 0 : set_why(hub);
}

/* ---- Calls --------------------------------------------------------------------------------- */

void memhub_call_clear(struct memhub_call *call)
{
    if (call->list != NULL && !call->done)
        return;
    if (call->list != NULL)
        calls_remove(call);
    free(call->text);
    call->text = NULL;
    call->text_length = call->text_size = 0;
    empty_error(&call->error);
}

bool memhub_wait(memhub *hub, struct memhub_call *call, uint32_t timeout_ms)
{
    int64_t deadline = deadline_of(timeout_ms);

    while (!call->done) {
        uint32_t left = left_until(deadline);

        if (call->list == NULL)
            return false;
        memhub_pump(hub, left);
        if (left == 0)
            break;
    }
    if (call->done && call->list != NULL)
        calls_remove(call);
    return call->done;
}

struct memhub_call *memhub_reap(memhub *hub, uint32_t timeout_ms)
{
    int64_t deadline = deadline_of(timeout_ms);
    struct memhub_call *call;

    while (hub->done.head == NULL && hub->in_flight > 0) {
        uint32_t left = left_until(deadline);

        memhub_pump(hub, left);
        if (left == 0)
            break;
    }
    call = hub->done.head;
    if (call != NULL)
        calls_remove(call);
    return call;
}

int memhub_cancel(memhub *hub, struct memhub_call *call)
{
    int code;

    if (call->done || call->list == NULL)
        return 0;
    code = encode_frame(&hub->out, CANCEL, 0, call->id, NULL, GREETING_MOST);
    return code == 0 ? 0 : set_last(hub, code, false, "no memory for a frame");
}

uint32_t memhub_in_flight(const memhub *hub)
{
    return hub->in_flight;
}

uint32_t memhub_room(const memhub *hub)
{
    if (hub->state != RUNNING || hub->in_flight >= hub->welcome.max_in_flight)
        return 0;
    return hub->welcome.max_in_flight - hub->in_flight;
}

static int start_failed(struct memhub_call *call, int code, bool again, const char *reason)
{
    call_failed(call, code, again, reason);
    call->done = true;
    return code;
}

/* Make a call ready to be sent: the connection has to be there, and room for one more. */
static int prepare(memhub *hub, struct memhub_call *call, uint16_t type, uint16_t expects)
{
    if (call->list != NULL && !call->done)
        return MEMHUB_EBUSY;
    memhub_call_clear(call);
    call->done = false;
    call->value = call->count = call->moved = 0;
    call->type = type;
    call->expects = expects;
    call->model = 0;
    call->source = NULL;
    call->source_left = 0;
    call->result = NULL;
    call->result_length = NULL;
    hub->progress = now_ms();
    while (hub->state == RUNNING && hub->ending == NULL && memhub_room(hub) == 0) {
        int64_t deadline = hub->timeout_ms == MEMHUB_FOREVER ? INT64_MAX
                                                             : hub->progress + hub->timeout_ms;

        if (left_until(deadline) == 0)
            return start_failed(call, MEMHUB_EAGAIN, true,
                "as many requests are in flight as the service allows");
        memhub_pump(hub, left_until(deadline));
    }
    if (hub->fd < 0)
        return start_failed(call, hub->why.code, hub->why.again, hub->why.reason);
    if (hub->state == LEAVING)
        return start_failed(call, MEMHUB_ENOTCONN, true, "GOODBYE was sent");
    if (hub->ending != NULL)
        return start_failed(call, MEMHUB_ECANCELED, true, hub->ending);
    return 0;
}

/* Send the request of a call that is ready. */
static int dispatch(memhub *hub, struct memhub_call *call, const struct field *fields)
{
    uint32_t id = hub->last_id;
    int code;

    do
        id = id == UINT32_MAX ? 1 : id + 1;
    while (call_of_id(hub, id) != NULL);
    code = encode_frame(&hub->out, call->type, 0, id, fields, hub->welcome.max_body);
    if (code != 0)
        return start_failed(call, code, false,
            code == MEMHUB_EINVAL       ? "a text is longer than 65535 bytes"
                : code == MEMHUB_ENOMEM ? "no memory for a frame"
                                        : "the request is longer than a frame may be");
    hub->last_id = call->id = id;
    calls_append(&hub->flying[id % BUCKETS], call);
    hub->in_flight++;
    if (call->type == MAP)
        hub->maps_in_flight++;
    if (call->source_left > 0)
        stream_append(hub, call);
    return 0;
}

/*
 * Wait for a call that a blocking function started, and make its error the connection's. A
 * service that is silent for longer than `timeout_ms` and `wait_ms` is given up.
 */
static int finish(memhub *hub, struct memhub_call *call, uint32_t wait_ms)
{
    bool forever = wait_ms == MEMHUB_FOREVER || hub->timeout_ms == MEMHUB_FOREVER;

    while (!call->done) {
        int64_t deadline = forever ? INT64_MAX
                                   : hub->progress + (int64_t)wait_ms + hub->timeout_ms;

        if (left_until(deadline) == 0)
            disconnect(hub, MEMHUB_ETIMEDOUT, true, "the service did not answer in time");
        else
            memhub_pump(hub, left_until(deadline));
    }
    if (call->list != NULL)
        calls_remove(call);
    if (call->error.code == 0) {
        memhub_call_clear(call);
        return 0;
    }
    free(hub->last_text);
    hub->last_text = call->text;
    hub->last = call->error;
    call->text = NULL;
    return hub->last.code;
}

const struct memhub_error *memhub_last_error(const memhub *hub)
{
    return &hub->last;
}

/* ---- Connecting ---------------------------------------------------------------------------- */

memhub *memhub_new(void)
{
    memhub *hub = calloc(1, sizeof(*hub));

    if (hub == NULL)
        return NULL;
    hub->fd = -1;
    hub->streams_end = &hub->streams;
    hub->events_end = &hub->events;
    empty_error(&hub->last);
    local_error(&hub->why, MEMHUB_ENOTCONN, true, "not connected");
    return hub;
}

static void drop_events(memhub *hub)
{
    free(hub->given);
    hub->given = NULL;
    while (hub->events != NULL) {
        struct kept_event *next = hub->events->next;

        free(hub->events);
        hub->events = next;
    }
    hub->events_end = &hub->events;
    hub->event_count = 0;
}

void memhub_free(memhub *hub)
{
    if (hub == NULL)
        return;
    disconnect(hub, MEMHUB_ECANCELED, false, "the connection was closed");
    while (hub->done.head != NULL)
        calls_remove(hub->done.head);
    drop_events(hub);
    free(hub->fds);
    free(hub->ending);
    free(hub->last_text);
    free(hub);
}

const struct memhub_welcome *memhub_welcomed(const memhub *hub)
{
    return &hub->welcome;
}

const char *memhub_ending(const memhub *hub)
{
    return hub->ending;
}

/* Send HELLO, and wait for the answer. */
static int greet(memhub *hub, const struct memhub_options *options, int64_t deadline)
{
    struct field fields[] = {NUMBER(MAGIC), NUMBER(1), NUMBER(1), NUMBER(options->model),
        NUMBER(0), NUMBER(hub->asked), TEXT(options->label),
        BYTES(options->token, options->token_length)};
    int code = options->model > MEMHUB_MODEL_ILP32
        ? MEMHUB_EINVAL
        : encode_frame(&hub->out, HELLO, 0, 0, fields, GREETING_MOST);

    if (code != 0) {
        disconnect(hub, code, false,
            code == MEMHUB_ENOMEM       ? "no memory for HELLO"
                : code == MEMHUB_EINVAL ? "a data model that is not defined, or a long text"
                                        : "label and token do not fit the 4096 bytes of HELLO");
        return set_why(hub);
    }
    while (hub->state == GREETING) {
        uint32_t left = left_until(deadline);

        if (left == 0)
            disconnect(hub, MEMHUB_ETIMEDOUT, true, "the service did not answer HELLO in time");
        else
            memhub_pump(hub, left);
    }
    return hub->state == RUNNING ? 0 : set_why(hub);
}

static const struct memhub_options no_options;

static int64_t begin(memhub *hub, const struct memhub_options *options)
{
    hub->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : 30000;
    hub->memory_limit = options->memory_limit != 0 ? options->memory_limit : (size_t)64 << 20;
    hub->event_limit = options->event_limit != 0 ? options->event_limit : 1024;
    hub->asked = options->plain ? options->features : MEMHUB_FEATURES_ALL;
    hub->model = options->model;
    hub->send_failed = false;
    memset(&hub->welcome, 0, sizeof(hub->welcome));
    free(hub->ending);
    hub->ending = NULL;
    drop_events(hub);
    return deadline_of(hub->timeout_ms);
}

static int attach(memhub *hub, int fd, const struct memhub_options *options, int64_t deadline)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        set_last(hub, code_of_host(errno), false, strerror(errno));
        close(fd);
        return hub->last.code;
    }
    hub->fd = fd;
    hub->state = GREETING;
    hub->progress = now_ms();
    return greet(hub, options, deadline);
}

int memhub_attach(memhub *hub, int fd, const struct memhub_options *options)
{
    if (options == NULL)
        options = &no_options;
    if (hub->fd >= 0) {
        close(fd);
        return set_last(hub, MEMHUB_EISCONN, false, "already connected");
    }
    if (options->token == NULL && options->token_length > 0) {
        close(fd);
        return set_last(hub, MEMHUB_EINVAL, false, "the token is NULL, and its length is not 0");
    }
    return attach(hub, fd, options, begin(hub, options));
}

/* Connect a socket within a time. 0, or the host's errno. */
static int connect_by(int fd, const struct sockaddr *address, socklen_t length, int64_t deadline)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int flags = fcntl(fd, F_GETFL), error = 0, ready;
    socklen_t size = sizeof(error);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return errno;
    if (connect(fd, address, length) == 0)
        return 0;
    if (errno != EINPROGRESS && errno != EINTR)
        return errno;
    do {
        uint32_t left = left_until(deadline);

        ready = poll(&wait, 1, left > INT_MAX ? -1 : (int)left);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return ready == 0 ? ETIMEDOUT : errno;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

/* What may be tried again later: the service may start, or be less busy. */
static int no_connection(memhub *hub, const char *address, int host)
{
    bool again = host == ECONNREFUSED || host == EAGAIN || host == ETIMEDOUT || host == ENOENT ||
        host == ECONNRESET;
    char text[256];

    snprintf(text, sizeof(text), "%.150s: %s", address, strerror(host));
    return set_last(hub, code_of_host(host), again, text);
}

static int connect_unix(memhub *hub, const char *path, int64_t deadline, int *fd)
{
    struct sockaddr_un name;
    int host;

    memset(&name, 0, sizeof(name));
    name.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(name.sun_path))
        return no_connection(hub, path, ENAMETOOLONG);
    memcpy(name.sun_path, path, strlen(path) + 1);
    *fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (*fd < 0)
        return no_connection(hub, path, errno);
    host = connect_by(*fd, (struct sockaddr *)&name, sizeof(name), deadline);
    if (host == 0)
        return 0;
    close(*fd);
    return no_connection(hub, path, host);
}

/* Where to connect. `host` is "" for a Unix socket. */
struct place {
    const char *text, *path;
    char host[256], port[6];
};

/* Refuse an address before anything is done with it. */
static int refuse_address(memhub *hub, const char *address, const char *rule)
{
    char text[256];

    snprintf(text, sizeof(text), "\"%.150s\" is not an address: %s", address, rule);
    return set_last(hub, MEMHUB_EINVAL, false, text);
}

/* Checked here, as getaddrinfo() takes a number modulo 65536, which is another service's port. */
static bool copy_port(const char *digits, char port[6])
{
    size_t length = strlen(digits);
    unsigned long number = strtoul(digits, NULL, 10);

    if (length > 5 || strspn(digits, "0123456789") != length || number < 1 || number > 65535)
        return false;
    memcpy(port, digits, length + 1);
    return true;
}

/* Take HOST:PORT apart. */
static int parse_tcp(memhub *hub, struct place *place)
{
    const char *host = place->text + 4, *colon = strrchr(host, ':');
    size_t length = colon != NULL ? (size_t)(colon - host) : 0;

    if (length >= 2 && host[0] == '[' && colon[-1] == ']') {
        host++;
        length -= 2;
    }
    if (length == 0)
        return refuse_address(hub, place->text, "one of TCP is tcp:HOST:PORT");
    if (length >= sizeof(place->host))
        return refuse_address(hub, place->text, "a host has at most 255 bytes");
    if (!copy_port(colon + 1, place->port))
        return refuse_address(hub, place->text, "a port is a decimal number from 1 to 65535");
    memcpy(place->host, host, length);
    place->host[length] = '\0';
    return 0;
}

static int parse_address(memhub *hub, const char *address, struct place *place)
{
    *place = (struct place){.text = address, .path = address};
    if (address == NULL)
        return set_last(hub, MEMHUB_EINVAL, false, "the address is NULL");
    if (address[0] == '\0')
        return set_last(hub, MEMHUB_EINVAL, false, "the address is empty");
    if (strncmp(address, "tcp:", 4) == 0)
        return parse_tcp(hub, place);
    if (strncmp(address, "unix:", 5) == 0)
        place->path += 5;
    if (place->path[0] == '\0')
        return refuse_address(hub, address, "the path is empty");
    return 0;
}

static int connect_tcp(memhub *hub, const struct place *place, int64_t deadline, int *fd)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int code, error = EIO, one = 1;

    code = getaddrinfo(place->host, place->port, &hints, &found);
    if (code != 0)
        return set_last(hub, MEMHUB_EHOSTUNREACH, code == EAI_AGAIN, gai_strerror(code));
    *fd = -1;
    for (struct addrinfo *at = found; at != NULL && *fd < 0; at = at->ai_next) {
        *fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        error = *fd < 0 ? errno : connect_by(*fd, at->ai_addr, at->ai_addrlen, deadline);
        if (*fd >= 0 && error != 0) {
            close(*fd);
            *fd = -1;
        }
    }
    freeaddrinfo(found);
    if (*fd < 0)
        return no_connection(hub, place->text + 4, error);
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

int memhub_connect(memhub *hub, const char *address, const struct memhub_options *options)
{
    struct place place;
    int64_t deadline;
    int fd = -1, code;

    if (options == NULL)
        options = &no_options;
    if (hub->fd >= 0)
        return set_last(hub, MEMHUB_EISCONN, false, "already connected");
    code = parse_address(hub, address, &place);
    if (code != 0)
        return code;
    if (options->token == NULL && options->token_length > 0)
        return set_last(hub, MEMHUB_EINVAL, false, "the token is NULL, and its length is not 0");
    deadline = begin(hub, options);
    code = place.host[0] != '\0' ? connect_tcp(hub, &place, deadline, &fd)
                                 : connect_unix(hub, place.path, deadline, &fd);
    if (code != 0)
        return code;
    return attach(hub, fd, options, deadline);
}

int memhub_goodbye(memhub *hub, uint32_t timeout_ms, const char *reason)
{
    struct field fields[] = {NUMBER(timeout_ms), TEXT(reason)};
    int64_t deadline = deadline_of(timeout_ms);
    int code;

    if (hub->fd < 0)
        return set_why(hub);
    if (hub->state == RUNNING) {
        code = encode_frame(&hub->out, GOODBYE, 0, 0, fields, hub->welcome.max_body);
        if (code != 0)
            return set_last(hub, code, false, "the reason is too long for a frame");
        hub->state = LEAVING;
    }
    while (hub->fd >= 0) {
        uint32_t left = left_until(deadline);

        if (left == 0)
            disconnect(hub, MEMHUB_ETIMEDOUT, true, "the service did not close in time");
        else
            memhub_pump(hub, left);
    }
    /* The close of the service is what was waited for. */
    if (hub->why.code != MEMHUB_ECONNRESET && hub->why.code != MEMHUB_EPIPE)
        return set_why(hub);
    local_error(&hub->why, MEMHUB_ENOTCONN, true, "GOODBYE was said");
    return 0;
}

/* ---- Requests ------------------------------------------------------------------------------ */

/* Where the answer of a request goes, and what it is held to. */
struct target {
    void *result;
    size_t *result_length; /* of a report */
    uint64_t count;        /* of a transfer: how many bytes; of PING: the cookie */
    uint16_t model;
    const void *source;    /* of a write: its first byte, and what does not fit the request */
    size_t source_at, source_left;
};

static int start(memhub *hub, struct memhub_call *call, uint16_t type, uint16_t expects,
    const struct field *fields, struct target target)
{
    int code = prepare(hub, call, type, expects);

    if (code != 0)
        return code;
    call->result = target.result;
    call->result_length = target.result_length;
    call->count = target.count;
    call->model = target.model;
    if (target.source != NULL) {
        call->source = (const uint8_t *)target.source + target.source_at;
        call->source_left = target.source_left;
    }
    return dispatch(hub, call, fields);
}

/* Refuse what the service would not understand, or would take for a breach of the protocol. */
static int refuse(memhub *hub, struct memhub_call *call, int code, const char *reason)
{
    int failed = prepare(hub, call, CANCEL, DONE);

    return failed != 0 ? failed : start_failed(call, code, false, reason);
}

int memhub_start_open(memhub *hub, struct memhub_call *call, const char *path, unsigned flags,
    unsigned model, struct memhub_handle *handle)
{
    struct field fields[] = {NUMBER(flags), NUMBER(model), TEXT(path)};

    memset(handle, 0, sizeof(*handle));
    if (path == NULL)
        return refuse(hub, call, MEMHUB_EINVAL, "the path is NULL");
    if (flags > 7 || model > MEMHUB_MODEL_ILP32)
        return refuse(hub, call, MEMHUB_EINVAL, "flags or data model that are not defined");
    return start(hub, call, OPEN, OPENED, fields, (struct target){.result = handle});
}

int memhub_open(memhub *hub, const char *path, unsigned flags, struct memhub_handle *handle)
{
    struct memhub_call call = {0};

    memhub_start_open(hub, &call, path, flags, MEMHUB_MODEL_OWN, handle);
    return finish(hub, &call, 0);
}

int memhub_start_close(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle)
{
    struct field fields[] = {NUMBER(handle->number)};

    return start(hub, call, CLOSE, DONE, fields, (struct target){0});
}

int memhub_close(memhub *hub, const struct memhub_handle *handle)
{
    struct memhub_call call = {0};

    memhub_start_close(hub, &call, handle);
    return finish(hub, &call, 0);
}

/* Finish a transfer, and say how far it came. */
static int finish_transfer(memhub *hub, struct memhub_call *call, uint64_t *moved)
{
    int code = finish(hub, call, 0);

    if (moved != NULL)
        *moved = call->value;
    return code;
}

int memhub_start_pread(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    void *buffer, size_t count, uint64_t offset)
{
    struct field fields[] = {NUMBER(handle->number), NUMBER(offset), NUMBER(count)};

    return start(
        hub, call, PREAD, DATA, fields, (struct target){.result = buffer, .count = count});
}

int memhub_pread(memhub *hub, const struct memhub_handle *handle, void *buffer, size_t count,
    uint64_t offset, uint64_t *moved)
{
    struct memhub_call call = {0};

    memhub_start_pread(hub, &call, handle, buffer, count, offset);
    return finish_transfer(hub, &call, moved);
}

int memhub_start_read(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    void *buffer, size_t count)
{
    struct field fields[] = {NUMBER(handle->number), NUMBER(count)};

    return start(
        hub, call, READ, DATA, fields, (struct target){.result = buffer, .count = count});
}

int memhub_read(memhub *hub, const struct memhub_handle *handle, void *buffer, size_t count,
    uint64_t *moved)
{
    struct memhub_call call = {0};

    memhub_start_read(hub, &call, handle, buffer, count);
    return finish_transfer(hub, &call, moved);
}

/* A write: what fits one frame takes effect at one instant, so as much as fits is sent in it. */
static struct target written(
    const memhub *hub, const void *buffer, size_t count, size_t fixed, size_t *first)
{
    size_t most = hub->welcome.max_body > fixed ? hub->welcome.max_body - fixed : 0;

    *first = count < most ? count : most;
    return (struct target){.count = count,
        .source = buffer != NULL ? buffer : "",
        .source_at = *first,
        .source_left = count - *first};
}

int memhub_start_pwrite(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    const void *buffer, size_t count, uint64_t offset)
{
    size_t first;
    struct target target = written(hub, buffer, count, 20, &first);
    struct field fields[] = {
        NUMBER(handle->number), NUMBER(offset), NUMBER(count), BYTES(buffer, first)};

    return start(hub, call, PWRITE, DONE, fields, target);
}

int memhub_pwrite(memhub *hub, const struct memhub_handle *handle, const void *buffer,
    size_t count, uint64_t offset, uint64_t *moved)
{
    struct memhub_call call = {0};

    memhub_start_pwrite(hub, &call, handle, buffer, count, offset);
    return finish_transfer(hub, &call, moved);
}

int memhub_start_write(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    const void *buffer, size_t count)
{
    size_t first;
    struct target target = written(hub, buffer, count, 12, &first);
    struct field fields[] = {NUMBER(handle->number), NUMBER(count), BYTES(buffer, first)};

    return start(hub, call, WRITE, DONE, fields, target);
}

int memhub_write(memhub *hub, const struct memhub_handle *handle, const void *buffer,
    size_t count, uint64_t *moved)
{
    struct memhub_call call = {0};

    memhub_start_write(hub, &call, handle, buffer, count);
    return finish_transfer(hub, &call, moved);
}

int memhub_start_seek(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    int64_t offset, unsigned whence)
{
    struct field fields[] = {NUMBER(handle->number), NUMBER(whence), NUMBER((uint64_t)offset)};

    if (whence > 4)
        return refuse(hub, call, MEMHUB_EINVAL, "a whence that is not defined");
    return start(hub, call, SEEK, DONE, fields, (struct target){0});
}

int memhub_seek(memhub *hub, const struct memhub_handle *handle, int64_t offset, unsigned whence,
    uint64_t *now)
{
    struct memhub_call call = {0};

    memhub_start_seek(hub, &call, handle, offset, whence);
    return finish_transfer(hub, &call, now);
}

static bool is_get(uint32_t command)
{
    return command == (uint32_t)MEMRANGE_GET || command == 0xc0106d32 || command == 0xc00c6d32;
}

static bool is_set(uint32_t command)
{
    return command == (uint32_t)MEMRANGE_SET || command == 0x80106d33 || command == 0x800c6d33 ||
        command == 0x40106d33 || command == 0x400c6d33;
}

int memhub_start_ioctl(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    unsigned long command, struct mem_range_op *op, uint64_t fence, uint32_t wait_ms)
{
    bool small = handle->model == MEMHUB_MODEL_ILP32;
    size_t pointer = small ? 4 : 8, size = desc_size(handle->model), room = 0;
    uint32_t number = (uint32_t)command;
    uint8_t op_bytes[16], desc_bytes[32];
    bool get = is_get(number), set = is_set(number);
    size_t op_size = get || set ? pointer + 8 : 0, desc_length = 0;

    if (op_size > 0) {
        /* Any pointer but NULL stands for the descriptors of this frame and its answer. */
        store(op_bytes, pointer, op->mo_desc != NULL);
        store(op_bytes + pointer, 4, (uint32_t)op->mo_arg[0]);
        store(op_bytes + pointer + 4, 4, (uint32_t)op->mo_arg[1]);
    }
    if (get) {
        number = small ? 0xc00c6d32 : 0xc0106d32;
        if (op->mo_desc != NULL && op->mo_arg[0] > 0)
            room = (size_t)op->mo_arg[0] < UINT32_MAX / size ? (size_t)op->mo_arg[0] * size
                                                             : UINT32_MAX / size * size;
    } else if (set) {
        number = small ? 0x800c6d33 : 0x80106d33;
        if (op->mo_desc != NULL) {
            store_desc(desc_bytes, handle->model, op->mo_desc);
            desc_length = size;
        }
    }
    struct field fields[] = {NUMBER(handle->number), NUMBER(number), NUMBER(fence),
        NUMBER(wait_ms), NUMBER(room), NUMBER(op_size), BYTES(op_bytes, op_size),
        BYTES(desc_bytes, desc_length)};

    return start(hub, call, IOCTL, IOCTL_DONE, fields,
        (struct target){.result = get ? op : NULL, .count = room, .model = handle->model});
}

int memhub_ioctl(memhub *hub, const struct memhub_handle *handle, unsigned long command,
    struct mem_range_op *op, uint64_t fence, uint32_t wait_ms)
{
    struct memhub_call call = {0};

    memhub_start_ioctl(hub, &call, handle, command, op, fence, wait_ms);
    return finish(hub, &call, wait_ms);
}

int memhub_ranges(memhub *hub, const struct memhub_handle *handle, struct mem_range_desc **list,
    size_t *count)
{
    struct mem_range_op op = {NULL, {0, 0}};
    int code = memhub_ioctl(hub, handle, MEMRANGE_GET, &op, 0, 0);

    *list = NULL;
    *count = 0;
    if (code != 0)
        return code;
    if ((size_t)op.mo_arg[0] > hub->memory_limit / sizeof(**list))
        return set_last(hub, MEMHUB_ENOMEM, false, "the table is longer than memory_limit");
    op.mo_desc = rows((size_t)op.mo_arg[0], sizeof(*op.mo_desc));
    if (op.mo_desc == NULL)
        return set_last(hub, MEMHUB_ENOMEM, false, "no memory for the table");
    if (op.mo_arg[0] > 0)
        code = memhub_ioctl(hub, handle, MEMRANGE_GET, &op, 0, 0);
    if (code != 0) {
        free(op.mo_desc);
        return code;
    }
    *list = op.mo_desc;
    *count = (size_t)op.mo_arg[0];
    return 0;
}

void memhub_outcome_clear(struct memhub_outcome *outcome)
{
    free(outcome->slots);
    free(outcome->claimed);
    free(outcome->released);
    free(outcome->msrs);
    memset(outcome, 0, sizeof(*outcome));
}

int memhub_start_set(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    int arg, const struct mem_range_desc *desc, uint64_t fence, uint32_t wait_ms,
    uint32_t lease_ms, struct memhub_outcome *outcome)
{
    uint8_t bytes[32];
    struct field fields[] = {NUMBER(handle->number), NUMBER((uint32_t)arg), NUMBER(fence),
        NUMBER(wait_ms), NUMBER(lease_ms), BYTES(bytes, desc_size(handle->model))};

    if (outcome != NULL)
        memset(outcome, 0, sizeof(*outcome));
    if ((hub->welcome.features & MEMHUB_FEATURE_SET) == 0) {
        struct mem_range_desc copy = *desc;
        struct mem_range_op op = {&copy, {arg, 0}};

        if (lease_ms == 0)
            return memhub_start_ioctl(hub, call, handle, MEMRANGE_SET, &op, fence, wait_ms);
        return refuse(hub, call, MEMHUB_EOPNOTSUPP,
            "a lease needs the feature SET, which was not granted");
    }
    store_desc(bytes, handle->model, desc);
    return start(hub, call, SET, SET_DONE, fields, (struct target){.result = outcome});
}

int memhub_set(memhub *hub, const struct memhub_handle *handle, int arg,
    const struct mem_range_desc *desc, uint64_t fence, uint32_t wait_ms, uint32_t lease_ms,
    struct memhub_outcome *outcome)
{
    struct memhub_call call = {0};

    memhub_start_set(hub, &call, handle, arg, desc, fence, wait_ms, lease_ms, outcome);
    return finish(hub, &call, wait_ms);
}

int memhub_start_claim(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    uint64_t base, uint64_t length, uint32_t lease_ms, uint32_t wait_ms,
    struct memhub_claim *claim)
{
    struct field fields[] = {NUMBER(handle->number), NUMBER(lease_ms), NUMBER(wait_ms),
        NUMBER(base), NUMBER(length)};

    memset(claim, 0, sizeof(*claim));
    return start(hub, call, CLAIM, CLAIMED, fields, (struct target){.result = claim});
}

int memhub_claim(memhub *hub, const struct memhub_handle *handle, uint64_t base, uint64_t length,
    uint32_t lease_ms, uint32_t wait_ms, struct memhub_claim *claim)
{
    struct memhub_call call = {0};

    memhub_start_claim(hub, &call, handle, base, length, lease_ms, wait_ms, claim);
    return finish(hub, &call, wait_ms);
}

int memhub_start_release(memhub *hub, struct memhub_call *call,
    const struct memhub_handle *handle, uint64_t base, uint64_t length, uint64_t fence)
{
    struct field fields[] = {
        NUMBER(handle->number), NUMBER(base), NUMBER(length), NUMBER(fence)};

    return start(hub, call, RELEASE, DONE, fields, (struct target){0});
}

int memhub_release(memhub *hub, const struct memhub_handle *handle, uint64_t base,
    uint64_t length, uint64_t fence)
{
    struct memhub_call call = {0};

    memhub_start_release(hub, &call, handle, base, length, fence);
    return finish(hub, &call, 0);
}

int memhub_start_renew(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    uint64_t base, uint64_t length, uint64_t fence, uint32_t lease_ms, struct memhub_claim *claim)
{
    struct field fields[] = {NUMBER(handle->number), NUMBER(base), NUMBER(length), NUMBER(fence),
        NUMBER(lease_ms)};

    memset(claim, 0, sizeof(*claim));
    return start(hub, call, RENEW, CLAIMED, fields, (struct target){.result = claim});
}

int memhub_renew(memhub *hub, const struct memhub_handle *handle, uint64_t base, uint64_t length,
    uint64_t fence, uint32_t lease_ms, struct memhub_claim *claim)
{
    struct memhub_call call = {0};

    memhub_start_renew(hub, &call, handle, base, length, fence, lease_ms, claim);
    return finish(hub, &call, 0);
}

int memhub_start_wait_free(memhub *hub, struct memhub_call *call,
    const struct memhub_handle *handle, uint64_t base, uint64_t length, uint32_t wait_ms)
{
    struct field fields[] = {
        NUMBER(handle->number), NUMBER(base), NUMBER(length), NUMBER(wait_ms)};

    return start(hub, call, WAIT, DONE, fields, (struct target){0});
}

int memhub_wait_free(memhub *hub, const struct memhub_handle *handle, uint64_t base,
    uint64_t length, uint32_t wait_ms)
{
    struct memhub_call call = {0};

    memhub_start_wait_free(hub, &call, handle, base, length, wait_ms);
    return finish(hub, &call, wait_ms);
}

int memhub_start_break(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    uint64_t base, uint64_t length, uint64_t fence, const char *reason)
{
    struct field fields[] = {NUMBER(handle->number), NUMBER(base), NUMBER(length), NUMBER(fence),
        TEXT(reason)};

    return start(hub, call, BREAK, DONE, fields, (struct target){0});
}

int memhub_break(memhub *hub, const struct memhub_handle *handle, uint64_t base, uint64_t length,
    uint64_t fence, const char *reason, uint64_t *ended)
{
    struct memhub_call call = {0};

    memhub_start_break(hub, &call, handle, base, length, fence, reason);
    return finish_transfer(hub, &call, ended);
}

int memhub_start_explain(memhub *hub, struct memhub_call *call,
    const struct memhub_handle *handle, uint64_t address, char **json, size_t *length)
{
    struct field fields[] = {NUMBER(handle->number), NUMBER(address)};

    *json = NULL;
    *length = 0;
    return start(hub, call, EXPLAIN, DATA, fields,
        (struct target){.result = json, .result_length = length});
}

int memhub_explain(memhub *hub, const struct memhub_handle *handle, uint64_t address,
    char **json, size_t *length)
{
    struct memhub_call call = {0};

    memhub_start_explain(hub, &call, handle, address, json, length);
    return finish(hub, &call, 0);
}

int memhub_start_report(memhub *hub, struct memhub_call *call, const char *what,
    const char *machine, char **json, size_t *length)
{
    struct field fields[] = {TEXT(what), TEXT(machine)};

    *json = NULL;
    *length = 0;
    return start(hub, call, REPORT, DATA, fields,
        (struct target){.result = json, .result_length = length});
}

int memhub_report(memhub *hub, const char *what, const char *machine, char **json, size_t *length)
{
    struct memhub_call call = {0};

    memhub_start_report(hub, &call, what, machine, json, length);
    return finish(hub, &call, 0);
}

int memhub_start_ping(memhub *hub, struct memhub_call *call, uint64_t cookie)
{
    struct field fields[] = {NUMBER(cookie)};

    return start(hub, call, PING, DONE, fields, (struct target){.count = cookie});
}

int memhub_ping(memhub *hub)
{
    struct memhub_call call = {0};

    memhub_start_ping(hub, &call, hub->last_id);
    return finish(hub, &call, 0);
}

int memhub_start_subscribe(memhub *hub, struct memhub_call *call, const char *machine,
    uint64_t base, uint64_t length, uint32_t queue, uint32_t options)
{
    bool granted = (hub->welcome.features & MEMHUB_FEATURE_REFUSALS) != 0;
    struct field fields[] = {NUMBER(queue), NUMBER(base), NUMBER(length), TEXT(machine),
        OPTION(options, granted)};

    if (options > MEMHUB_SUBSCRIBE_REFUSED)
        return refuse(hub, call, MEMHUB_EINVAL, "options that are not defined");
    if (options != 0 && !granted)
        return refuse(hub, call, MEMHUB_EOPNOTSUPP,
            "options need the feature REFUSALS, which was not granted");
    return start(hub, call, SUBSCRIBE, DONE, fields, (struct target){0});
}

int memhub_subscribe(memhub *hub, const char *machine, uint64_t base, uint64_t length,
    uint32_t queue, uint32_t options, uint32_t *subscription)
{
    struct memhub_call call = {0};
    int code;

    memhub_start_subscribe(hub, &call, machine, base, length, queue, options);
    code = finish(hub, &call, 0);
    *subscription = (uint32_t)call.value;
    return code;
}

int memhub_start_unsubscribe(memhub *hub, struct memhub_call *call, uint32_t subscription)
{
    struct field fields[] = {NUMBER(subscription)};

    return start(hub, call, UNSUBSCRIBE, DONE, fields, (struct target){.count = subscription});
}

int memhub_unsubscribe(memhub *hub, uint32_t subscription)
{
    struct memhub_call call = {0};

    memhub_start_unsubscribe(hub, &call, subscription);
    return finish(hub, &call, 0);
}

bool memhub_next_event(memhub *hub, struct memhub_event *event, uint32_t timeout_ms)
{
    int64_t deadline = deadline_of(timeout_ms);
    struct kept_event *first;

    while (hub->events == NULL && hub->fd >= 0) {
        uint32_t left = left_until(deadline);

        memhub_pump(hub, left);
        if (left == 0)
            break;
    }
    first = hub->events;
    if (first == NULL)
        return false;
    hub->events = first->next;
    if (hub->events == NULL)
        hub->events_end = &hub->events;
    hub->event_count--;
    free(hub->given);
    hub->given = first;
    for (struct subscription *at = hub->subscriptions; at != NULL; at = at->next)
        if (at->number == first->event.subscription) {
            first->event.missed += at->missed;
            at->missed = 0;
        }
    *event = first->event;
    return true;
}

int memhub_start_map(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    unsigned rights, struct memhub_map *map)
{
    struct field fields[] = {NUMBER(handle->number), NUMBER(rights)};

    *map = (struct memhub_map){.fd = -1};
    if (rights < MEMHUB_MAP_READ || rights > MEMHUB_MAP_ROM)
        return refuse(hub, call, MEMHUB_EINVAL, "rights that are not defined");
    if (rights == MEMHUB_MAP_ROM && (hub->welcome.features & MEMHUB_FEATURE_MAP_ROM) == 0)
        return refuse(hub, call, MEMHUB_EOPNOTSUPP,
            "it needs the feature MAP_ROM, which was not granted");
    return start(hub, call, MAP, MAPPED, fields, (struct target){.result = map});
}

int memhub_map(
    memhub *hub, const struct memhub_handle *handle, unsigned rights, struct memhub_map *map)
{
    struct memhub_call call = {0};

    memhub_start_map(hub, &call, handle, rights, map);
    return finish(hub, &call, 0);
}

const struct memhub_piece *memhub_map_find(const struct memhub_map *map, uint64_t address)
{
    for (size_t i = 0; i < map->count; i++)
        if (address >= map->pieces[i].base &&
            address - map->pieces[i].base < map->pieces[i].length)
            return &map->pieces[i];
    return NULL;
}

bool memhub_map_locate(
    const struct memhub_map *map, uint64_t address, uint64_t *offset, uint64_t *follow)
{
    const struct memhub_piece *piece = memhub_map_find(map, address);
    uint64_t inside;

    if (piece == NULL || piece->kind == MEMHUB_PIECE_DEVICE)
        return false;
    inside = address - piece->base;
    *follow = piece->length - inside;
    if (piece->kind == MEMHUB_PIECE_OPEN_BUS) {
        *offset = address % OPEN_BUS_BYTES;
        if (*follow > OPEN_BUS_BYTES - *offset)
            *follow = OPEN_BUS_BYTES - *offset;
    } else
        *offset = piece->offset + inside;
    return true;
}

void memhub_map_clear(struct memhub_map *map)
{
    if (map->fd >= 0)
        close(map->fd);
    free(map->pieces);
    *map = (struct memhub_map){.fd = -1};
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static const char *skip_space(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')
        at++;
    return at;
}

/* Behind the string that begins here, or NULL. */
static const char *skip_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    for (; *at != '"'; at++)
        if (*at == '\0' || (*at == '\\' && *++at == '\0'))
            return NULL;
    return at + 1;
}

/* Behind the value that begins here, or NULL. Brackets are counted and not matched. */
static const char *skip_value(const char *at)
{
    size_t depth = 0;

    do {
        at = skip_space(at);
        if (*at == '"') {
            at = skip_string(at);
            if (at == NULL)
                return NULL;
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0)
                return NULL;
            depth--;
            at++;
        } else if (*at == '\0')
            return NULL;
        else if (depth > 0)
            at++;
        else
            while (*at != '\0' && strchr(",:{}[]\" \t\r\n", *at) == NULL)
                at++;
    } while (depth > 0);
    return at;
}

/* Where the value of a member of the object begins, or NULL. */
static const char *find_member(const char *json, const char *member)
{
    size_t length;
    const char *at;

    if (json == NULL || member == NULL)
        return NULL;
    length = strlen(member);
    at = skip_space(json);
    if (*at != '{')
        return NULL;
    do {
        const char *name = skip_space(at + 1), *end = skip_string(name);

        if (end == NULL)
            return NULL;
        at = skip_space(end);
        if (*at != ':')
            return NULL;
        at = skip_space(at + 1);
        if ((size_t)(end - name) == length + 2 && memcmp(name + 1, member, length) == 0)
            return at;
        at = skip_value(at);
        if (at == NULL)
            return NULL;
        at = skip_space(at);
    } while (*at == ',');
    return NULL;
}

bool memhub_json_u64(const char *json, const char *member, uint64_t *value)
{
    const char *at = find_member(json, member);
    bool quoted = at != NULL && *at == '"';
    uint64_t sum = 0;

    if (at == NULL)
        return false;
    at += quoted;
    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');

        if (sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    if (quoted ? *at != '"' : *at == '\0' || strchr(",} \t\r\n", *at) == NULL)
        return false;
    *value = sum;
    return true;
}

/* Four hexadecimal digits, or -1. */
static long load_hex(const char *at)
{
    long value = 0;

    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef0123456789ABCDEF", *found;

        found = at[i] != '\0' ? strchr(digits, at[i]) : NULL;
        if (found == NULL)
            return -1;
        value = value << 4 | ((found - digits) & 15);
    }
    return value;
}

static size_t put_utf8(char bytes[4], unsigned long point)
{
    static const unsigned char marks[] = {0x00, 0x00, 0xc0, 0xe0, 0xf0};
    size_t count = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;

    for (size_t i = count - 1; i > 0; i--, point >>= 6)
        bytes[i] = (char)(0x80 | (point & 0x3f));
    bytes[0] = (char)(marks[count] | point);
    return count;
}

/* The character behind a backslash, and where the next one begins. 0 if it is none. */
static size_t take_escape(const char **at, char bytes[4])
{
    const char *plain = "\"\\/bfnrt", *found = **at != '\0' ? strchr(plain, **at) : NULL;
    long point, low;

    if (found != NULL) {
        bytes[0] = "\"\\/\b\f\n\r\t"[found - plain];
        (*at)++;
        return 1;
    }
    if (**at != 'u' || (point = load_hex(*at + 1)) <= 0)
        return 0;
    *at += 5;
    if (point < 0xd800 || point > 0xdfff)
        return put_utf8(bytes, (unsigned long)point);
    if (point > 0xdbff || (*at)[0] != '\\' || (*at)[1] != 'u')
        return 0;
    low = load_hex(*at + 2);
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *at += 6;
    return put_utf8(bytes, 0x10000 + ((unsigned long)(point - 0xd800) << 10) +
        (unsigned long)(low - 0xdc00));
}

bool memhub_json_string(const char *json, const char *member, char *text, size_t size)
{
    const char *at = find_member(json, member);
    size_t used = 0;

    if (at == NULL || *at++ != '"')
        return false;
    while (*at != '"') {
        char bytes[4];
        size_t count = 1;

        if (*at == '\0')
            return false;
        if (*at == '\\') {
            at++;
            count = take_escape(&at, bytes);
            if (count == 0)
                return false;
        } else
            bytes[0] = *at++;
        if (count >= size - used || size == 0)
            return false;
        memcpy(text + used, bytes, count);
        used += count;
    }
    if (used >= size)
        return false;
    text[used] = '\0';
    return true;
}
