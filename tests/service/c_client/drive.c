/*
 * drive.c - a client that a test drives: a command on each line of standard input, one JSON object
 * on each line of standard output. `code` is what the function returned.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "memhub.h"

#define HANDLES 16
#define CALLS 64

static memhub *hub;
static struct memhub_handle handles[HANDLES];
static struct memhub_call calls[CALLS];
static struct memhub_claim claims[CALLS];
static struct memhub_map map = {.fd = -1};
static char *words[16];
static size_t word_count;

/* "-" and what is missing are the empty text, "NULL" is NULL. */
static const char *word(size_t at)
{
    if (at < word_count && strcmp(words[at], "NULL") == 0)
        return NULL;
    return at < word_count && strcmp(words[at], "-") != 0 ? words[at] : "";
}

static uint64_t number(size_t at)
{
    return strtoull(word(at), NULL, 0);
}

static struct memhub_handle *handle(size_t at)
{
    return &handles[number(at) % HANDLES];
}

static void say_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            printf("\\u%04x", (unsigned)*text);
        else
            putchar(*text);
    putchar('"');
}

static void say_error(const struct memhub_error *error)
{
    printf("\"code\": %d, \"local\": %d, \"again\": %d, \"moved\": %" PRIu64 ", \"name\": ",
        error->code, error->local, error->again, error->moved);
    say_text(error->name);
    printf(", \"kind\": ");
    say_text(error->kind);
    printf(", \"reason\": ");
    say_text(error->reason);
    printf(", \"obstacles\": %s", error->obstacles[0] != '\0' ? error->obstacles : "[]");
}

/* Begin an answer. True if the function succeeded. */
static bool say(int code)
{
    putchar('{');
    if (code != 0) {
        if (code != memhub_last_error(hub)->code)
            abort();
        say_error(memhub_last_error(hub));
        return false;
    }
    printf("\"code\": 0");
    return true;
}

static void say_desc(const struct mem_range_desc *desc)
{
    char owner[sizeof(desc->mr_owner) + 1] = {0};

    memcpy(owner, desc->mr_owner, sizeof(desc->mr_owner));
    printf("[%" PRIu64 ", %" PRIu64 ", %u, ", desc->mr_base, desc->mr_len,
        (unsigned)desc->mr_flags);
    say_text(owner);
    printf("]");
}

static void say_table(const struct mem_range_desc *list, size_t count)
{
    printf(", \"ranges\": [");
    for (size_t i = 0; i < count; i++) {
        printf(i > 0 ? ", " : "");
        say_desc(&list[i]);
    }
    printf("]");
}

static void say_bytes(const uint8_t *bytes, uint64_t count)
{
    uint32_t low = 1, high = 0; /* Adler-32 */

    for (uint64_t i = 0; i < count; i++) {
        low = (low + bytes[i]) % 65521;
        high = (high + low) % 65521;
    }
    printf(", \"moved\": %" PRIu64 ", \"adler\": %" PRIu32 ", \"head\": \"", count,
        high << 16 | low);
    for (uint64_t i = 0; i < count && i < 64; i++)
        printf("%02x", bytes[i]);
    printf("\"");
}

static void say_claim(const struct memhub_claim *claim)
{
    printf(", \"fence\": %" PRIu64 ", \"base\": %" PRIu64 ", \"length\": %" PRIu64
           ", \"lease_ms\": %" PRIu32,
        claim->fence, claim->base, claim->length, claim->lease_ms);
}

static void say_slots(const char *name, const uint32_t *slots, size_t count)
{
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < count; i++)
        printf("%s%" PRIu32, i > 0 ? ", " : "", slots[i]);
    printf("]");
}

static void say_outcome(struct memhub_outcome *outcome)
{
    printf(", \"fence\": %" PRIu64 ", \"complete\": %d, \"slots\": [", outcome->fence,
        outcome->complete);
    for (size_t i = 0; i < outcome->slot_count; i++) {
        printf("%s[%" PRIu32 ", ", i > 0 ? ", " : "", outcome->slots[i].slot);
        say_desc(&outcome->slots[i].before);
        printf(", ");
        say_desc(&outcome->slots[i].after);
        printf("]");
    }
    printf("], \"msrs\": [");
    for (size_t i = 0; i < outcome->msr_count; i++)
        printf("%s[%" PRIu32 ", %" PRIu64 ", %" PRIu64 "]", i > 0 ? ", " : "",
            outcome->msrs[i].number, outcome->msrs[i].before, outcome->msrs[i].after);
    printf("]");
    say_slots("claimed", outcome->claimed, outcome->claimed_count);
    say_slots("released", outcome->released, outcome->released_count);
    memhub_outcome_clear(outcome);
}

static struct mem_range_desc desc_of(size_t at)
{
    struct mem_range_desc desc = {number(at), number(at + 1), (int)number(at + 2), {0}};

    strncpy(desc.mr_owner, word(at + 3), sizeof(desc.mr_owner) - 1);
    return desc;
}

/* ---- The commands -------------------------------------------------------------------------- */

/* connect ADDRESS LABEL TOKEN [FEATURES [MODEL]] */
static void do_connect(void)
{
    const char *token = word(3);
    struct memhub_options options = {.label = word(2), .token = token,
        .token_length = token != NULL ? strlen(token) : 1, .plain = word_count > 4,
        .features = (uint32_t)number(4), .model = (uint16_t)number(5), .timeout_ms = 20000,
        .event_limit = 8};
    const struct memhub_welcome *welcome = memhub_welcomed(hub);

    if (say(memhub_connect(hub, word(1), &options))) {
        printf(", \"version\": %u, \"model\": %u, \"features\": %" PRIu32 ", \"max_body\": %" PRIu32
               ", \"max_in_flight\": %" PRIu32 ", \"max_handles\": %" PRIu32 ", \"server\": ",
            welcome->version, welcome->model, welcome->features, welcome->max_body,
            welcome->max_in_flight, welcome->max_handles);
        say_text(welcome->server);
    }
}

/* open HANDLE PATH FLAGS MODEL */
static void do_open(void)
{
    struct memhub_call call = {0};
    struct memhub_handle *opened = handle(1);

    memhub_start_open(hub, &call, word(2), (unsigned)number(3), (unsigned)number(4), opened);
    memhub_wait(hub, &call, MEMHUB_FOREVER);
    putchar('{');
    say_error(&call.error);
    printf(", \"handle\": %" PRIu32 ", \"model\": %u, \"arch\": ", opened->number, opened->model);
    say_text(opened->arch);
    printf(", \"machine\": ");
    say_text(opened->machine);
    memhub_call_clear(&call);
}

static void do_close(void)
{
    say(memhub_close(hub, handle(1)));
}

/* pread HANDLE OFFSET COUNT; read HANDLE COUNT */
static void do_read(void)
{
    bool at = words[0][0] == 'p';
    size_t count = (size_t)number(at ? 3 : 2);
    uint8_t *bytes = malloc(count + 1);
    uint64_t moved;
    int code = at ? memhub_pread(hub, handle(1), bytes, count, number(2), &moved)
                  : memhub_read(hub, handle(1), bytes, count, &moved);

    say(code);
    say_bytes(bytes, moved);
    free(bytes);
}

/* pwrite HANDLE OFFSET COUNT SEED; write HANDLE COUNT SEED */
static void do_write(void)
{
    bool at = words[0][0] == 'p';
    size_t count = (size_t)number(at ? 3 : 2);
    uint8_t *bytes = malloc(count + 1);
    uint64_t moved;

    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8) + number(at ? 4 : 3));
    say(at ? memhub_pwrite(hub, handle(1), bytes, count, number(2), &moved)
           : memhub_write(hub, handle(1), bytes, count, &moved));
    say_bytes(bytes, moved);
    free(bytes);
}

/* seek HANDLE OFFSET WHENCE */
static void do_seek(void)
{
    uint64_t now;

    if (say(memhub_seek(hub, handle(1), (int64_t)number(2), (unsigned)number(3), &now)))
        printf(", \"now\": %" PRIu64, now);
}

/* get HANDLE COUNT: MEMRANGE_GET as it is, with NULL for a negative count */
static void do_get(void)
{
    struct mem_range_desc list[512];
    int count = (int)strtol(word(2), NULL, 0);
    struct mem_range_op op = {count < 0 ? NULL : list, {abs(count) % 512, 0}};
    int asked = op.mo_arg[0];

    if (say(memhub_ioctl(hub, handle(1), MEMRANGE_GET, &op, 0, 0))) {
        printf(", \"count\": %d", op.mo_arg[0]);
        say_table(list, asked > 0 ? (size_t)op.mo_arg[0] : 0);
    }
}

static void do_ranges(void)
{
    struct mem_range_desc *list;
    size_t count;

    if (say(memhub_ranges(hub, handle(1), &list, &count)))
        say_table(list, count);
    free(list);
}

/* set HANDLE ARG BASE LENGTH FLAGS OWNER FENCE WAIT LEASE */
static void do_set(void)
{
    struct mem_range_desc desc = desc_of(3);
    struct memhub_outcome outcome;

    if (say(memhub_set(hub, handle(1), (int)number(2), &desc, number(7), (uint32_t)number(8),
            (uint32_t)number(9), &outcome)))
        say_outcome(&outcome);
}

/* ioctl-set HANDLE ARG BASE LENGTH FLAGS OWNER FENCE WAIT; ioctl HANDLE COMMAND */
static void do_ioctl(void)
{
    struct mem_range_desc desc = desc_of(3);
    struct mem_range_op op = {&desc, {(int)number(2), 0}};

    if (strcmp(words[0], "ioctl") == 0)
        say(memhub_ioctl(hub, handle(1), (unsigned long)number(2), NULL, 0, 0));
    else
        say(memhub_ioctl(hub, handle(1), MEMRANGE_SET, &op, number(7), (uint32_t)number(8)));
}

/* claim HANDLE BASE LENGTH LEASE WAIT */
static void do_claim(void)
{
    struct memhub_claim claim;

    if (say(memhub_claim(hub, handle(1), number(2), number(3), (uint32_t)number(4),
            (uint32_t)number(5), &claim)))
        say_claim(&claim);
}

/* renew HANDLE BASE LENGTH FENCE LEASE */
static void do_renew(void)
{
    struct memhub_claim claim;

    if (say(memhub_renew(
            hub, handle(1), number(2), number(3), number(4), (uint32_t)number(5), &claim)))
        say_claim(&claim);
}

/* release HANDLE BASE LENGTH FENCE */
static void do_release(void)
{
    say(memhub_release(hub, handle(1), number(2), number(3), number(4)));
}

/* wait HANDLE BASE LENGTH WAIT */
static void do_wait(void)
{
    say(memhub_wait_free(hub, handle(1), number(2), number(3), (uint32_t)number(4)));
}

/* break HANDLE BASE LENGTH FENCE REASON */
static void do_break(void)
{
    uint64_t ended;

    if (say(memhub_break(hub, handle(1), number(2), number(3), number(4), word(5), &ended)))
        printf(", \"ended\": %" PRIu64, ended);
}

/* explain HANDLE ADDRESS; report WHAT MACHINE */
static void do_json(void)
{
    char *json;
    size_t length;

    if (say(words[0][0] == 'e' ? memhub_explain(hub, handle(1), number(2), &json, &length)
                               : memhub_report(hub, word(1), word(2), &json, &length)))
        printf(", \"length\": %zu, \"json\": %s", length, json);
    free(json);
}

/* subscribe MACHINE BASE LENGTH QUEUE OPTIONS */
static void do_subscribe(void)
{
    uint32_t subscription;

    if (say(memhub_subscribe(hub, word(1), number(2), number(3), (uint32_t)number(4),
            (uint32_t)number(5), &subscription)))
        printf(", \"subscription\": %" PRIu32, subscription);
}

static void do_unsubscribe(void)
{
    say(memhub_unsubscribe(hub, (uint32_t)number(1)));
}

/* event TIMEOUT */
static void do_event(void)
{
    struct memhub_event event;
    char machine[32] = "";
    uint64_t fence = 0;

    printf("{\"code\": 0");
    if (!memhub_next_event(hub, &event, (uint32_t)number(1)))
        return;
    printf(", \"subscription\": %" PRIu32 ", \"missed\": %" PRIu64 ", \"sequence\": %" PRIu64
           ", \"base\": %" PRIu64 ", \"length\": %" PRIu64 ", \"event\": ",
        event.subscription, event.missed, event.sequence, event.base, event.length);
    say_text(event.event);
    memhub_json_u64(event.detail, "fence", &fence);
    memhub_json_string(event.detail, "machine", machine, sizeof(machine));
    printf(", \"detail\": %s, \"fence\": %" PRIu64 ", \"machine\": ", event.detail, fence);
    say_text(machine);
}

/* map HANDLE RIGHTS */
static void do_map(void)
{
    memhub_map_clear(&map);
    if (!say(memhub_map(hub, handle(1), (unsigned)number(2), &map)))
        return;
    printf(", \"rights\": %" PRIu32 ", \"pieces\": [", map.rights);
    for (size_t i = 0; i < map.count; i++)
        printf("%s[%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu32 "]", i > 0 ? ", " : "",
            map.pieces[i].base, map.pieces[i].length, map.pieces[i].offset, map.pieces[i].kind);
    printf("]");
}

/* mapped BASE COUNT [SEED]: read or write memory through the file */
static void do_mapped(void)
{
    bool writes = word_count > 3, rom = (map.rights & MEMHUB_MAP_ROM) != 0;
    uint64_t offset, follow, page = 0xfff, count = number(2);
    uint8_t *at;

    if (!memhub_map_locate(&map, number(1), &offset, &follow) || count > follow) {
        printf("{\"code\": 14");
        return;
    }
    at = mmap(NULL, (size_t)(count + (offset & page)), writes ? PROT_READ | PROT_WRITE : PROT_READ,
        rom ? MAP_PRIVATE : MAP_SHARED, map.fd, (off_t)(offset & ~page));
    if (at == MAP_FAILED)
        abort();
    for (uint64_t i = 0; writes && i < count; i++)
        at[(offset & page) + i] = (uint8_t)(i * 7 + (i >> 8) + number(3));
    printf("{\"code\": 0");
    say_bytes(at + (offset & page), count);
    munmap(at, (size_t)(count + (offset & page)));
}

/* Take every call that is in flight; how many, and how many of them did not move `count` bytes. */
static size_t reap(size_t count, size_t *failed)
{
    struct memhub_call *done;
    size_t reaped = 0;

    while ((done = memhub_reap(hub, 20000)) != NULL) {
        reaped++;
        *failed += done->error.code != 0 || done->value != count;
        memhub_call_clear(done);
    }
    return reaped;
}

/*
 * pipeline HANDLE OFFSET COUNT CALLS: writes, and reads of the same bytes, all started at once.
 * What is longer than a frame is read once it is written, as it is written piece by piece.
 */
static void do_pipeline(void)
{
    size_t count = (size_t)number(3), most = (size_t)number(4), failed = 0, reaped = 0;
    uint8_t *out = malloc(count * most), *in = calloc(most, count);
    struct memhub_call *pairs = calloc(most * 2, sizeof(*pairs));
    int code = 0;

    for (size_t i = 0; i < count * most; i++)
        out[i] = (uint8_t)(i * 31 + (i >> 10));
    for (size_t i = 0; i < most && code == 0; i++)
        code = memhub_start_pwrite(
            hub, &pairs[i], handle(1), out + i * count, count, number(2) + i * count);
    if (count > memhub_welcomed(hub)->max_body - 20)
        reaped += reap(count, &failed);
    for (size_t i = 0; i < most && code == 0; i++)
        code = memhub_start_pread(
            hub, &pairs[most + i], handle(1), in + i * count, count, number(2) + i * count);
    reaped += reap(count, &failed);
    printf("{\"code\": %d, \"reaped\": %zu, \"failed\": %zu, \"same\": %d"
           ", \"in_flight\": %" PRIu32,
        code, reaped, failed, memcmp(out, in, count * most) == 0, memhub_in_flight(hub));
    free(out);
    free(in);
    free(pairs);
}

/* json TEXT MEMBER: whether the member is there as a number and as a string */
static void do_member(void)
{
    uint64_t value;
    char text[32];

    printf("{\"code\": 0, \"found\": [%d, %d]", memhub_json_u64(word(1), word(2), &value),
        memhub_json_string(word(1), word(2), text, sizeof(text)));
}

/* start-claim CALL HANDLE BASE LENGTH LEASE WAIT */
static void do_start_claim(void)
{
    size_t at = number(1) % CALLS;
    int code = memhub_start_claim(hub, &calls[at], handle(2), number(3), number(4),
        (uint32_t)number(5), (uint32_t)number(6), &claims[at]);

    memhub_pump(hub, 0);
    printf("{\"code\": %d", code);
}

static void do_cancel(void)
{
    say(memhub_cancel(hub, &calls[number(1) % CALLS]));
}

/* await CALL TIMEOUT */
static void do_await(void)
{
    struct memhub_call *call = &calls[number(1) % CALLS];
    bool done = memhub_wait(hub, call, (uint32_t)number(2));

    printf("{");
    if (!done) {
        printf("\"done\": 0");
        return;
    }
    say_error(&call->error);
    printf(", \"done\": 1");
    if (call->error.code == 0)
        say_claim(&claims[number(1) % CALLS]);
    memhub_call_clear(call);
}

static void do_ping(void)
{
    say(memhub_ping(hub));
}

static void do_goodbye(void)
{
    say(memhub_goodbye(hub, (uint32_t)number(1), word_count > 2 ? word(2) : "the test is over"));
    printf(", \"in_flight\": %" PRIu32, memhub_in_flight(hub));
}

/* ending TIMEOUT: wait for the GOODBYE of the service */
static void do_ending(void)
{
    while (memhub_ending(hub) == NULL && memhub_pump(hub, (uint32_t)number(1)) == 0)
        ;
    printf("{\"code\": 0, \"ending\": ");
    say_text(memhub_ending(hub) != NULL ? memhub_ending(hub) : "");
}

/* files COUNT: how many descriptors this process may have */
static void do_files(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = number(1);
    setrlimit(RLIMIT_NOFILE, &limit);
    printf("{\"code\": 0");
}

static const struct command {
    const char *name;
    void (*run)(void);
} commands[] = {
    {"connect", do_connect},
    {"open", do_open},
    {"close", do_close},
    {"pread", do_read},
    {"read", do_read},
    {"pwrite", do_write},
    {"write", do_write},
    {"seek", do_seek},
    {"get", do_get},
    {"ranges", do_ranges},
    {"set", do_set},
    {"ioctl-set", do_ioctl},
    {"ioctl", do_ioctl},
    {"claim", do_claim},
    {"renew", do_renew},
    {"release", do_release},
    {"wait", do_wait},
    {"break", do_break},
    {"explain", do_json},
    {"report", do_json},
    {"json", do_member},
    {"subscribe", do_subscribe},
    {"unsubscribe", do_unsubscribe},
    {"event", do_event},
    {"map", do_map},
    {"mapped", do_mapped},
    {"pipeline", do_pipeline},
    {"start-claim", do_start_claim},
    {"cancel", do_cancel},
    {"await", do_await},
    {"ping", do_ping},
    {"goodbye", do_goodbye},
    {"ending", do_ending},
    {"files", do_files},
};

int main(void)
{
    char line[4096];

    hub = memhub_new();
    while (fgets(line, sizeof(line), stdin) != NULL) {
        size_t at;

        word_count = 0;
        for (char *part = strtok(line, " \n"); part != NULL && word_count < 16;
             part = strtok(NULL, " \n"))
            words[word_count++] = part;
        for (at = 0; at < sizeof(commands) / sizeof(commands[0]); at++)
            if (word_count > 0 && strcmp(commands[at].name, words[0]) == 0)
                break;
        if (at == sizeof(commands) / sizeof(commands[0]))
            abort();
        commands[at].run();
        puts("}");
        fflush(stdout);
    }
    memhub_free(hub);
    for (size_t i = 0; i < CALLS; i++)
        memhub_call_clear(&calls[i]);
    memhub_map_clear(&map);
    return 0;
}
