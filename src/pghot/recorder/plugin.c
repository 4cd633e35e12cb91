/* SPDX-License-Identifier: Apache-2.0
 *
 * pghot's TCG plugin: counts, for each 4 KiB page that a program touches, its loads and stores, the
 * last-level-cache misses among them, the sequential ones of those, and the stores; and sends the counts to
 * the recorder whenever one slice of the program's virtual time (instructions of all its threads) is over.
 *
 * The plugin interface of QEMU is declared by hand: no header of QEMU is needed and none is used.
 *
 *   access -> filter (per vCPU, direct mapped, stands for L1 and L2; counts its hits)
 *          -> events (per vCPU, so that the lock is taken once for many of them)
 *          -> pages and the set-associative LRU last-level cache (one for all threads, under `lock`)
 *          -> frames on a socket (see decode.py for the layout)
 *
 * Attribution: an access belongs to the line and page of its first byte. An access is what QEMU performs: at
 * most 8 bytes, so a 16-byte vector load is two. Instruction fetches and the kernel's own accesses are not seen.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- QEMU's plugin interface, as far as it is used ------------------------------------------------------ */

#define EXPORT __attribute__((visibility("default")))
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { CB_NO_REGS = 0, MEM_RW = 3 };

void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned));
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
                                      void (*)(unsigned, uint32_t, uint64_t, void *), int, int, void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                              uint64_t));
void qemu_plugin_register_vcpu_syscall_ret_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, int64_t));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *);
bool qemu_plugin_mem_is_store(uint32_t);
const char *qemu_plugin_path_to_binary(void) __attribute__((weak));

/* Version 1 is QEMU 4.2 to 8.2; later ones take 2 and up. The functions above are the same in all. */
EXPORT int qemu_plugin_version = PGHOT_PLUGIN_API;

/* ---- State ------------------------------------------------------------------------------------------------ */

#define LIKELY(x) __builtin_expect(!!(x), 1)
enum {
    FILTER_LINES = 1024, /* 64 KiB; metadata says so (record.py FILTER_BYTES) */
    EVENTS = 256,
    MAX_VCPUS = 4096,
    QUANTA = 16, /* a thread hands in its counts this often in a slice */
    EXTENT_PAGES = 512,
    MAX_EXTENTS = 1 << 17, /* 256 GiB of touched 2 MiB extents */
    EXTENT_SLOTS = 1 << 18,
    MAX_NAMES = 4096,
};
#define MAX_PAGES ((size_t)MAX_EXTENTS * EXTENT_PAGES)
#define NO_LINE UINT64_MAX
#define ONE_STORE (UINT64_C(1) << 32)

struct filter_entry {
    uint64_t line;
    uint64_t counts; /* hits since last handed in: touches low, stores high 32 bits */
};

struct event {
    uint64_t old_line; /* the line that left the filter, with the hits it had */
    uint64_t counts;
    uint64_t new_line; /* the line that came, bit 63: by a store */
};

struct vcpu {
    uint64_t insns; /* not yet handed in */
    uint64_t limit; /* hand in at so many */
    uint64_t slice_insns;
    unsigned events_used;
    struct filter_entry filter[FILTER_LINES];
    struct event events[EVENTS];
};

struct page {
    uint32_t touches, stores, misses, sequential;
};

struct mapping {
    uint64_t start, end;
    uint32_t name;
};

struct region {
    uint64_t first_page, pages, name;
};

static struct vcpu *vcpus[MAX_VCPUS]; /* no holes below vcpus_seen */
static unsigned vcpus_seen;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool recording = true, follow_children, wait_at_end, main_process = true, forked, started, connected_before;
static uint64_t slice_insns, quantum_insns, slice_now, lost, guest_base;
static uint64_t *clock_insns; /* instructions of all recorded processes: the virtual clock, shared */

static struct { uint64_t extent, base; } *extent_slots; /* extent + 1, or 0 when free */
static uint64_t *extents; /* address >> 21 of each, in the order of their first touch */
static uint32_t extents_used, extents_sent;
static struct page *pages;
static uint8_t *last_miss; /* line in the page of its last miss, + 1 */
static uint64_t *touched, *named;

static uint32_t *llc; /* [sets][ways], most recent first; line number + 1 */
static uint32_t llc_sets, llc_ways;

static struct mapping *maps;
static size_t maps_used;
static bool maps_stale = true;
static char *names[MAX_NAMES];
static uint32_t names_used, names_sent;
static struct region *regions;
static size_t regions_used, regions_size;
static uint64_t brk_start, brk_end, stack_address;

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

enum { FRAME_HELLO = 1, FRAME_NAME, FRAME_SLICE, FRAME_NOTE, FRAME_END, FRAME_BASE };
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
        uint64_t start, end;
        int at = 0;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &start, &end, &at) < 2)
            continue;
        char *name = line + at;
        name[strcspn(name, "\n")] = 0;
        if (maps_used == size)
            maps = realloc(maps, (size = size ? 2 * size : 256) * sizeof *maps);
        maps[maps_used++] = (struct mapping){start, end, name_id(name[0] == '/' ? name : "[anon]")};
    }
    if (file)
        fclose(file);
}

static struct mapping *find_mapping(uint64_t address)
{
    size_t low = 0, high = maps_used;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (maps[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < maps_used && maps[low].start <= address ? &maps[low] : NULL;
}

/* The part of the address's mapping inside [low, high), cut at the ends of the heap, which is no mapping of its own. */
static struct mapping name_range(uint64_t address, uint64_t low, uint64_t high)
{
    struct mapping *map = find_mapping(address + guest_base);
    struct mapping found = {address & ~UINT64_C(4095), (address | 4095) + 1, 0};
    if (map)
        found = (struct mapping){map->start - guest_base, map->end - guest_base, map->name};
    if (stack_address >= found.start && stack_address < found.end)
        found.name = name_id("[stack]");
    uint64_t heap_start = brk_start & ~UINT64_C(4095), heap_end = (brk_end + 4095) & ~UINT64_C(4095);
    if (address >= heap_start && address < heap_end)
        found = (struct mapping){heap_start, heap_end, name_id("[heap]")};
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

static void add_region(uint64_t first, uint64_t end, uint32_t name)
{
    if (regions_used == regions_size)
        regions = realloc(regions, (regions_size = regions_size ? 2 * regions_size : 256) * sizeof *regions);
    regions[regions_used++] = (struct region){first, end - first, name};
}

/* Names the page and what else its mapping has in its extent. A page is named once and keeps its name. */
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
        if (at > first)
            add_region(first, at, range.name);
    }
}

/* ---- Counting, under `lock` ------------------------------------------------------------------------------ */

static int64_t dense_page(uint64_t vpn)
{
    uint64_t extent = vpn >> 9;
    size_t slot = (extent * UINT64_C(0x9e3779b97f4a7c15)) >> 46; /* 2^18 slots */
    while (extent_slots[slot].extent != extent + 1) {
        if (extent_slots[slot].extent == 0) {
            if (extents_used == MAX_EXTENTS)
                return -1;
            extent_slots[slot].extent = extent + 1;
            extent_slots[slot].base = (uint64_t)extents_used * EXTENT_PAGES;
            extents[extents_used++] = extent;
            break;
        }
        slot = (slot + 1) % EXTENT_SLOTS;
    }
    return extent_slots[slot].base + vpn % EXTENT_PAGES;
}

static int64_t count(uint64_t line, uint64_t counts)
{
    int64_t page = dense_page(line >> 6);
    if (page < 0) {
        lost += (uint32_t)counts;
        return page;
    }
    touched[page / 64] |= UINT64_C(1) << (page % 64);
    pages[page].touches += (uint32_t)counts;
    pages[page].stores += counts >> 32;
    return page;
}

/* True for a miss. A set is one host cache line at 16 ways; the order in it is exact LRU. */
static bool llc_access(uint32_t line)
{
    uint32_t set = (line ^ line >> 15) % llc_sets, tag = line + 1;
    uint32_t *way = llc + (size_t)set * llc_ways;
    uint32_t at = 0;
    while (at < llc_ways - 1 && way[at] != tag)
        at++;
    bool miss = way[at] != tag;
    memmove(way + 1, way, at * sizeof *way);
    way[0] = tag;
    return miss;
}

static void drain(struct vcpu *cpu)
{
    for (unsigned i = 0; i < cpu->events_used; i++) {
        struct event *event = &cpu->events[i];
        if (event->counts)
            count(event->old_line, event->counts);
        uint64_t line = event->new_line & ~(UINT64_C(1) << 63);
        int64_t page = count(line, 1 + (event->new_line >> 63) * ONE_STORE);
        if (page < 0)
            continue;
        uint32_t in_page = line % 64;
        if (llc_access((uint32_t)page * 64 + in_page)) {
            pages[page].misses++;
            pages[page].sequential += last_miss[page] != 0 && last_miss[page] == in_page;
            last_miss[page] = in_page + 1;
        }
    }
    cpu->events_used = 0;
}

static void hand_in_hits(struct vcpu *cpu)
{
    for (unsigned i = 0; i < FILTER_LINES; i++)
        if (cpu->filter[i].counts) {
            count(cpu->filter[i].line, cpu->filter[i].counts);
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

#define FOR_EACH_TOUCHED(page)                                                          \
    for (size_t word = 0; word < (size_t)extents_used * (EXTENT_PAGES / 64); word++)    \
        for (uint64_t bits = touched[word], page; bits && (page = word * 64 + __builtin_ctzll(bits), 1); bits &= bits - 1)

static void put_rows(uint32_t rows)
{
    size_t column = (size_t)rows * sizeof(uint32_t), base = frame_used;
    if (frame_used + 5 * column > frame_size)
        frame = realloc(frame, frame_size = 2 * (frame_used + 5 * column));
    uint32_t *out = (uint32_t *)(frame + base);
    FOR_EACH_TOUCHED (page) {
        struct page *counts = &pages[page];
        out[0] = page;
        out[rows] = counts->touches;
        out[2 * (size_t)rows] = counts->misses;
        out[3 * (size_t)rows] = counts->sequential;
        out[4 * (size_t)rows] = counts->stores;
        *counts = (struct page){0};
        out++;
    }
    frame_used += 5 * column;
}

static void send_slice(void)
{
    uint32_t rows = 0, cpus = vcpus_seen;
    FOR_EACH_TOUCHED (page) {
        rows++;
        if (!is_named(page))
            name_page(page);
    }
    for (; names_sent < names_used; names_sent++)
        send_text(FRAME_NAME, names_sent, 0, 0, names[names_sent]);
    uint64_t head[6] = {slice_now, lost, extents_used - extents_sent, regions_used, cpus, rows};
    frame_used = 0;
    put(head, sizeof head);
    put(extents + extents_sent, (extents_used - extents_sent) * sizeof *extents);
    put(regions, regions_used * sizeof *regions);
    for (unsigned i = 0; i < cpus; i++) {
        put(&vcpus[i]->slice_insns, sizeof(uint64_t));
        vcpus[i]->slice_insns = 0;
    }
    put_rows(rows);
    memset(touched, 0, (size_t)extents_used * EXTENT_PAGES / 8);
    extents_sent = extents_used;
    regions_used = 0;
    lost = 0;
    send_frame(FRAME_SLICE, frame, frame_used);
}

static void hand_in(struct vcpu *cpu)
{
    drain(cpu);
    hand_in_hits(cpu);
    cpu->slice_insns += cpu->insns;
    uint64_t now = __atomic_add_fetch(clock_insns, cpu->insns, __ATOMIC_RELAXED);
    cpu->insns = 0;
    cpu->limit = quantum_insns - now % quantum_insns;
    if (now / slice_insns != slice_now) {
        send_slice();
        slice_now = now / slice_insns;
    }
}

static void send_rest(void)
{
    for (unsigned i = 0; i < vcpus_seen; i++)
        hand_in(vcpus[i]);
    send_slice();
}

/* ---- Callbacks of the running program -------------------------------------------------------------------- */

/* A process that is not recorded keeps running through the filter; what would be counted is dropped here. */
static void forget(struct vcpu *cpu)
{
    cpu->insns = 0;
    cpu->limit = UINT64_MAX;
    cpu->events_used = 0;
}

static struct vcpu *new_vcpu(void)
{
    struct vcpu *cpu = reserve(sizeof *cpu);
    for (unsigned i = 0; i < FILTER_LINES; i++)
        cpu->filter[i].line = NO_LINE;
    cpu->limit = recording ? quantum_insns : UINT64_MAX;
    return cpu;
}

/* QEMU reuses the index of a thread that ended: its state goes on with the next one. */
static void on_vcpu_start(plugin_id id, unsigned index)
{
    (void)id;
    if (index >= MAX_VCPUS) {
        fprintf(stderr, "pghot plugin: more than %d threads at once\n", MAX_VCPUS);
        _exit(125);
    }
    pthread_mutex_lock(&lock);
    for (; vcpus_seen <= index; vcpus_seen++)
        vcpus[vcpus_seen] = new_vcpu();
    pthread_mutex_unlock(&lock);
}

static __attribute__((noinline)) void miss(struct vcpu *cpu, uint64_t line, bool store)
{
    struct filter_entry *entry = &cpu->filter[line % FILTER_LINES];
    struct event *event = &cpu->events[cpu->events_used++];
    *event = (struct event){entry->line, entry->counts, line | (uint64_t)store << 63};
    *entry = (struct filter_entry){line, 0};
    if (store && !stack_address) /* a program's first store pushes on its stack */
        stack_address = line << 6;
    if (cpu->events_used < EVENTS)
        return;
    if (!recording)
        return forget(cpu);
    pthread_mutex_lock(&lock);
    drain(cpu);
    pthread_mutex_unlock(&lock);
}

static void on_access(unsigned index, uint32_t info, uint64_t address, void *unused)
{
    struct vcpu *cpu = vcpus[index];
    uint64_t line = address >> 6;
    struct filter_entry *entry = &cpu->filter[line % FILTER_LINES];
    bool store = qemu_plugin_mem_is_store(info);
    (void)unused;
    if (LIKELY(entry->line == line))
        entry->counts += 1 + store * ONE_STORE;
    else
        miss(cpu, line, store);
}

static void on_block(unsigned index, void *instructions)
{
    struct vcpu *cpu = vcpus[index];
    cpu->insns += (uintptr_t)instructions;
    if (LIKELY(cpu->insns < cpu->limit))
        return;
    if (!recording)
        return forget(cpu);
    pthread_mutex_lock(&lock);
    hand_in(cpu);
    pthread_mutex_unlock(&lock);
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

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb)
{
    size_t instructions = qemu_plugin_tb_n_insns(tb);
    (void)id;
    for (size_t i = 0; i < instructions; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        if (!started)
            start(insn);
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, CB_NO_REGS, MEM_RW, NULL);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, CB_NO_REGS, (void *)(uintptr_t)instructions);
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

/* ---- System calls that matter to us ------------------------------------------------------------------------ */

static void on_syscall(plugin_id id, unsigned index, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                       uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)index, (void)a5, (void)a6, (void)a7, (void)a8;
    switch (number) {
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
    (void)id, (void)index;
    switch (number) {
    case SYS_brk:
        if (result > 0 && !brk_start)
            brk_start = brk_end = result;
        if (result > 0 && (uint64_t)result > brk_end)
            brk_end = result;
        maps_stale = true;
        break;
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mremap:
        maps_stale = true;
        break;
    }
}

static void on_exit_process(plugin_id id, void *unused)
{
    (void)id, (void)unused;
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

/* The child starts from nothing: its own address space, its own connection, an empty cache. */
static void reset_counts(void)
{
    madvise(extent_slots, EXTENT_SLOTS * sizeof *extent_slots, MADV_DONTNEED);
    madvise(pages, MAX_PAGES * sizeof *pages, MADV_DONTNEED);
    madvise(last_miss, MAX_PAGES, MADV_DONTNEED);
    madvise(touched, MAX_PAGES / 8, MADV_DONTNEED);
    madvise(named, MAX_PAGES / 8, MADV_DONTNEED);
    madvise(llc, (size_t)llc_sets * llc_ways * sizeof *llc, MADV_DONTNEED);
    extents_used = extents_sent = names_sent = 0;
    regions_used = 0;
    lost = 0;
    maps_stale = true;
    for (unsigned i = 0; i < vcpus_seen; i++) {
        vcpus[i]->insns = vcpus[i]->slice_insns = 0;
        vcpus[i]->events_used = 0;
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
        else if (strcmp(argv[i], "sets") == 0)
            llc_sets = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "ways") == 0)
            llc_ways = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "follow") == 0)
            follow_children = *value == '1';
        else if (strcmp(argv[i], "wait") == 0)
            wait_at_end = *value == '1';
    }
    return directory[0] && slice_insns && llc_sets && llc_ways;
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
    pages = reserve(MAX_PAGES * sizeof *pages);
    last_miss = reserve(MAX_PAGES);
    touched = reserve(MAX_PAGES / 8);
    named = reserve(MAX_PAGES / 8);
    llc = reserve((size_t)llc_sets * llc_ways * sizeof *llc);
    name_id("[anon]");
    pthread_atfork(lock_for_fork, unlock_parent, start_child);
    qemu_plugin_register_vcpu_init_cb(id, on_vcpu_start);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_vcpu_syscall_ret_cb(id, on_syscall_return);
    qemu_plugin_register_atexit_cb(id, on_exit_process, NULL);
    return 0;
}
