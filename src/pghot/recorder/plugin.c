/* SPDX-License-Identifier: Apache-2.0
 *
 * pghot's TCG plugin: counts, for each thread and each 4 KiB page that it touches, loads and stores, the misses of
 * several last-level caches among them, how those of the smallest cache follow each other, and the stores; and sends
 * the counts to the recorder whenever one slice of the program's virtual time is over.
 *
 *   access -> group (several accesses of a block from one report of QEMU: plugin_groups.h)
 *          -> filter (per vCPU, direct mapped, stands for L1 and L2; counts its hits)
 *          -> events (per vCPU, so that the lock is taken once for many of them)
 *          -> pages of the thread, and the set-associative LRU caches (one of each for all threads), under `lock`
 *          -> frames on a socket (see decode.py for the layout)
 *
 * Attribution: an access belongs to the line and page of its first byte. An access is what QEMU performs: at
 * most 8 bytes, so a 16-byte vector load is two. A repeated string instruction (rep movs, stos, ...) touches each line
 * once. Instruction fetches and the kernel's own accesses are not seen.
 *
 * Virtual time is what the threads' instructions take, without those that only waited for another thread. A string
 * instruction counts as one for each 8 bytes.
 */
#define _GNU_SOURCE
#include "plugin_groups.h"
#include "plugin_qemu.h"
#include "plugin_sites.h"
#include "plugin_stacks.h"
#include "plugin_waits.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- State ------------------------------------------------------------------------------------------------ */

#define LIKELY(x) __builtin_expect(!!(x), 1)
enum {
    FILTER_LINES = 1024, /* 64 KiB; metadata says so (record_settings.py FILTER_BYTES) */
    EVENTS = 128,
    MAX_VCPUS = 4096,
    MAX_CACHES = 4,
    QUANTA = 16, /* a thread hands in its instructions this often in a slice */
    EXTENT_PAGES = 512,
    MAX_EXTENTS = 1 << 17, /* 256 GiB of touched 2 MiB extents */
    EXTENT_SLOTS = 1 << 18,
    MAX_NAMES = 4096,
    LINE_WORDS = 8,
    STRIDE_SLOTS = 256, /* instructions whose misses are followed, direct mapped */
    RECENT_LINES = 4,   /* lines of the thread's last loads that missed, where an address may have come from */
    NODE_BYTES = 1024,  /* an address within so much of a loaded pointer is made of it */
    WAIT_INSNS = 512,   /* two hints to wait no further apart are of one waiting loop */
};
#define MAX_PAGES ((size_t)MAX_EXTENTS * EXTENT_PAGES)
#define NO_LINE UINT64_MAX
#define STORE_BIT (UINT64_C(1) << 63)

struct filter_entry {
    uint64_t line;
    uint64_t counts; /* hits since last handed in: touches low, stores high 32 bits */
};

struct event {
    uint64_t old_line; /* the line that left the filter, with the hits it had */
    uint64_t counts;
    uint64_t address;  /* what brought the new line; bit 63: a store */
    uint32_t site, loaded; /* which instruction; whether `words` were read */
    uint64_t words[LINE_WORDS]; /* what the new line holds */
};

struct page {
    uint32_t touches, stores, sequential, strided, dependent, misses[MAX_CACHES];
};

struct stride {
    uint32_t site;
    int64_t step;
    uint64_t address;
};

struct vcpu {
    uint64_t insns; /* not yet handed in */
    uint64_t limit; /* hand in at so many */
    uint64_t waited; /* instructions not in `insns`, since they only waited */
    uint64_t waited_from; /* `insns` at the last hint to wait; UINT64_MAX: none since the last handing in */
    uint64_t looped_from; /* likewise at the end of a waiting loop */
    uint64_t slice_insns, slice_waited, slice_seen;
    uint32_t index;
    pid_t tid; /* 0: not introduced to the recorder */
    char name[16];
    uint32_t piece_site; /* a leader of several pieces: those still to be reported, and where the next is */
    uint32_t pieces_left;
    uint64_t piece_address;
    uint64_t string_line[2], string_next[2], string_bytes; /* of loads, of stores */
    unsigned events_used, recent_at;
    uint64_t cached_extent, cached_base;
    struct page *pages;
    uint64_t *touched;
    struct stride strides[STRIDE_SLOTS];
    uint64_t recent[RECENT_LINES][LINE_WORDS];
    struct filter_entry filter[FILTER_LINES];
    struct event events[EVENTS];
    uint64_t arguments[3]; /* of the system call that it is in */
    struct call_stack stack;
};

struct mapping {
    uint64_t start, end, offset; /* bytes from the start of the file */
    uint32_t name;
    bool executable;
};

struct region {
    uint64_t first_page, pages, name, site;
};

struct cache {
    uint32_t *lines; /* [sets][ways], most recent first; line number + 1 */
    uint32_t sets, ways;
};

static struct vcpu *vcpus[MAX_VCPUS]; /* no holes below vcpus_seen */
static unsigned vcpus_seen;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool recording = true, follow_children, wait_at_end, with_stacks, main_process = true, forked, started, connected_before;
static uint64_t slice_insns, quantum_insns, slice_now, lost, guest_base;
static uint64_t *clock_insns; /* instructions of all recorded processes: the virtual clock, shared */

static struct { uint64_t extent, base; } *extent_slots; /* extent + 1, or 0 when free */
static uint64_t *extents; /* address >> 21 of each, in the order of their first touch */
static uint32_t extents_used, extents_sent;
static uint8_t *last_miss; /* line in the page of its last miss, + 1 */
static uint64_t *named;

static struct cache caches[MAX_CACHES]; /* the smallest first */
static uint32_t caches_used, cache_ways;

static struct mapping *maps;
static size_t maps_used;
static bool maps_stale = true;
static char *names[MAX_NAMES];
static uint32_t names_used, names_sent;
static struct region *regions;
static size_t regions_used, regions_size;
static uint64_t brk_start, brk_end, brk_now, stack_address; /* brk_end: the farthest that it was */

static char directory[PATH_MAX], exec_prefix[8192];
static size_t exec_prefix_bytes;
static int channel = -1;

static void *reserve(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        perror("pghot plugin: cannot reserve address space");
        _exit(125);
    }
    return at;
}

/* ---- The channel to the recorder ---------------------------------------------------------------------- */

enum { FRAME_HELLO = 1, FRAME_NAME, FRAME_SLICE, FRAME_NOTE, FRAME_END, FRAME_BASE, FRAME_THREAD, FRAME_SITE };
enum { NOTE_CHILD_NOT_FOLLOWED = 1, NOTE_EXEC_NOT_FOLLOWED, NOTE_EXEC };

static bool connect_channel(void);

static void send_all(const void *data, size_t bytes)
{
    if (channel < 0 && !connect_channel()) {
        if (recording)
            fprintf(stderr, "pghot plugin: lost the recorder; pid %d runs on unrecorded\n", getpid());
        recording = false;
        return;
    }
    for (const char *at = data; bytes > 0;) {
        ssize_t sent = send(channel, at, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            kill(getpid(), SIGKILL); /* the recorder is gone: a recorded program does not run on unwatched */
        at += sent;
        bytes -= sent;
    }
}

static void send_frame(uint32_t type, const void *data, size_t bytes)
{
    uint32_t head[2] = {type, (uint32_t)bytes};
    send_all(head, sizeof head);
    send_all(data, bytes);
}

static void send_text(uint32_t type, uint32_t a, uint32_t b, uint32_t c, const char *text)
{
    size_t length = strlen(text);
    char frame[12 + PATH_MAX];
    uint32_t head[3] = {a, b, c};
    if (length > PATH_MAX)
        length = PATH_MAX;
    memcpy(frame, head, sizeof head);
    memcpy(frame + sizeof head, text, length);
    send_frame(type, frame, sizeof head + length);
}

/* The recorder may want to read the memory before it goes: it answers with a byte, or is gone. */
static void wait_for_recorder(void)
{
    char answer;
    while (wait_at_end && channel >= 0 && recv(channel, &answer, 1, 0) < 0 && errno == EINTR)
        ;
}

static const char *program_path(void)
{
    const char *path = qemu_plugin_path_to_binary ? qemu_plugin_path_to_binary() : NULL;
    return path ? path : "?";
}

/* The descriptor lives in the program's own table: keep it high, out of the way of small numbers. */
static bool connect_channel(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/socket", directory);
    int low = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (low < 0 || connect(low, (struct sockaddr *)&address, sizeof address) < 0) {
        close(low);
        return false;
    }
    channel = fcntl(low, F_DUPFD_CLOEXEC, 900);
    if (channel < 0)
        channel = fcntl(low, F_DUPFD_CLOEXEC, 100);
    close(low);
    if (channel < 0)
        return false;
    uint32_t flags = main_process | forked << 1 | connected_before << 2;
    connected_before = true;
    send_text(FRAME_HELLO, getpid(), getppid(), flags, program_path());
    send_frame(FRAME_BASE, &guest_base, sizeof guest_base);
    return true;
}

/* The program may close our descriptor, as daemons do with all they have: step aside; the next frame reconnects. */
static void step_aside(uint64_t first, uint64_t last)
{
    pthread_mutex_lock(&lock);
    if (channel >= 0 && (uint64_t)channel >= first && (uint64_t)channel <= last) {
        close(channel);
        channel = -1;
    }
    pthread_mutex_unlock(&lock);
}

/* ---- Names: which mapping a page belongs to ------------------------------------------------------------- */

static uint32_t name_id(const char *name)
{
    for (uint32_t i = names_used; i-- > 0;)
        if (strcmp(names[i], name) == 0)
            return i;
    if (names_used == MAX_NAMES)
        return 0;
    names[names_used] = strdup(name);
    return names_used++;
}

static void read_maps(void)
{
    static size_t size;
    FILE *file = fopen("/proc/self/maps", "re");
    char line[PATH_MAX + 128];
    maps_used = 0;
    maps_stale = false;
    while (file && fgets(line, sizeof line, file)) {
        uint64_t start, end, offset;
        char mode[5];
        int at = 0;
        if (sscanf(line, "%lx-%lx %4s %lx %*s %*s %n", &start, &end, mode, &offset, &at) < 4)
            continue;
        char *name = line + at;
        name[strcspn(name, "\n")] = 0;
        if (maps_used == size)
            maps = realloc(maps, (size = size ? 2 * size : 256) * sizeof *maps);
        maps[maps_used++] =
            (struct mapping){start, end, offset, name_id(name[0] == '/' ? name : "[anon]"), mode[2] == 'x'};
    }
    if (file)
        fclose(file);
}

/* The first mapping that ends after the address. */
static size_t first_mapping(uint64_t address)
{
    size_t low = 0, high = maps_used;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (maps[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct mapping *find_mapping(uint64_t address)
{
    size_t at = first_mapping(address);
    return at < maps_used && maps[at].start <= address ? &maps[at] : NULL;
}

/* The part of the address's mapping inside [low, high), cut at the ends of the heap, which is no mapping of its own. */
static struct mapping name_range(uint64_t address, uint64_t low, uint64_t high)
{
    struct mapping *map = find_mapping(address + guest_base);
    struct mapping found = {.start = address & ~UINT64_C(4095), .end = (address | 4095) + 1};
    if (map)
        found = (struct mapping){.start = map->start - guest_base, .end = map->end - guest_base, .name = map->name};
    if (stack_address >= found.start && stack_address < found.end)
        found.name = name_id("[stack]");
    uint64_t heap_start = brk_start & ~UINT64_C(4095), heap_end = (brk_end + 4095) & ~UINT64_C(4095);
    if (address >= heap_start && address < heap_end)
        found = (struct mapping){.start = heap_start, .end = heap_end, .name = name_id("[heap]")};
    else if (found.start < heap_end && found.end > heap_end && address >= heap_end)
        found.start = heap_end;
    else if (found.start < heap_start && found.end > heap_start)
        found.end = heap_start;
    found.start = found.start > low ? found.start : low;
    found.end = found.end < high ? found.end : high;
    return found;
}

static bool is_named(uint64_t page)
{
    return named[page / 64] >> (page % 64) & 1;
}

/* The pages, which begin at `address`, in parts that were mapped at one site each. */
static void add_regions(uint64_t first, uint64_t end, uint64_t address, uint32_t name)
{
    while (first < end) {
        uint64_t stop;
        uint32_t site = site_at(address, &stop) & ~GONE;
        uint64_t pages = (stop - address) >> 12;
        pages = pages < end - first ? pages : end - first;
        if (regions_used == regions_size)
            regions = realloc(regions, (regions_size = regions_size ? 2 * regions_size : 256) * sizeof *regions);
        regions[regions_used++] = (struct region){first, pages, name, site};
        first += pages;
        address += pages << 12;
    }
}

/* Names the page and what else its mapping has in its extent. A page is named once and keeps its name; where sites are
 * asked for, until something else is mapped there. */
static void name_page(uint64_t page)
{
    uint64_t base = page - page % EXTENT_PAGES, low = extents[page / EXTENT_PAGES] << 21;
    if (maps_stale)
        read_maps();
    struct mapping range = name_range(low + ((page - base) << 12), low, low + (UINT64_C(1) << 21));
    uint64_t end = base + ((range.end - low) >> 12);
    for (uint64_t at = base + ((range.start - low) >> 12); at < end; at++) {
        uint64_t first = at;
        for (; at < end && !is_named(at); at++)
            named[at / 64] |= UINT64_C(1) << (at % 64);
        add_regions(first, at, low + ((first - base) << 12), range.name);
    }
}

/* ---- Counting, under `lock` ------------------------------------------------------------------------------ */

/* Where the extent is, or where it belongs: then that is free. */
static size_t extent_slot(uint64_t extent)
{
    size_t slot = (extent * UINT64_C(0x9e3779b97f4a7c15)) >> 46; /* 2^18 slots */
    while (extent_slots[slot].extent && extent_slots[slot].extent != extent + 1)
        slot = (slot + 1) % EXTENT_SLOTS;
    return slot;
}

static int64_t dense_page(uint64_t vpn)
{
    uint64_t extent = vpn >> 9;
    size_t slot = extent_slot(extent);
    if (!extent_slots[slot].extent) {
        if (extents_used == MAX_EXTENTS)
            return -1;
        extent_slots[slot].extent = extent + 1;
        extent_slots[slot].base = (uint64_t)extents_used * EXTENT_PAGES;
        extents[extents_used++] = extent;
    }
    return extent_slots[slot].base + vpn % EXTENT_PAGES;
}

static int64_t count(struct vcpu *cpu, uint64_t line, uint64_t counts)
{
    uint64_t extent = line >> 15;
    if (cpu->cached_extent != extent) {
        int64_t base = dense_page(extent << 9);
        if (base < 0) {
            lost += (uint32_t)counts;
            return base;
        }
        cpu->cached_extent = extent;
        cpu->cached_base = base;
    }
    uint64_t page = cpu->cached_base + (line >> 6) % EXTENT_PAGES;
    cpu->touched[page / 64] |= UINT64_C(1) << (page % 64);
    cpu->pages[page].touches += (uint32_t)counts;
    cpu->pages[page].stores += counts >> 32;
    return page;
}

static uint32_t cache_set(const struct cache *cache, uint32_t line)
{
    return (line ^ line >> 15) % cache->sets;
}

typedef uint32_t four_tags __attribute__((vector_size(16)));
typedef uint64_t two_words __attribute__((vector_size(16)));

/* Where in a set the tag is; the last way when it is not there. Four at a time as long as none of them is it. */
static uint32_t find_way(const uint32_t *way, uint32_t ways, uint32_t tag)
{
    uint32_t at = 0;
    for (; at + 4 <= ways; at += 4) {
        four_tags tags;
        memcpy(&tags, way + at, sizeof tags);
        two_words equal = (two_words)(tags == tag);
        if (equal[0] | equal[1])
            break;
    }
    while (at < ways && way[at] != tag)
        at++;
    return at < ways ? at : ways - 1;
}

/* True for a miss. A set is one host cache line at 16 ways; the order in it is exact LRU. */
static bool cache_access(struct cache *cache, uint32_t line)
{
    uint32_t tag = line + 1;
    uint32_t *way = cache->lines + (size_t)cache_set(cache, line) * cache->ways;
    if (way[0] == tag)
        return false;
    uint32_t at = find_way(way, cache->ways, tag);
    bool miss = way[at] != tag;
    memmove(way + 1, way, at * sizeof *way);
    way[0] = tag;
    return miss;
}

/* Whether a line that the thread loaded lately, and that missed, holds a pointer to just before the address. */
static bool is_dependent(const struct vcpu *cpu, uint64_t address)
{
    bool found = false;
    for (unsigned i = 0; i < RECENT_LINES; i++)
        for (unsigned word = 0; word < LINE_WORDS; word++)
            found |= address - cpu->recent[i][word] < NODE_BYTES;
    return found;
}

static bool is_strided(struct vcpu *cpu, uint32_t site, uint64_t address)
{
    struct stride *stride = &cpu->strides[site % STRIDE_SLOTS];
    int64_t step = stride->site == site ? (int64_t)(address - stride->address) : 0;
    bool strided = step && step == stride->step;
    *stride = (struct stride){site, step, address};
    return strided;
}

/* How a miss of the smallest cache follows earlier ones: the first that holds of in order, strided, dependent. */
static void classify(struct vcpu *cpu, const struct event *event, uint64_t page, uint32_t in_page)
{
    uint64_t address = event->address & ~STORE_BIT;
    bool strided = is_strided(cpu, event->site, address);
    if (last_miss[page] != 0 && last_miss[page] == in_page)
        cpu->pages[page].sequential++;
    else if (strided)
        cpu->pages[page].strided++;
    else if (is_dependent(cpu, address))
        cpu->pages[page].dependent++;
    last_miss[page] = in_page + 1;
    if (event->loaded)
        memcpy(cpu->recent[cpu->recent_at++ % RECENT_LINES], event->words, sizeof event->words);
}

/* By the thread itself: says which thread runs as this vCPU, when that is new or its name is. */
static void introduce(struct vcpu *cpu)
{
    char name[16] = "";
    pid_t tid = syscall(SYS_gettid);
    prctl(PR_GET_NAME, name);
    if (tid == cpu->tid && strcmp(name, cpu->name) == 0)
        return;
    cpu->tid = tid;
    memcpy(cpu->name, name, sizeof name);
    send_text(FRAME_THREAD, cpu->index, tid, 0, name);
}

/* Asks for the sets that the events will look at, so that the host's own misses overlap. */
static void prefetch_sets(const struct vcpu *cpu)
{
    for (unsigned i = 0; i < cpu->events_used; i++) {
        uint64_t line = (cpu->events[i].address & ~STORE_BIT) >> 6;
        int64_t page = dense_page(line >> 6);
        uint32_t number = (uint32_t)page * 64 + line % 64;
        for (uint32_t at = 0; at < caches_used; at++)
            __builtin_prefetch(caches[at].lines + (size_t)cache_set(&caches[at], number) * caches[at].ways, 1);
    }
}

static void drain(struct vcpu *cpu)
{
    prefetch_sets(cpu);
    for (unsigned i = 0; i < cpu->events_used; i++) {
        struct event *event = &cpu->events[i];
        if (event->counts)
            count(cpu, event->old_line, event->counts);
        uint64_t line = (event->address & ~STORE_BIT) >> 6;
        int64_t page = count(cpu, line, 1 + (event->address >> 63) * ONE_STORE);
        if (page < 0)
            continue;
        uint32_t in_page = line % 64, number = (uint32_t)page * 64 + in_page;
        for (uint32_t at = 0; at < caches_used; at++)
            if (cache_access(&caches[at], number)) {
                cpu->pages[page].misses[at]++;
                if (at == 0)
                    classify(cpu, event, page, in_page);
            }
    }
    cpu->events_used = 0;
}

static void hand_in_hits(struct vcpu *cpu)
{
    for (unsigned i = 0; i < FILTER_LINES; i++)
        if (cpu->filter[i].counts) {
            count(cpu, cpu->filter[i].line, cpu->filter[i].counts);
            cpu->filter[i].counts = 0;
        }
}

/* ---- Sending a slice, under `lock` --------------------------------------------------------------------------- */

static char *frame;
static size_t frame_used, frame_size;

static void put(const void *data, size_t bytes)
{
    if (frame_used + bytes > frame_size)
        frame = realloc(frame, frame_size = 2 * (frame_used + bytes));
    memcpy(frame + frame_used, data, bytes);
    frame_used += bytes;
}

#define FOR_EACH_TOUCHED(cpu, page)                                                     \
    for (size_t word = 0; word < (size_t)extents_used * (EXTENT_PAGES / 64); word++)    \
        for (uint64_t bits = (cpu)->touched[word], page;                                \
             bits && (page = word * 64 + __builtin_ctzll(bits), 1); bits &= bits - 1)

enum { FIRST_MISSES = 7 }; /* columns before those of the caches */

static void put_rows(uint32_t rows)
{
    size_t column = rows, bytes = (FIRST_MISSES + caches_used) * column * sizeof(uint32_t);
    if (frame_used + bytes > frame_size)
        frame = realloc(frame, frame_size = 2 * (frame_used + bytes));
    uint32_t *out = (uint32_t *)(frame + frame_used);
    for (uint32_t index = 0; index < vcpus_seen; index++) {
        struct vcpu *cpu = vcpus[index];
        FOR_EACH_TOUCHED (cpu, page) {
            struct page *counts = &cpu->pages[page];
            out[0] = page;
            out[column] = index;
            out[2 * column] = counts->touches;
            out[3 * column] = counts->sequential;
            out[4 * column] = counts->strided;
            out[5 * column] = counts->dependent;
            out[6 * column] = counts->stores;
            for (uint32_t at = 0; at < caches_used; at++)
                out[(FIRST_MISSES + at) * column] = counts->misses[at];
            *counts = (struct page){0};
            out++;
        }
        memset(cpu->touched, 0, (size_t)extents_used * EXTENT_PAGES / 8);
    }
    frame_used += bytes;
}

static void send_site(uint32_t number)
{
    const struct site *site = &sites[number - 1];
    uint32_t head[2] = {number, site->frames};
    frame_used = 0;
    put(head, sizeof head);
    put(site->back, site->frames * sizeof *site->back);
    put(site->offset, site->frames * sizeof *site->offset);
    put(site->name, site->frames * sizeof *site->name);
    send_frame(FRAME_SITE, frame, frame_used);
}

static void send_slice(void)
{
    uint32_t rows = 0, cpus = vcpus_seen;
    for (uint32_t index = 0; index < cpus; index++)
        FOR_EACH_TOUCHED (vcpus[index], page) {
            rows++;
            if (!is_named(page))
                name_page(page);
        }
    for (; names_sent < names_used; names_sent++)
        send_text(FRAME_NAME, names_sent, 0, 0, names[names_sent]);
    for (; sites_sent < sites_used; sites_sent++)
        send_site(sites_sent + 1);
    uint64_t waited = 0;
    for (uint32_t index = 0; index < cpus; index++) {
        waited += vcpus[index]->slice_waited;
        vcpus[index]->slice_waited = 0;
    }
    uint64_t head[9] = {slice_now, lost, extents_used - extents_sent, regions_used, cpus, rows, caches_used, waited,
                        sites_lost};
    frame_used = 0;
    put(head, sizeof head);
    put(extents + extents_sent, (extents_used - extents_sent) * sizeof *extents);
    put(regions, regions_used * sizeof *regions);
    for (uint32_t index = 0; index < cpus; index++) {
        put(&vcpus[index]->slice_insns, sizeof(uint64_t));
        vcpus[index]->slice_insns = 0;
    }
    put_rows(rows);
    extents_sent = extents_used;
    regions_used = 0;
    lost = sites_lost = 0;
    drop_gone();
    send_frame(FRAME_SLICE, frame, frame_used);
}

/* By the thread itself. Its filter's hits follow when a slice is over: until then they are in the filter. */
static void hand_in(struct vcpu *cpu)
{
    drain(cpu);
    cpu->slice_insns += cpu->insns;
    cpu->slice_waited += cpu->waited;
    uint64_t now = __atomic_add_fetch(clock_insns, cpu->insns, __ATOMIC_RELAXED);
    cpu->insns = cpu->waited = 0;
    cpu->waited_from = cpu->looped_from = UINT64_MAX;
    cpu->limit = quantum_insns - now % quantum_insns;
    if (cpu->slice_seen == now / slice_insns)
        return;
    introduce(cpu);
    hand_in_hits(cpu);
    cpu->slice_seen = now / slice_insns;
    if (cpu->slice_seen != slice_now) {
        send_slice();
        slice_now = cpu->slice_seen;
    }
}

static void send_rest(void)
{
    for (unsigned i = 0; i < vcpus_seen; i++) {
        drain(vcpus[i]);
        hand_in_hits(vcpus[i]);
        vcpus[i]->slice_insns += vcpus[i]->insns;
        vcpus[i]->slice_waited += vcpus[i]->waited;
        __atomic_add_fetch(clock_insns, vcpus[i]->insns, __ATOMIC_RELAXED);
        vcpus[i]->insns = vcpus[i]->waited = 0;
    }
    send_slice();
}

/* ---- Callbacks of the running program -------------------------------------------------------------------- */

/* A process that is not recorded keeps running through the filter; what would be counted is dropped here. */
static void forget(struct vcpu *cpu)
{
    cpu->insns = cpu->waited = 0;
    cpu->limit = UINT64_MAX;
    cpu->events_used = 0;
}

static struct vcpu *new_vcpu(uint32_t index)
{
    struct vcpu *cpu = reserve(sizeof *cpu);
    cpu->index = index;
    for (unsigned i = 0; i < FILTER_LINES; i++)
        cpu->filter[i].line = NO_LINE;
    cpu->limit = recording ? quantum_insns : UINT64_MAX;
    cpu->waited_from = cpu->looped_from = cpu->slice_seen = UINT64_MAX;
    cpu->cached_extent = UINT64_MAX;
    cpu->pages = reserve(MAX_PAGES * sizeof *cpu->pages);
    cpu->touched = reserve(MAX_PAGES / 8);
    return cpu;
}

/* QEMU reuses the index of a thread that ended: its state goes on with the next one, but for the calls it is in. */
static void on_vcpu_start(plugin_id id, unsigned index)
{
    (void)id;
    if (index >= MAX_VCPUS) {
        fprintf(stderr, "pghot plugin: more than %d threads at once\n", MAX_VCPUS);
        _exit(125);
    }
    pthread_mutex_lock(&lock);
    for (; vcpus_seen <= index; vcpus_seen++)
        vcpus[vcpus_seen] = new_vcpu(vcpus_seen);
    vcpus[index]->stack.used = 0;
    pthread_mutex_unlock(&lock);
}

/* A line comes into the filter. `there`: an address whose access has just been performed, on a page that is there. */
static __attribute__((noinline)) void miss(struct vcpu *cpu, uint64_t address, uint64_t counts, uint32_t site,
                                           uint64_t there)
{
    uint64_t line = address >> 6;
    bool store = counts >> 32 == (uint32_t)counts; /* of a mixture, a load brings the line */
    struct filter_entry *entry = &cpu->filter[line % FILTER_LINES];
    struct event *event = &cpu->events[cpu->events_used++];
    event->old_line = entry->line;
    event->counts = entry->counts;
    event->address = address | (store ? STORE_BIT : 0);
    event->site = site;
    event->loaded = !store && (address ^ there) >> 12 == 0;
    if (event->loaded)
        memcpy(event->words, (const void *)(uintptr_t)((line << 6) + guest_base), sizeof event->words);
    *entry = (struct filter_entry){line, counts - 1 - store * ONE_STORE};
    if (store && !stack_address) /* a program's first store pushes on its stack */
        stack_address = line << 6;
    if (cpu->events_used < EVENTS)
        return;
    if (!recording)
        return forget(cpu);
    pthread_mutex_lock(&lock);
    if (!cpu->tid)
        introduce(cpu);
    drain(cpu);
    pthread_mutex_unlock(&lock);
}

static inline void touch(struct vcpu *cpu, uint64_t address, uint64_t counts, uint32_t site, uint64_t there)
{
    struct filter_entry *entry = &cpu->filter[(address >> 6) % FILTER_LINES];
    if (LIKELY(entry->line == address >> 6))
        entry->counts += counts;
    else
        miss(cpu, address, counts, site, there);
}

static __attribute__((noinline)) void over_limit(struct vcpu *cpu)
{
    if (!recording)
        return forget(cpu);
    pthread_mutex_lock(&lock);
    hand_in(cpu);
    pthread_mutex_unlock(&lock);
}

static inline void advance(struct vcpu *cpu, uint32_t insns)
{
    cpu->insns += insns;
    if (!LIKELY(cpu->insns < cpu->limit))
        over_limit(cpu);
}

#ifdef PGHOT_CHECK
/* For tests: two sums over the accesses of a block, of those that QEMU reports and of those that its groups stand
 * for. They are equal when all accesses are. */
struct check {
    uint64_t reported, derived, address;
    unsigned bytes;
    uint8_t code[480];
    struct check *next;
};

static struct check *checks;

static uint64_t check_mix(uint64_t address, bool store)
{
    uint64_t z = (address << 1 | store) * UINT64_C(0xbf58476d1ce4e5b9);
    return (z ^ z >> 29) * UINT64_C(0x94d049bb133111eb);
}

static void on_reported(unsigned index, uint32_t info, uint64_t address, void *check)
{
    (void)index;
    __atomic_add_fetch(&((struct check *)check)->reported, check_mix(address, qemu_plugin_mem_is_store(info)),
                       __ATOMIC_RELAXED);
}

static void check_group(const struct group *group, uint64_t leader)
{
    for (uint32_t i = 0; i < group->moving + (uint32_t)group->fixed; i++) {
        uint64_t address = (i < group->moving ? leader : 0) + access_distance(group->accesses[i]);
        __atomic_add_fetch(&group->check->derived, check_mix(address, group->accesses[i] & 1), __ATOMIC_RELAXED);
    }
}

static struct check *new_check(struct qemu_plugin_tb *tb)
{
    struct check *check = calloc(1, sizeof *check);
    check->address = qemu_plugin_tb_vaddr(tb);
    check->next = checks;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        size_t bytes = qemu_plugin_insn_size(insn);
        if (check->bytes + bytes > sizeof check->code)
            break;
        memcpy(check->code + check->bytes, qemu_plugin_insn_haddr(insn), bytes);
        check->bytes += bytes;
    }
    return checks = check;
}

static void print_checks(void)
{
    unsigned blocks = 0, wrong = 0;
    for (struct check *check = checks; check; check = check->next) {
        blocks++;
        if (check->reported == check->derived)
            continue;
        fprintf(stderr, "block %lx:", check->address);
        for (unsigned i = 0; i < check->bytes; i++)
            fprintf(stderr, " %02x", check->code[i]);
        fprintf(stderr, "\n");
        wrong++;
    }
    fprintf(stderr, "checked %u blocks, %u wrong\n", blocks, wrong);
}
#else
static inline void check_group(const struct group *group, uint64_t leader)
{
    (void)group, (void)leader;
}
#endif

static inline void touch_group(struct vcpu *cpu, const struct group *group, uint64_t leader)
{
    uint64_t low = leader + group->low;
    check_group(group, leader);
    if (LIKELY((low & 63) + group->span < 64))
        touch(cpu, low, group->touches + group->stores * ONE_STORE, group_site(group), leader);
    else
        for (uint32_t i = 0; i < group->moving; i++)
            touch(cpu, leader + access_distance(group->accesses[i]), access_counts(group->accesses[i]),
                  group_site(group) + i, leader);
}

static void on_group(unsigned index, uint32_t info, uint64_t address, void *data)
{
    (void)info;
    touch_group(vcpus[index], data, address);
}

/* The first group of its block also stands for the block's instructions, and for its accesses at fixed addresses. */
static void on_first_group(unsigned index, uint32_t info, uint64_t address, void *data)
{
    const struct group *group = data;
    struct vcpu *cpu = vcpus[index];
    (void)info;
    touch_group(cpu, group, address);
    for (uint32_t i = group->moving; i < group->moving + (uint32_t)group->fixed; i++)
        touch(cpu, access_distance(group->accesses[i]), access_counts(group->accesses[i]), group_site(group) + i,
              address);
    advance(cpu, group->insns);
}

/* A group of one access, which needs no memory: its site, the block's instructions when it is the first, a store. */
static void *single(const struct group *group)
{
    return (void *)((uintptr_t)group_site(group) << 16 | (uintptr_t)group->insns << 1 | group->stores);
}

static void on_single(unsigned index, uint32_t info, uint64_t address, void *data)
{
    struct vcpu *cpu = vcpus[index];
    uint64_t packed = (uintptr_t)data;
    (void)info;
    touch(cpu, address, 1 + (packed & 1) * ONE_STORE, packed >> 16, address);
    advance(cpu, packed >> 1 & 0x7fff);
}

/* Of a leader of several pieces the first is the leader. */
static bool is_later_piece(struct vcpu *cpu, const struct group *group, uint64_t address)
{
    if (cpu->pieces_left && cpu->piece_site == group_site(group) && cpu->piece_address == address) {
        cpu->pieces_left--;
        cpu->piece_address += 8;
        return true;
    }
    cpu->piece_site = group_site(group);
    cpu->pieces_left = group->pieces - 1;
    cpu->piece_address = address + 8;
    return false;
}

#define LEADING(name, group_callback, is_leader)                                        \
    static void name(unsigned index, uint32_t info, uint64_t address, void *data)       \
    {                                                                                   \
        if (is_leader)                                                                  \
            group_callback(index, info, address, data);                                 \
    }

LEADING(on_load, on_group, !qemu_plugin_mem_is_store(info))
LEADING(on_store, on_group, qemu_plugin_mem_is_store(info))
LEADING(on_piece, on_group, !is_later_piece(vcpus[index], data, address))
LEADING(on_first_load, on_first_group, !qemu_plugin_mem_is_store(info))
LEADING(on_first_store, on_first_group, qemu_plugin_mem_is_store(info))
LEADING(on_first_piece, on_first_group, !is_later_piece(vcpus[index], data, address))

/* An access of an instruction that plugin_x86.h does not know. */
static void on_access(unsigned index, uint32_t info, uint64_t address, void *site)
{
    touch(vcpus[index], address, qemu_plugin_mem_is_store(info) ? 1 + ONE_STORE : 1, (uintptr_t)site, address);
}

/* What to know of a string instruction: which of its accesses make time pass, loads or stores, and how much. */
struct string {
    uint32_t site, element;
    bool timed_by_stores;
};

/* One element of a repeated string instruction. Its line is touched when it is another than the element before. */
static void on_string(unsigned index, uint32_t info, uint64_t address, void *data)
{
    const struct string *string = data;
    struct vcpu *cpu = vcpus[index];
    bool store = qemu_plugin_mem_is_store(info);
    bool goes_on = address == cpu->string_next[store] || address + 2 * string->element == cpu->string_next[store];
    if (!goes_on || cpu->string_line[store] != address >> 6)
        touch(cpu, address, store ? 1 + ONE_STORE : 1, string->site + store, address);
    cpu->string_line[store] = address >> 6;
    cpu->string_next[store] = address + string->element;
    if (store != string->timed_by_stores)
        return;
    cpu->string_bytes += string->element;
    uint32_t words = cpu->string_bytes / 8;
    cpu->string_bytes %= 8;
    advance(cpu, words);
}

static void on_block(unsigned index, void *instructions)
{
    advance(vcpus[index], (uintptr_t)instructions);
}

/* A block that only waits. */
static void on_waiting_block(unsigned index, void *instructions)
{
    vcpus[index]->waited += (uintptr_t)instructions;
}

/* The thread waits, and waited before, at `from`. What it did since was waiting too when it was that many instructions. */
static void wait_again(struct vcpu *cpu, uint64_t *from, uint64_t least, uint64_t most)
{
    uint64_t since = cpu->insns - *from;
    if (*from <= cpu->insns && since >= least && since <= most) {
        cpu->waited += since;
        cpu->insns = *from;
    }
    *from = cpu->insns;
}

/* The thread says that it waits. When it said so shortly before, all that it did since was waiting. */
static void on_wait(unsigned index, void *unused)
{
    struct vcpu *cpu = vcpus[index];
    (void)unused;
    wait_again(cpu, &cpu->waited_from, 0, WAIT_INSNS);
}

/* A block of a waiting loop of several: the thread has gone around when it executed just so many since. */
static void on_waiting_loop(unsigned index, void *instructions)
{
    struct vcpu *cpu = vcpus[index];
    wait_again(cpu, &cpu->looped_from, (uintptr_t)instructions, (uintptr_t)instructions);
}

static void on_call(unsigned index, uint32_t info, uint64_t slot, void *back)
{
    if (qemu_plugin_mem_is_store(info)) /* and not where a call through memory reads its target */
        enter_call(&vcpus[index]->stack, slot, (uintptr_t)back);
}

static void on_return(unsigned index, uint32_t info, uint64_t slot, void *unused)
{
    (void)info, (void)unused;
    leave_calls(&vcpus[index]->stack, slot);
}

/* At the first instruction: QEMU does not know the program's path any earlier. */
static void start(const struct qemu_plugin_insn *first)
{
    started = true;
    guest_base = (uint64_t)(uintptr_t)qemu_plugin_insn_haddr(first) - qemu_plugin_insn_vaddr(first);
    if (connect_channel())
        return;
    fprintf(stderr, "pghot plugin: no recorder at %s\n", directory);
    _exit(125);
}

static bool is_rep(const struct x86_insn *decoded)
{
    return decoded->kind == STRING && decoded->repeated;
}

static void watch_string(struct qemu_plugin_insn *insn, const struct x86_insn *decoded, uint32_t site)
{
    struct string *string = malloc(sizeof *string);
    if (!string)
        abort();
    *string = (struct string){site, decoded->element, decoded->stores};
    qemu_plugin_register_vcpu_mem_cb(insn, on_string, CB_NO_REGS, MEM_RW, string);
}

/* Reports that no group stands for. */
static void watch_others(struct qemu_plugin_tb *tb, const struct block_plan *plan)
{
#ifdef PGHOT_CHECK
    struct check *check = new_check(tb);
#endif
    size_t delay = find_delay(tb, plan);
    for (size_t i = 0; i < plan->insns; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint32_t site = (uint32_t)qemu_plugin_insn_vaddr(insn);
        const struct x86_insn *decoded = &plan->decoded[i];
        if (is_rep(decoded))
            watch_string(insn, decoded, site);
        else if (decoded->kind == OPAQUE || decoded->kind == STRING)
            qemu_plugin_register_vcpu_mem_cb(insn, on_access, CB_NO_REGS, MEM_RW, (void *)(uintptr_t)site);
        else if (decoded->kind == PAUSE || i == delay)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_wait, CB_NO_REGS, NULL);
#ifdef PGHOT_CHECK
        if (decoded->kind == PLAIN)
            qemu_plugin_register_vcpu_mem_cb(insn, on_reported, CB_NO_REGS, MEM_RW, check);
#endif
    }
}

/* Calls and returns, where somebody asked for sites. */
static void watch_calls(struct qemu_plugin_tb *tb, const struct block_plan *plan)
{
    for (size_t i = 0; sites && i < plan->insns; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t back = qemu_plugin_insn_vaddr(insn) + qemu_plugin_insn_size(insn);
        if (plan->decoded[i].calls)
            qemu_plugin_register_vcpu_mem_cb(insn, on_call, CB_NO_REGS, MEM_RW, (void *)(uintptr_t)back);
        else if (plan->decoded[i].returns)
            qemu_plugin_register_vcpu_mem_cb(insn, on_return, CB_NO_REGS, MEM_RW, NULL);
    }
}

static void watch_group(struct qemu_plugin_tb *tb, const struct draft *draft, struct group *group, bool first)
{
    static access_callback *const callbacks[2][4] = {
        {on_group, on_load, on_store, on_piece},
        {on_first_group, on_first_load, on_first_store, on_first_piece},
    };
    struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, draft->leader);
#ifndef PGHOT_CHECK
    if (draft->leading == ONLY_REPORT && group->moving == 1 && !group->fixed)
        return qemu_plugin_register_vcpu_mem_cb(insn, on_single, CB_NO_REGS, MEM_RW, single(group));
#endif
    qemu_plugin_register_vcpu_mem_cb(insn, callbacks[first][draft->leading], CB_NO_REGS, MEM_RW, group);
}

/* Called by one thread at a time: QEMU translates under a lock. */
static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
    static struct block_plan plan;
    (void)id;
    plan.insns = qemu_plugin_tb_n_insns(tb);
    if (!started)
        start(qemu_plugin_tb_get_insn(tb, 0));
    for (size_t i = 0; i < plan.insns; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        plan.decoded[i] =
            x86_decode(qemu_plugin_insn_haddr(insn), qemu_plugin_insn_size(insn), qemu_plugin_insn_vaddr(insn));
    }
    plan.insns -= plan.decoded[plan.insns - 1].truncated;
    if (!plan.insns)
        return;
    plan_block(&plan);
    watch_others(tb, &plan);
    watch_calls(tb, &plan);
    /* QEMU executes a repeated string instruction as a block for each element; on_string makes its time pass. */
    size_t loop = waiting_loop(tb, &plan);
    bool waits = loop && loop == plan.insns, first = true;
    if (loop && !waits)
        qemu_plugin_register_vcpu_tb_exec_cb(tb, on_waiting_loop, CB_NO_REGS, (void *)loop);
    plan.insns -= is_rep(&plan.decoded[plan.insns - 1]);
    for (uint16_t number = plan.drafts > 1; number < plan.drafts; number++) {
        if (plan.draft[number].leader == NO_INSN)
            continue;
        struct group *group = make_group(&plan, number, first);
        if (waits)
            group->insns = 0;
#ifdef PGHOT_CHECK
        group->check = checks;
#endif
        watch_group(tb, &plan.draft[number], group, first);
        first = false;
    }
    if (waits || first)
        qemu_plugin_register_vcpu_tb_exec_cb(tb, waits ? on_waiting_block : on_block, CB_NO_REGS,
                                             (void *)(uintptr_t)plan.insns);
}

/* ---- New programs in this process: exec ------------------------------------------------------------------ */

static void *guest(uint64_t address)
{
    return address ? (void *)(uintptr_t)(address + guest_base) : NULL;
}

/* What kind of program the file is: 'e' an ELF that this QEMU runs, '#' a script (its line in `line`),
 * 0 cannot be executed at all, '?' something that only the kernel can start. */
static int program_kind(const char *path, char *line, size_t size)
{
    struct stat status;
    Elf64_Ehdr own;
    if (access(path, X_OK) < 0 || stat(path, &status) < 0 || !S_ISREG(status.st_mode))
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, line, size - 1);
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return '?';
    line[got] = 0;
    if (got > 2 && line[0] == '#' && line[1] == '!')
        return '#';
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool known = self >= 0 && read(self, &own, sizeof own) == (ssize_t)sizeof own;
    if (self >= 0)
        close(self);
    if (got < (ssize_t)sizeof own || memcmp(line, ELFMAG, SELFMAG) != 0)
        return 0;
    bool privileged = (status.st_mode & (S_ISUID | S_ISGID)) && geteuid() != status.st_uid;
    return known && ((Elf64_Ehdr *)line)->e_machine == own.e_machine && line[EI_CLASS] == ELFCLASS64 && !privileged
               ? 'e'
               : '?';
}

static char **exec_arguments(const char *program, const char *argv0, const char *const *before, char **guest_argv)
{
    size_t count = 8, used = 0;
    for (size_t i = 0; i < exec_prefix_bytes; i += strlen(exec_prefix + i) + 1)
        count++;
    for (char **arg = guest_argv; arg && *arg; arg++)
        count++;
    char **out = calloc(count, sizeof *out);
    for (size_t i = 0; i < exec_prefix_bytes; i += strlen(exec_prefix + i) + 1)
        out[used++] = exec_prefix + i;
    out[used++] = (char *)"-0";
    out[used++] = (char *)argv0;
    out[used++] = (char *)program;
    for (; *before; before++)
        out[used++] = (char *)*before;
    for (char **arg = guest_argv; arg && *arg; arg++)
        out[used++] = *arg;
    return out;
}

/* Starts the new program under the same QEMU and plugin. Returns when it cannot: then the system call goes on,
 * and fails as it would have, or starts the program unrecorded. */
static void exec_recorded(const char *path, char **argv, char **envp)
{
    char first[256], resolved[PATH_MAX], script[PATH_MAX];
    const char *before[3] = {NULL, NULL, NULL}, *argv0 = argv && argv[0] ? argv[0] : path;
    if (strcmp(path, "/proc/self/exe") == 0)
        path = program_path();
    int kind = program_kind(path, first, sizeof first);
    if (kind == '#') {
        char *rest, *interpreter;
        first[strcspn(first, "\n")] = 0;
        interpreter = strtok_r(first + 2, " \t", &rest);
        char *option = rest ? rest + strspn(rest, " \t") : NULL;
        if (!interpreter)
            return;
        snprintf(script, sizeof script, "%s", path);
        snprintf(resolved, sizeof resolved, "%s", interpreter);
        bool has_option = option && *option;
        char *kept = has_option ? strdup(option) : NULL;
        before[0] = has_option ? kept : script;
        before[1] = has_option ? script : NULL;
        argv0 = path = resolved;
        kind = program_kind(path, first, sizeof first);
    }
    if (kind == 0)
        return;
    pthread_mutex_lock(&lock);
    if (kind == 'e') {
        send_rest();
        send_text(FRAME_NOTE, NOTE_EXEC, getpid(), 0, path);
        wait_for_recorder();
        char **arguments = exec_arguments(path, argv0, before, argv && argv[0] ? argv + 1 : NULL);
        execve(arguments[0], arguments, envp);
        free(arguments);
    }
    send_text(FRAME_NOTE, NOTE_EXEC_NOT_FOLLOWED, getpid(), 0, path);
    pthread_mutex_unlock(&lock);
}

static void note_child(const char *path)
{
    if (!connect_channel())
        return;
    send_text(FRAME_NOTE, NOTE_CHILD_NOT_FOLLOWED, getpid(), 0, path);
    close(channel);
    channel = -1;
}

static void on_exec(const char *path, char **argv, char **envp)
{
    if (!path)
        return;
    if (recording)
        exec_recorded(path, argv, envp);
    else if (access(path, X_OK) == 0)
        note_child(path);
}

static void on_execveat(int directory_fd, const char *path, char **argv, char **envp)
{
    char link[64], target[PATH_MAX];
    if (path && (path[0] == '/' || directory_fd == AT_FDCWD))
        return on_exec(path, argv, envp);
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory_fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0 || !path)
        return;
    snprintf(target + length, sizeof target - length, "%s%s", *path ? "/" : "", path);
    if (!*path)
        target[length] = 0;
    on_exec(target, argv, envp);
}

/* ---- Which call mapped what, under `lock` -------------------------------------------------------------------- */

/* The pages of the range get their names anew when they are touched. */
static void forget_names(uint64_t start, uint64_t end)
{
    uint64_t first = start >> 21, last = (end - 1) >> 21;
    bool many = last - first >= extents_used;
    for (uint64_t i = 0; i < (many ? extents_used : last - first + 1); i++) {
        uint64_t extent = many ? extents[i] : first + i, low = extent << 21, high = low + (UINT64_C(1) << 21);
        size_t slot = extent_slot(extent);
        if (!extent_slots[slot].extent || low >= end || high <= start)
            continue;
        uint64_t base = extent_slots[slot].base;
        uint64_t stop = base + (((end < high ? end : high) - low) >> 12);
        for (uint64_t page = base + (((start > low ? start : low) - low) >> 12); page < stop; page++)
            named[page / 64] &= ~(UINT64_C(1) << (page % 64));
    }
}

/* Which file and where in it each return address is; one that is in no file is of name 0, "[anon]". */
static void find_files(struct site *site)
{
    if (maps_stale)
        read_maps();
    for (uint32_t i = 0; i < site->frames; i++) {
        struct mapping *map = find_mapping(site->back[i] + guest_base);
        if (map) {
            site->name[i] = map->name;
            site->offset[i] = site->back[i] + guest_base - map->start + map->offset;
        }
    }
}

static uint32_t site_here(const struct vcpu *cpu)
{
    uint64_t chain[CHAIN];
    uint32_t frames = call_chain(&cpu->stack, chain);
    struct site *fresh = NULL;
    uint32_t number = frames ? number_site(chain, frames, &fresh) : 0;
    if (fresh)
        find_files(fresh);
    return number;
}

static void forget_code(uint64_t start, uint64_t end)
{
    for (size_t i = first_mapping(start + guest_base); i < maps_used && maps[i].start < end + guest_base; i++)
        if (maps[i].executable)
            return forget_chains();
}

static void range_unmapped(uint64_t start, uint64_t end)
{
    forget_code(start, end);
    place_again(start, end, start, true);
}

static void range_mapped(uint64_t start, uint64_t end, uint32_t site)
{
    forget_code(start, end);
    forget_names(start, end);
    place(start, end, site);
}

static uint64_t page_end(uint64_t address)
{
    return (address + 4095) & ~UINT64_C(4095);
}

static void break_moved(const struct vcpu *cpu, uint64_t now)
{
    uint64_t before = page_end(brk_now), after = page_end(now);
    if (brk_now && after > before)
        range_mapped(before, after, site_here(cpu));
    else if (after < before)
        range_unmapped(after, before);
    brk_now = now;
}

/* What was there before keeps its site wherever it is now, and what is new has that of the call. */
static void range_remapped(const struct vcpu *cpu, uint64_t start, uint64_t old_end, uint64_t to, uint64_t new_end)
{
    uint64_t kept = old_end - start < new_end - to ? old_end - start : new_end - to;
    if (to != start) {
        forget_names(to, to + kept);
        place_again(start, start + kept, to, false);
        range_unmapped(start, old_end);
    } else if (old_end > new_end)
        range_unmapped(new_end, old_end);
    if (new_end > to + kept)
        range_mapped(to + kept, new_end, site_here(cpu));
}

static void memory_changed(const struct vcpu *cpu, int64_t number, uint64_t result)
{
    const uint64_t *given = cpu->arguments;
    switch (number) {
    case SYS_brk:
        break_moved(cpu, result);
        break;
    case SYS_mmap:
        range_mapped(result, page_end(result + given[1]), site_here(cpu));
        break;
    case SYS_munmap:
        range_unmapped(given[0], page_end(given[0] + given[1]));
        break;
    case SYS_mremap:
        range_remapped(cpu, given[0], page_end(given[0] + given[1]), result, page_end(result + given[2]));
        break;
    }
}

/* ---- System calls that matter to us ------------------------------------------------------------------------ */

static void on_syscall(plugin_id id, unsigned index, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                       uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)a5, (void)a6, (void)a7, (void)a8;
    memcpy(vcpus[index]->arguments, (uint64_t[]){a1, a2, a3}, sizeof vcpus[index]->arguments);
    switch (number) {
    case SYS_sched_yield:
        on_wait(index, NULL);
        break;
    case SYS_execve:
        on_exec(guest(a1), guest(a2), guest(a3));
        break;
    case SYS_execveat:
        on_execveat((int)a1, guest(a2), guest(a3), guest(a4));
        break;
    case SYS_close:
        step_aside(a1, a1);
        break;
#ifdef SYS_dup2
    case SYS_dup2:
#endif
    case SYS_dup3:
        step_aside(a2, a2);
        break;
    case SYS_close_range:
        step_aside(a1, a2);
        break;
    }
}

static void on_syscall_return(plugin_id id, unsigned index, int64_t number, int64_t result)
{
    (void)id;
    switch (number) {
    case SYS_brk:
        if (result > 0 && !brk_start)
            brk_start = brk_end = result;
        if (result > 0 && (uint64_t)result > brk_end)
            brk_end = result;
        break;
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mremap:
        break;
    default:
        return;
    }
    maps_stale = true;
    bool failed = result < 0 && result > -4096;
    if (!sites || !recording || failed)
        return;
    pthread_mutex_lock(&lock);
    memory_changed(vcpus[index], number, result);
    pthread_mutex_unlock(&lock);
}

static void on_exit_process(plugin_id id, void *unused)
{
    (void)id, (void)unused;
#ifdef PGHOT_CHECK
    print_checks();
#endif
    if (!recording)
        return;
    pthread_mutex_lock(&lock); /* kept: nothing is counted after this */
    send_rest();
    send_frame(FRAME_END, NULL, 0);
    wait_for_recorder();
    recording = false;
    pthread_mutex_unlock(&lock);
}

/* ---- fork ------------------------------------------------------------------------------------------------------ */

static void lock_for_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void unlock_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static size_t cache_bytes(const struct cache *cache)
{
    return (size_t)cache->sets * cache->ways * sizeof *cache->lines;
}

/* The child starts from nothing: its own address space, its own connection, an empty cache. */
static void reset_counts(void)
{
    madvise(extent_slots, EXTENT_SLOTS * sizeof *extent_slots, MADV_DONTNEED);
    madvise(last_miss, MAX_PAGES, MADV_DONTNEED);
    madvise(named, MAX_PAGES / 8, MADV_DONTNEED);
    for (uint32_t at = 0; at < caches_used; at++)
        madvise(caches[at].lines, cache_bytes(&caches[at]), MADV_DONTNEED);
    extents_used = extents_sent = names_sent = sites_sent = 0;
    regions_used = 0;
    lost = sites_lost = 0;
    maps_stale = true;
    for (unsigned i = 0; i < vcpus_seen; i++) {
        vcpus[i]->insns = vcpus[i]->slice_insns = vcpus[i]->waited = vcpus[i]->slice_waited = 0;
        vcpus[i]->events_used = vcpus[i]->tid = 0;
        vcpus[i]->cached_extent = vcpus[i]->slice_seen = UINT64_MAX;
        madvise(vcpus[i]->pages, MAX_PAGES * sizeof *vcpus[i]->pages, MADV_DONTNEED);
        madvise(vcpus[i]->touched, MAX_PAGES / 8, MADV_DONTNEED);
        for (unsigned e = 0; e < FILTER_LINES; e++)
            vcpus[i]->filter[e] = (struct filter_entry){NO_LINE, 0};
    }
}

static void start_child(void)
{
    if (channel >= 0)
        close(channel);
    channel = -1;
    main_process = false;
    forked = true;
    connected_before = false;
    if (recording && follow_children) {
        reset_counts();
        slice_now = __atomic_load_n(clock_insns, __ATOMIC_RELAXED) / slice_insns;
        recording = connect_channel();
    } else if (recording) {
        recording = false;
        note_child("");
    }
    for (unsigned i = 0; !recording && i < vcpus_seen; i++)
        forget(vcpus[i]);
    pthread_mutex_init(&lock, NULL);
}

/* ---- Start --------------------------------------------------------------------------------------------------------- */

static void read_exec_prefix(void)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/prefix", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, exec_prefix, sizeof exec_prefix - 1);
    if (fd >= 0)
        close(fd);
    exec_prefix_bytes = got > 0 ? got : 0;
}

static bool read_arguments(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            return false;
        *value++ = 0;
        if (strcmp(argv[i], "dir") == 0)
            snprintf(directory, sizeof directory, "%s", value);
        else if (strcmp(argv[i], "slice") == 0)
            slice_insns = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "sets") == 0) /* of each cache, with + between them */
            for (char *next; *value && caches_used < MAX_CACHES; value = *next ? next + 1 : next)
                caches[caches_used++].sets = strtoul(value, &next, 10);
        else if (strcmp(argv[i], "ways") == 0)
            cache_ways = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "follow") == 0)
            follow_children = *value == '1';
        else if (strcmp(argv[i], "wait") == 0)
            wait_at_end = *value == '1';
        else if (strcmp(argv[i], "stacks") == 0)
            with_stacks = *value == '1';
    }
    return directory[0] && slice_insns && caches_used && cache_ways;
}

static bool map_clock(void)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/clock", directory);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    clock_insns = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return clock_insns != MAP_FAILED;
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    if (!read_arguments(argc, argv) || !map_clock()) {
        fprintf(stderr, "pghot plugin: bad arguments\n");
        return 1;
    }
    read_exec_prefix();
    quantum_insns = slice_insns / QUANTA ? slice_insns / QUANTA : 1;
    slice_now = __atomic_load_n(clock_insns, __ATOMIC_RELAXED) / slice_insns;
    extent_slots = reserve(EXTENT_SLOTS * sizeof *extent_slots);
    extents = reserve(MAX_EXTENTS * sizeof *extents);
    last_miss = reserve(MAX_PAGES);
    named = reserve(MAX_PAGES / 8);
    for (uint32_t at = 0; at < caches_used; at++) {
        caches[at].ways = cache_ways;
        caches[at].lines = reserve(cache_bytes(&caches[at]));
    }
    if (with_stacks) {
        sites = reserve(MAX_SITES * sizeof *sites);
        site_slots = reserve(SITE_SLOTS * sizeof *site_slots);
        placed = reserve(MAX_PLACED * sizeof *placed);
    }
    name_id("[anon]");
    pthread_atfork(lock_for_fork, unlock_parent, start_child);
    qemu_plugin_register_vcpu_init_cb(id, on_vcpu_start);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_vcpu_syscall_ret_cb(id, on_syscall_return);
    qemu_plugin_register_atexit_cb(id, on_exit_process, NULL);
    return 0;
}
