/*
 * memhub.h - a client of a memhub service, for C11 and POSIX.
 *
 * Written from docs/protocol.md alone. Link memhub.c; nothing else is needed.
 *
 * How it is used
 *
 *	memhub *hub = memhub_new();
 *	struct memhub_handle mem;
 *	uint64_t got;
 *
 *	if (memhub_connect(hub, "unix:/run/memhub.sock", NULL) ||
 *	    memhub_open(hub, "/dev/mem", MEMHUB_OPEN_READ, &mem) ||
 *	    memhub_pread(hub, &mem, buffer, sizeof(buffer), 0, &got))
 *		fprintf(stderr, "%s\n", memhub_last_error(hub)->reason);
 *	memhub_free(hub);
 *
 * Errors
 *
 *	Each function that returns an int returns 0 or an errno in FreeBSD's numbers (MEMHUB_E*),
 *	also for what fails on this side, unless its comment says otherwise.
 *	memhub_last_error() has the text. Texts of a service are UTF-8 and may hold anything:
 *	escape them before they go to a terminal. They end at their first NUL here.
 *
 * Blocking and pipelining
 *
 *	Each request has two functions. memhub_X() sends it and waits for its answer.
 *	memhub_start_X() sends it and returns; its struct memhub_call, and every buffer and result
 *	that was given, must stay where they are until the call is done. Wait for one call
 *	(memhub_wait), for whichever is done next (memhub_reap), or put memhub_fd() into a poll
 *	loop of your own and call memhub_pump(). Requests take effect in the order in which they
 *	were started, with the exceptions that the page names.
 *
 * Threads
 *
 *	One connection is used by one thread at a time. Connections share nothing.
 *
 * A broken connection
 *
 *	What a service sends is checked before it is used. Whatever breaks the protocol ends the
 *	connection: all calls are done with an error, and each later call fails at once.
 *	memhub_connect() may then be called again; handles and claims of before are gone.
 */
#ifndef MEMHUB_H
#define MEMHUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Numbers of the protocol --------------------------------------------------------------- */

/* Errno numbers of FreeBSD. They differ from the host's; see memhub_host_errno(). */
enum {
    MEMHUB_EPERM = 1,
    MEMHUB_ENOENT = 2,
    MEMHUB_EIO = 5,
    MEMHUB_ENXIO = 6,
    MEMHUB_EBADF = 9,
    MEMHUB_EDEADLK = 11,
    MEMHUB_ENOMEM = 12,
    MEMHUB_EACCES = 13,
    MEMHUB_EFAULT = 14,
    MEMHUB_EBUSY = 16,
    MEMHUB_EEXIST = 17,
    MEMHUB_ENODEV = 19,
    MEMHUB_ENOTDIR = 20,
    MEMHUB_EINVAL = 22,
    MEMHUB_ENFILE = 23,
    MEMHUB_EMFILE = 24,
    MEMHUB_ENOTTY = 25,
    MEMHUB_ENOSPC = 28,
    MEMHUB_EPIPE = 32,
    MEMHUB_EAGAIN = 35,
    MEMHUB_ENOTSOCK = 38,
    MEMHUB_EMSGSIZE = 40,
    MEMHUB_EOPNOTSUPP = 45,
    MEMHUB_EADDRNOTAVAIL = 49,
    MEMHUB_ENETUNREACH = 51,
    MEMHUB_ECONNRESET = 54,
    MEMHUB_ENOBUFS = 55,
    MEMHUB_EISCONN = 56,
    MEMHUB_ENOTCONN = 57,
    MEMHUB_ETIMEDOUT = 60,
    MEMHUB_ECONNREFUSED = 61,
    MEMHUB_ELOOP = 62,
    MEMHUB_ENAMETOOLONG = 63,
    MEMHUB_EHOSTUNREACH = 65,
    MEMHUB_ENOSYS = 78,
    MEMHUB_ECANCELED = 85,
    MEMHUB_EPROTO = 92
};

/* Bits of `features`: what was added to the protocol since version 1. */
enum {
    MEMHUB_FEATURE_MAP = 0x1,     /* memhub_map() is possible; Unix sockets only */
    MEMHUB_FEATURE_MAP_ROM = 0x2, /* so is MEMHUB_MAP_ROM */
    MEMHUB_FEATURE_STRINGS = 0x4, /* 64-bit numbers in JSON are strings */
    MEMHUB_FEATURE_SET = 0x8,     /* memhub_set() has leases and outcomes */
    MEMHUB_FEATURE_REFUSALS = 0x10, /* subscriptions can have refused requests */
    MEMHUB_FEATURES_ALL = 0x1f
};

enum { MEMHUB_MODEL_OWN = 0, MEMHUB_MODEL_LP64 = 1, MEMHUB_MODEL_ILP32 = 2 };
enum { MEMHUB_OPEN_READ = 1, MEMHUB_OPEN_WRITE = 2, MEMHUB_OPEN_UNDO = 4 };
enum { MEMHUB_SEEK_SET = 0, MEMHUB_SEEK_CUR = 1, MEMHUB_SEEK_END = 2 };
enum { MEMHUB_MAP_READ = 1, MEMHUB_MAP_WRITE = 2, MEMHUB_MAP_ROM = 4 };
enum { MEMHUB_SUBSCRIBE_REFUSED = 1 };
enum {
    MEMHUB_PIECE_RAM = 0,
    MEMHUB_PIECE_ROM = 1,
    MEMHUB_PIECE_ACPI = 2,
    MEMHUB_PIECE_NVS = 3,
    MEMHUB_PIECE_OPEN_BUS = 4,
    MEMHUB_PIECE_DEVICE = 5
};

/* For `wait_ms`: no limit. 0 does not wait: EBUSY at once. */
#define MEMHUB_FOREVER UINT32_C(0xffffffff)

/* ---- mem(4)'s structures ------------------------------------------------------------------- */

#ifdef __FreeBSD__
#include <sys/types.h>
#include <sys/memrange.h>
#else
struct mem_range_desc {
    uint64_t mr_base;
    uint64_t mr_len;
    int mr_flags;
    char mr_owner[8]; /* a label of at most seven bytes, and a NUL */
};

struct mem_range_op {
    struct mem_range_desc *mo_desc;
    int mo_arg[2];
};

#define MEMRANGE_GET 0xc0106d32UL
#define MEMRANGE_SET 0x80106d33UL
#define MEMRANGE_SET_UPDATE 0
#define MEMRANGE_SET_REMOVE 1

#define MDF_UNCACHEABLE (1 << 0)
#define MDF_WRITECOMBINE (1 << 1)
#define MDF_WRITETHROUGH (1 << 2)
#define MDF_WRITEBACK (1 << 3)
#define MDF_WRITEPROTECT (1 << 4)
#define MDF_UNKNOWN (1 << 5)
#define MDF_FIXBASE (1 << 24)
#define MDF_FIXLEN (1 << 25)
#define MDF_FIRMWARE (1 << 26)
#define MDF_ACTIVE (1 << 27)
#define MDF_BOGUS (1 << 28)
#define MDF_FIXACTIVE (1 << 29)
#define MDF_BUSY (1 << 30)
#define MDF_FORCE ((int)0x80000000U)
#endif

/* ---- A connection -------------------------------------------------------------------------- */

typedef struct memhub memhub;

/* How to connect. All zeros (or NULL in place of it) is what is meant by "unless set". */
struct memhub_options {
    const char *label;    /* this program's name, for people; NULL is "" */
    const void *token;    /* over TCP: the bare token, without its name. NULL is none: with a
                           * `token_length` it is EINVAL */
    size_t token_length;
    uint16_t model;       /* MEMHUB_MODEL_*; the machine's own unless set */
    bool plain;           /* ask for `features` only; unless set, for all */
    uint32_t features;    /* MEMHUB_FEATURE_*; looked at only with `plain` */
    uint32_t timeout_ms;  /* how long connecting, and a service that is silent while a blocking
                           * call waits, may last; 30 s unless set, MEMHUB_FOREVER is no limit */
    size_t memory_limit;  /* longest frame and report that is kept; 64 MiB unless set */
    size_t event_limit;   /* events kept until they are taken; 1024 unless set */
};

/* What went wrong. The pointers are never NULL; what is not known is "". */
struct memhub_error {
    int code;              /* errno in FreeBSD's numbers; 0 is success */
    bool local;            /* this side found it; the service did not say it */
    bool again;            /* connecting again later may succeed */
    uint64_t moved;        /* bytes that a transfer had moved */
    const char *name;      /* such as "EBUSY" */
    const char *kind;      /* tells two meanings of one errno apart, such as "RangeBusy" */
    const char *reason;    /* what was wrong, with the values */
    const char *obstacles; /* what stood in the way: a JSON list, or "" */
};

/* What the service said in WELCOME. */
struct memhub_welcome {
    uint16_t version;
    uint16_t model;
    uint32_t features;      /* those that were granted */
    uint32_t max_body;      /* the longest body of a frame, in bytes */
    uint32_t max_in_flight; /* requests that may be unanswered */
    uint32_t max_handles;
    uint32_t idle_ms;       /* the service closes after that much idleness; 0 is never */
    char server[64];        /* its name and version, cut to fit */
};

/* A connection that is not connected. NULL if there is no memory. */
memhub *memhub_new(void);

/* Close without waiting, end every call with ECANCELED, and free all. NULL is allowed. */
void memhub_free(memhub *hub);

/*
 * Connect and greet. The address is "unix:PATH", a path, or "tcp:HOST:PORT" (an IPv6 HOST in
 * brackets, PORT decimal from 1 to 65535). Anything else, also "" and NULL, is EINVAL, and nothing
 * is sent. TLS is not built in: see memhub_attach(). EAGAIN and every error with `again` may be
 * tried again later; EACCES and EOPNOTSUPP would be answered again.
 */
int memhub_connect(memhub *hub, const char *address, const struct memhub_options *options);

/*
 * Greet over a connected stream socket, such as that of a TLS proxy. The connection owns the
 * descriptor from here on, also when this fails.
 */
int memhub_attach(memhub *hub, int fd, const struct memhub_options *options);

/*
 * End in order: send GOODBYE, take the answers of what is in flight, and wait until the service
 * closes, `timeout_ms` at most (ETIMEDOUT). The descriptor is closed in any case. A `reason` of
 * NULL is "".
 */
int memhub_goodbye(memhub *hub, uint32_t timeout_ms, const char *reason);

/* What the service granted. All zeros before a connection. */
const struct memhub_welcome *memhub_welcomed(const memhub *hub);

/* The service's reason for ending, after its GOODBYE; otherwise NULL. Connect anew then. */
const char *memhub_ending(const memhub *hub);

/*
 * The error of the last blocking function or memhub_pump() on this connection that failed. It is
 * valid until the next such call.
 */
const struct memhub_error *memhub_last_error(const memhub *hub);

/* The name of a FreeBSD errno number that the protocol has, or "" */
const char *memhub_errno_name(int code);

/* The host's number of a FreeBSD errno number; EIO of the host if it has none. */
int memhub_host_errno(int code);

/* ---- Calls in flight ----------------------------------------------------------------------- */

struct memhub_calls;

/* One request. Set it to zeros before its first use; it may be used again once it is done. */
struct memhub_call {
    void *context;             /* the caller's; not touched */
    bool done;
    uint64_t value;            /* what DONE said; for reads, how many bytes are in the buffer */
    struct memhub_error error; /* code 0 once done is success */

    /* Private. */
    struct memhub_call *next, *previous, *next_stream;
    struct memhub_calls *list;
    uint32_t id;
    uint16_t type, expects, model;
    uint64_t count, moved;
    const uint8_t *source;
    size_t source_left;
    void *result;
    size_t *result_length;
    char *text;
    size_t text_length, text_size;
};

/* Free what the error of a done call holds. It is also done by the next memhub_start_X(). */
void memhub_call_clear(struct memhub_call *call);

/*
 * Wait until the call is done. True if it is: its result is in call->error. False if the time is
 * over; the call is still in flight. With 0 it only looks at what has come.
 */
bool memhub_wait(memhub *hub, struct memhub_call *call, uint32_t timeout_ms);

/*
 * The next call that is done and was not given by memhub_wait() or here; each is given once. NULL
 * if none is in flight or the time is over.
 */
struct memhub_call *memhub_reap(memhub *hub, uint32_t timeout_ms);

/*
 * Ask to cancel a call. It is still answered: with ECANCELED, or with what it had done. Nothing
 * happens if it is done.
 */
int memhub_cancel(memhub *hub, struct memhub_call *call);

/* How many calls are in flight, and how many may be started without waiting for an answer. */
uint32_t memhub_in_flight(const memhub *hub);
uint32_t memhub_room(const memhub *hub);

/* For a poll loop: the descriptor (-1 without one), and whether there is something to send. */
int memhub_fd(const memhub *hub);
bool memhub_wants_to_send(const memhub *hub);

/*
 * Wait up to `timeout_ms` until something can be read or sent, then read and send what is
 * possible. 0 also if the time is over; an error once the connection is broken.
 */
int memhub_pump(memhub *hub, uint32_t timeout_ms);

/* ---- Requests ------------------------------------------------------------------------------ */

/*
 * memhub_start_X(): 0 if the request is on its way. Otherwise the error, which is also in
 * call->error; the call is done and memhub_reap() does not give it. It waits for an answer first
 * if memhub_room() is 0.
 */

/* An open device. */
struct memhub_handle {
    uint32_t number;
    uint16_t model;    /* MEMHUB_MODEL_LP64 or _ILP32 */
    char arch[64];     /* cut to fit */
    char machine[128]; /* cut to fit */
};

/* `path` is "/dev/mem" or "/dev/kmem", or "MACHINE:" and one of them. NULL is EINVAL. */
int memhub_open(memhub *hub, const char *path, unsigned flags, struct memhub_handle *handle);
int memhub_start_open(memhub *hub, struct memhub_call *call, const char *path, unsigned flags,
    unsigned model, struct memhub_handle *handle);

int memhub_close(memhub *hub, const struct memhub_handle *handle);
int memhub_start_close(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle);

/*
 * Transfers, of any size. `*moved` (may be NULL) is how many bytes moved, also when it fails:
 * less than asked for is a short transfer, and 0 of a read is the end. Up to
 * `max_body` - 20 bytes a transfer takes effect at one instant; a longer one in pieces.
 */
int memhub_pread(memhub *hub, const struct memhub_handle *handle, void *buffer, size_t count,
    uint64_t offset, uint64_t *moved);
int memhub_start_pread(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    void *buffer, size_t count, uint64_t offset);
int memhub_read(memhub *hub, const struct memhub_handle *handle, void *buffer, size_t count,
    uint64_t *moved);
int memhub_start_read(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    void *buffer, size_t count);
int memhub_pwrite(memhub *hub, const struct memhub_handle *handle, const void *buffer,
    size_t count, uint64_t offset, uint64_t *moved);
int memhub_start_pwrite(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    const void *buffer, size_t count, uint64_t offset);
int memhub_write(memhub *hub, const struct memhub_handle *handle, const void *buffer,
    size_t count, uint64_t *moved);
int memhub_start_write(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    const void *buffer, size_t count);

/* `*now` (may be NULL) is the new offset, unsigned. */
int memhub_seek(memhub *hub, const struct memhub_handle *handle, int64_t offset, unsigned whence,
    uint64_t *now);
int memhub_start_seek(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    int64_t offset, unsigned whence);

/*
 * As ioctl(2) on /dev/mem: MEMRANGE_GET or MEMRANGE_SET, with a struct mem_range_op in the host's
 * layout whatever the handle's is. For MEMRANGE_GET, `mo_desc` has room for `mo_arg[0]`
 * descriptors. `fence` is the fencing number that the caller believes to hold, or 0; `wait_ms`
 * how long a busy range may be waited for. Any other command is ENOTTY, from the service.
 */
int memhub_ioctl(memhub *hub, const struct memhub_handle *handle, unsigned long command,
    struct mem_range_op *op, uint64_t fence, uint32_t wait_ms);
int memhub_start_ioctl(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    unsigned long command, struct mem_range_op *op, uint64_t fence, uint32_t wait_ms);

/* The whole table: `*list` is to be given to free(). */
int memhub_ranges(memhub *hub, const struct memhub_handle *handle, struct mem_range_desc **list,
    size_t *count);

/* What a MEMRANGE_SET changed. */
struct memhub_slot_change {
    uint32_t slot;
    struct mem_range_desc before, after;
};
struct memhub_msr_change {
    uint32_t number;
    uint64_t before, after;
};
struct memhub_outcome {
    uint64_t fence; /* of the claim that it took or wrote under; 0 for none */
    bool complete;  /* the lists are here; if not, the counts are 0 and only `fence` counts, and
                     * without MEMHUB_FEATURE_SET not even that */
    size_t slot_count, claimed_count, released_count, msr_count;
    struct memhub_slot_change *slots;
    uint32_t *claimed, *released; /* slots newly claimed, and whose claim ended */
    struct memhub_msr_change *msrs;
};

/* Free the lists of an outcome, and set it to zeros. */
void memhub_outcome_clear(struct memhub_outcome *outcome);

/*
 * MEMRANGE_SET with a lease (0 is until released) and an outcome (may be NULL). `arg` is
 * MEMRANGE_SET_UPDATE or _REMOVE. Without MEMHUB_FEATURE_SET it is sent as an ioctl, and a lease
 * is EOPNOTSUPP.
 */
int memhub_set(memhub *hub, const struct memhub_handle *handle, int arg,
    const struct mem_range_desc *desc, uint64_t fence, uint32_t wait_ms, uint32_t lease_ms,
    struct memhub_outcome *outcome);
int memhub_start_set(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    int arg, const struct mem_range_desc *desc, uint64_t fence, uint32_t wait_ms,
    uint32_t lease_ms, struct memhub_outcome *outcome);

/* A claim of addresses. */
struct memhub_claim {
    uint64_t fence, base, length; /* the range may be wider than what was asked for */
    uint32_t lease_ms;            /* from the answer on; 0 is until released */
};

int memhub_claim(memhub *hub, const struct memhub_handle *handle, uint64_t base, uint64_t length,
    uint32_t lease_ms, uint32_t wait_ms, struct memhub_claim *claim);
int memhub_start_claim(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    uint64_t base, uint64_t length, uint32_t lease_ms, uint32_t wait_ms,
    struct memhub_claim *claim);

/* `fence` 0 is any claim of this connection there. */
int memhub_release(memhub *hub, const struct memhub_handle *handle, uint64_t base,
    uint64_t length, uint64_t fence);
int memhub_start_release(memhub *hub, struct memhub_call *call,
    const struct memhub_handle *handle, uint64_t base, uint64_t length, uint64_t fence);

/* `length` 0 names the claim by its fence alone. */
int memhub_renew(memhub *hub, const struct memhub_handle *handle, uint64_t base, uint64_t length,
    uint64_t fence, uint32_t lease_ms, struct memhub_claim *claim);
int memhub_start_renew(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    uint64_t base, uint64_t length, uint64_t fence, uint32_t lease_ms,
    struct memhub_claim *claim);

/* Wait until no other process has a claim on the range. */
int memhub_wait_free(memhub *hub, const struct memhub_handle *handle, uint64_t base,
    uint64_t length, uint32_t wait_ms);
int memhub_start_wait_free(memhub *hub, struct memhub_call *call,
    const struct memhub_handle *handle, uint64_t base, uint64_t length, uint32_t wait_ms);

/* End other processes' claims; `*ended` (may be NULL) is how many. A `reason` of NULL is "". */
int memhub_break(memhub *hub, const struct memhub_handle *handle, uint64_t base, uint64_t length,
    uint64_t fence, const char *reason, uint64_t *ended);
int memhub_start_break(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    uint64_t base, uint64_t length, uint64_t fence, const char *reason);

/* Why an address has its type; the state of the hub. JSON text, to be given to free(). */
int memhub_explain(memhub *hub, const struct memhub_handle *handle, uint64_t address,
    char **json, size_t *length);
int memhub_start_explain(memhub *hub, struct memhub_call *call,
    const struct memhub_handle *handle, uint64_t address, char **json, size_t *length);
/* `what` and `machine` may be "" or NULL for all. */
int memhub_report(memhub *hub, const char *what, const char *machine, char **json,
    size_t *length);
int memhub_start_report(memhub *hub, struct memhub_call *call, const char *what,
    const char *machine, char **json, size_t *length);

int memhub_ping(memhub *hub);
int memhub_start_ping(memhub *hub, struct memhub_call *call, uint64_t cookie);

/* ---- Events -------------------------------------------------------------------------------- */

struct memhub_event {
    uint32_t subscription;
    uint64_t missed;    /* events of it that were dropped before this one, there or here */
    uint64_t sequence;  /* the audit record's number */
    uint64_t base, length; /* length 0: it has no range */
    const char *event;  /* such as "claim.take" */
    const char *detail; /* the record as one JSON object; "" if it is too long for a frame */
};

/*
 * Ask for events of a range (`length` 0: all) of a machine ("" or NULL: all). `queue` is how many
 * the service keeps for a slow reader; 0 lets it choose. `options` is 0 or
 * MEMHUB_SUBSCRIBE_REFUSED (EOPNOTSUPP without its feature).
 */
int memhub_subscribe(memhub *hub, const char *machine, uint64_t base, uint64_t length,
    uint32_t queue, uint32_t options, uint32_t *subscription);
int memhub_start_subscribe(memhub *hub, struct memhub_call *call, const char *machine,
    uint64_t base, uint64_t length, uint32_t queue, uint32_t options);
int memhub_unsubscribe(memhub *hub, uint32_t subscription);
int memhub_start_unsubscribe(memhub *hub, struct memhub_call *call, uint32_t subscription);

/*
 * The next event. True if there is one; false if the time is over, or at the end of a connection.
 * Its texts are valid until the next call of this function, and of memhub_connect().
 */
bool memhub_next_event(memhub *hub, struct memhub_event *event, uint32_t timeout_ms);

/*
 * A member of a JSON object, such as `detail` of an event: of the object itself, not of those
 * inside it. True if it is there and is a number, or a string of digits, from 0 to 2^64-1.
 * False also if `json` or `member` is NULL, here and below.
 */
bool memhub_json_u64(const char *json, const char *member, uint64_t *value);

/* True if the member is a string that fits `size` bytes with its NUL. Escapes are resolved. */
bool memhub_json_string(const char *json, const char *member, char *text, size_t size);

/* ---- Memory that is mapped ----------------------------------------------------------------- */

struct memhub_piece {
    uint64_t base, length; /* physical addresses */
    uint64_t offset;       /* in the file */
    uint32_t kind;         /* MEMHUB_PIECE_* */
};
struct memhub_map {
    int fd;          /* a file to mmap(2), with close-on-exec */
    uint32_t rights; /* what was granted */
    size_t count;
    struct memhub_piece *pieces; /* in address order */
};

/*
 * The memory of a handle's machine as a file; only over a Unix socket. `rights` is
 * MEMHUB_MAP_READ, _WRITE or both for RAM, to be mapped shared, or MEMHUB_MAP_ROM for what is not
 * RAM, to be mapped privately.
 */
int memhub_map(memhub *hub, const struct memhub_handle *handle, unsigned rights,
    struct memhub_map *map);
int memhub_start_map(memhub *hub, struct memhub_call *call, const struct memhub_handle *handle,
    unsigned rights, struct memhub_map *map);

/* The piece with the address, or NULL. */
const struct memhub_piece *memhub_map_find(const struct memhub_map *map, uint64_t address);

/*
 * Where the byte of an address lies in the file, and how many bytes follow it there without a
 * gap, for mmap(2) or pread(2). False if the file does not have it. Open bus (0xff) is the same
 * MiB of the file again and again.
 */
bool memhub_map_locate(const struct memhub_map *map, uint64_t address, uint64_t *offset,
    uint64_t *follow);

/* Close the descriptor and free the list. Mappings stay. */
void memhub_map_clear(struct memhub_map *map);

#ifdef __cplusplus
}
#endif

#endif
