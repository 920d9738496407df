/*
 * memhub-demo.c - what a test rig does with a memhub service.
 *
 *	memhub-demo ADDRESS [TOKEN]
 *
 * It sets a range of a machine's table to write-combining and says what changed, reads and writes
 * memory in many requests at once, watches for changes, maps the memory, and says who stands in its
 * way if it is refused.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "memhub.h"

#define WINDOW UINT64_C(0xe0000000)
#define WINDOW_LENGTH UINT64_C(0x1000000)
#define PAGE 4096
#define PAGES 32
#define ATTEMPTS 5

/* Text of a service may hold anything: what could move a terminal's cursor is shown as \xNN. */
static void print_text(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
            printf("\\x%02x", (unsigned char)*text);
        else
            putchar(*text);
}

static bool failed(memhub *hub, const char *what, int code)
{
    const struct memhub_error *error = memhub_last_error(hub);

    if (code == 0)
        return false;
    printf("%s: %s: ", what, error->name);
    print_text(error->reason);
    if (error->obstacles[0] != '\0') {
        printf("\n  in the way: ");
        print_text(error->obstacles);
    }
    putchar('\n');
    return true;
}

/* Connect, and try again while the service says that this may help. */
static int connect_patiently(memhub *hub, const char *address, struct memhub_options *options)
{
    struct timespec pause = {0, 200 * 1000 * 1000};
    int code = memhub_connect(hub, address, options);

    for (int i = 1; i < ATTEMPTS && code != 0 && memhub_last_error(hub)->again; i++) {
        nanosleep(&pause, NULL);
        code = memhub_connect(hub, address, options);
    }
    return code;
}

static void show_table(memhub *hub, const struct memhub_handle *mem)
{
    struct mem_range_desc *table;
    size_t count, active = 0;

    if (failed(hub, "table", memhub_ranges(hub, mem, &table, &count)))
        return;
    for (size_t i = 0; i < count; i++)
        active += (table[i].mr_flags & MDF_ACTIVE) != 0;
    printf("table      %zu slots, %zu active\n", count, active);
    free(table);
}

/* A range becomes write-combining, under a lease: if this program dies, others may go on. */
static void set_range(memhub *hub, const struct memhub_handle *mem)
{
    struct mem_range_desc desc = {WINDOW, WINDOW_LENGTH, MDF_WRITECOMBINE, "demo"};
    struct memhub_outcome outcome;

    if (failed(hub, "set", memhub_set(hub, mem, MEMRANGE_SET_UPDATE, &desc, 0, 1000, 60000,
                               &outcome)))
        return;
    printf("set        fence %" PRIu64 ", %zu slots, %zu registers\n", outcome.fence,
        outcome.slot_count, outcome.msr_count);
    memhub_outcome_clear(&outcome);
}

static void explain(memhub *hub, const struct memhub_handle *mem)
{
    char *json, type[16], why[256];
    size_t length;

    if (failed(hub, "explain", memhub_explain(hub, mem, WINDOW, &json, &length)))
        return;
    if (memhub_json_string(json, "type", type, sizeof(type)) &&
        memhub_json_string(json, "why", why, sizeof(why))) {
        printf("explain    0x%" PRIx64 " is %s: ", WINDOW, type);
        print_text(why);
        putchar('\n');
    }
    free(json);
}

/* Writes and reads of many pages, all on their way at once; answers come in any order. */
static void pipeline(memhub *hub, const struct memhub_handle *mem)
{
    static uint8_t out[PAGES][PAGE], in[PAGES][PAGE];
    static struct memhub_call writes[PAGES], reads[PAGES];
    struct memhub_call *done;
    unsigned answers = 0, refused = 0;

    for (unsigned i = 0; i < PAGES; i++) {
        memset(out[i], (int)i, PAGE);
        memhub_start_pwrite(hub, &writes[i], mem, out[i], PAGE, (uint64_t)i * PAGE);
        memhub_start_pread(hub, &reads[i], mem, in[i], PAGE, (uint64_t)i * PAGE);
    }
    while ((done = memhub_reap(hub, 10000)) != NULL) {
        answers++;
        refused += done->error.code != 0;
        memhub_call_clear(done);
    }
    printf("pipeline   %u answers, %u refused, %s\n", answers, refused,
        memcmp(out, in, sizeof(out)) == 0 ? "read back as written" : "read back differently");
}

static void map_memory(memhub *hub, const struct memhub_handle *mem)
{
    struct memhub_map map;
    uint64_t offset, follow;
    const uint8_t *page;

    if (failed(hub, "map", memhub_map(hub, mem, MEMHUB_MAP_READ, &map)))
        return;
    if (memhub_map_locate(&map, PAGE, &offset, &follow) && follow >= PAGE) {
        page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, map.fd, (off_t)offset);
        if (page != MAP_FAILED) {
            printf("map        %zu pieces; the byte at 0x%x is %u\n", map.count, PAGE, page[0]);
            munmap((void *)page, PAGE);
        }
    }
    memhub_map_clear(&map);
}

/* Both events of what this program does to its range, as the service drops what waits for a reader
 * who unsubscribes. */
static void watch(memhub *hub, const struct memhub_handle *mem, uint32_t subscription)
{
    struct mem_range_desc desc = {WINDOW, WINDOW_LENGTH, MDF_WRITECOMBINE, "demo"};
    struct memhub_event event;

    if (failed(hub, "remove",
            memhub_set(hub, mem, MEMRANGE_SET_REMOVE, &desc, 0, 0, 0, NULL)))
        return;
    for (int i = 0; i < 2 && memhub_next_event(hub, &event, 5000); i++) {
        printf("event      %" PRIu64 " ", event.sequence);
        print_text(event.event);
        printf(" 0x%" PRIx64 "+0x%" PRIx64 "\n", event.base, event.length);
    }
    failed(hub, "unsubscribe", memhub_unsubscribe(hub, subscription));
}

int main(int argc, char **argv)
{
    struct memhub_options options = {.label = "memhub-demo"};
    memhub *hub = memhub_new();
    struct memhub_handle mem;
    uint32_t subscription;
    bool bad;

    if (argc < 2 || hub == NULL) {
        fprintf(stderr, "usage: memhub-demo ADDRESS [TOKEN]\n");
        return 2;
    }
    if (argc > 2) {
        options.token = argv[2];
        options.token_length = strlen(argv[2]);
    }
    bad = failed(hub, "connect", connect_patiently(hub, argv[1], &options)) ||
        failed(hub, "open",
            memhub_open(hub, "/dev/mem", MEMHUB_OPEN_READ | MEMHUB_OPEN_WRITE, &mem)) ||
        failed(hub, "subscribe",
            memhub_subscribe(hub, "", WINDOW, WINDOW_LENGTH, 0, 0, &subscription));
    if (!bad) {
        printf("connected  ");
        print_text(memhub_welcomed(hub)->server);
        printf(", machine ");
        print_text(mem.machine);
        printf(" (");
        print_text(mem.arch);
        printf(")\n");
        show_table(hub, &mem);
        set_range(hub, &mem);
        explain(hub, &mem);
        pipeline(hub, &mem);
        if ((memhub_welcomed(hub)->features & MEMHUB_FEATURE_MAP) != 0)
            map_memory(hub, &mem);
        watch(hub, &mem, subscription);
        bad = failed(hub, "goodbye", memhub_goodbye(hub, 5000, "the demo is over"));
    }
    memhub_free(hub);
    return bad ? 1 : 0;
}
