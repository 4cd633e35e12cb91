/* The tests' program: memory on a chosen node of which a part is hot.
 *
 * program MIB HOT_SHARE NODE [write] [huge] [mixed] [flush] [text] [lock] [locked] [idle] [rest=MS] [calm]
 *         [run=PAGES] [stray=N] [pace=MS] [passes=N] [progress=FILE] [random] [threads=N] [mappings=N] [cold=N] [folios] [bound] [preferred]
 *         [shm | sysv | memfd | hugetlb[=private] | tmpfs=FILE | file=FILE] [forks=N]
 *
 * Prints one line of JSON: pid, start address, pages, and the run length of hot pages. Page p is hot when
 * (p / run) % every == set. Twice a second its passes over the hot set go to the progress file, with the time. It goes
 * on until its parent ends, or for so many passes.
 * With "flush" the CPU's TLB is emptied before each pass: what the page tables say of accesses is true again.
 * text: the memory holds words in random order, which compress about as prose does; at SIGTERM a second line says whether
 * they are still what they were. lock: the last sixteenth of the memory is locked; locked: all of it. mixed: the first
 * half of it is huge pages. bound, preferred: it stays under a policy for its node. stray=N: beside each pass over the hot
 * set N pages anywhere are touched. pace=MS: it waits so long after each page.
 * rest=MS: each thread rests after a pass, or 4096 touches: the emulator's CPUs are needed elsewhere. calm: for 20 ms,
 * for sources that look seldom. The kernel's scanner for hint faults goes by the program's own CPU time.
 * random: it touches pages of the hot set in random order, at random offsets, as most programs do; a pass is as many
 * touches as there are hot pages. threads=N: so many do that. mappings=N: it has so many more mappings of a page each,
 * which it does not touch again. cold=N: at most so many pages anywhere are touched each minute.
 * folios: its folios are as large as the kernel likes.
 * shm, sysv, memfd, tmpfs=FILE: its memory is shared: anonymous, of System V, a memfd, a file of a tmpfs, which
 * another program may have made (or of a hugetlbfs). hugetlb: pages of the hugetlb pool, shared or private.
 * file=FILE: it maps a file privately and reads it. forks=N: so many children do as it does.
 * idle: it touches nothing after its start and takes no CPU; its memory is there.
 * SIGUSR1 moves the hot set; SIGUSR2 unmaps the upper half; SIGHUP executes the program anew; SIGALRM forks a child
 * that goes on beside it; SIGURG binds the memory to the node; SIGWINCH makes huge pages of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RUN 16 /* hot pages come in runs of so many */
#define SPARE (64 << 12) /* more than the 33 pages up to which Linux on x86 forgets single addresses */

static volatile sig_atomic_t set, halve, again, split, stop, bind, collapse;
static void on(int signal)
{
	if (signal == SIGUSR1) set++;
	if (signal == SIGUSR2) halve = 1;
	if (signal == SIGHUP) again = 1;
	if (signal == SIGALRM) split = 1;
	if (signal == SIGTERM) stop = 1;
	if (signal == SIGURG) bind = 1;
	if (signal == SIGWINCH) collapse = 1;
}

static const char *words[] = {
	"the ", "page ", "of ", "memory ", "that ", "nobody ", "has ", "read ", "for ", "a ", "while ", "goes ", "where ",
	"it ", "takes ", "less ", "room, ", "and ", "comes ", "back ", "when ", "its ", "program ", "asks. ", "tier ", "hot ",
	"cold ", "node ", "promotion ", "kernel ", "latency ", "0x7f3a ", "1234 ", "\n", "swap ", "compressed ",
};

static unsigned next_random(unsigned *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	return *state ^= *state << 5;
}

static void fill_with_words(char *memory, size_t bytes)
{
	unsigned state = 2463534242u;
	for (size_t at = 0; at < bytes;) {
		const char *word = words[next_random(&state) % (sizeof words / sizeof *words)];
		size_t length = strlen(word);
		if (length > bytes - at)
			length = bytes - at;
		memcpy(memory + at, word, length);
		at += length;
	}
}

/* Of everything but the first byte of each page, which touches may change. */
static unsigned long checksum(const char *memory, size_t bytes)
{
	unsigned long sum = 14695981039346656037ul;
	for (size_t at = 8; at < bytes; at += 8)
		if (at & 4095)
			sum = (sum ^ *(const unsigned long *)(memory + at)) * 1099511628211ul;
	return sum;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Take the right to write from pages that were written, and give it back: the first empties the TLB.
 *
 * A CPU sets the accessed bit of a page when it fills the TLB, and not again while the entry stays. Linux clears the
 * bit without a flush. A real TLB forgets soon, the emulator's holds whatever one program touches.
 */
static void flush(char *spare)
{
	mprotect(spare, SPARE, PROT_READ);
	mprotect(spare, SPARE, PROT_READ | PROT_WRITE);
	for (size_t at = 0; at < SPARE; at += 1 << 12)
		((volatile char *)spare)[at]++;
}

/* What threads share. */
static char *memory;
static size_t pages;
static int every, run = RUN, writes, rest_ms;

/* Leave the CPU to others: under emulation they need it. */
static void rest(void)
{
	if (rest_ms)
		usleep(rest_ms * 1000);
}

/* Touch any byte of a page. */
static unsigned long touch(size_t page, unsigned random)
{
	volatile char *byte = memory + (page << 12 | (random >> 7 & 4095));
	return writes ? (unsigned long)++*byte : (unsigned long)*byte;
}

/* Touch so many hot pages in random order. */
static unsigned long wander(size_t touches, unsigned *state)
{
	unsigned long sum = 0;
	size_t runs = pages / run / every;
	for (size_t i = 0; i < touches; i++) {
		size_t first = (next_random(state) % runs * every + set % every) * run;
		unsigned random = next_random(state);
		sum += touch(first + random % run, random);
	}
	return sum;
}

static void *wander_on(void *number)
{
	unsigned state = 2463534242u + 7919u * (unsigned)(size_t)number;
	unsigned long sum = 0;
	while (!stop) {
		sum += wander(4096, &state);
		rest();
	}
	return (void *)sum;
}

/* Put memory that is shared, or of a file, where there is room for it. */
static void share(const char *how, size_t bytes)
{
	int shared = MAP_SHARED | MAP_FIXED, fd = -1;
	void *there;
	if (!strcmp(how, "sysv")) {
		int id = shmget(IPC_PRIVATE, bytes, 0600);
		munmap(memory, bytes);
		there = shmat(id, memory, 0);
		shmctl(id, IPC_RMID, NULL);
	} else {
		if (!strcmp(how, "shm"))
			shared |= MAP_ANONYMOUS;
		else if (!strcmp(how, "memfd"))
			fd = memfd_create("program", 0);
		else if (!strcmp(how, "hugetlb"))
			shared |= MAP_ANONYMOUS | MAP_HUGETLB;
		else if (!strcmp(how, "hugetlb=private"))
			shared = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB;
		else if (!strncmp(how, "tmpfs=", 6))
			fd = open(how + 6, O_RDWR | O_CREAT, 0600);
		else {
			fd = open(how + 5, O_RDONLY);
			shared = MAP_PRIVATE | MAP_FIXED;
		}
		struct stat facts;
		if (fd >= 0 && !fstat(fd, &facts) && (size_t)facts.st_size < bytes && ftruncate(fd, bytes))
			perror("ftruncate");
		there = mmap(memory, bytes, PROT_READ | PROT_WRITE, shared, fd, 0);
	}
	if (there != memory) {
		perror(how);
		exit(1);
	}
}

/* A mapping that the kernel joins to no other. Joined to the memory, it would be split off with each flush, and the
 * kernel's scanner for hint faults would take the memory for new each time, and wait (scan_delay_ms). */
static char *map_apart(size_t bytes)
{
	char *apart = mmap(NULL, bytes + (2 << 12), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(apart + (1 << 12), bytes, PROT_READ | PROT_WRITE);
	madvise(apart + (1 << 12), bytes, MADV_NOHUGEPAGE);
	return apart + (1 << 12);
}

/* Mappings that the kernel cannot join: between two lies one without rights. */
static void map_more(size_t mappings)
{
	char *more = mmap(NULL, 2 * mappings << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < mappings; i++) {
		more[2 * i << 12] = 1;
		mprotect(more + ((2 * i + 1) << 12), 1 << 12, PROT_NONE);
	}
}

int main(int argc, char **argv)
{
	size_t bytes = (size_t)atol(argv[1]) << 20;
	int node = atoi(argv[3]), huge = 0, flushes = 0, text = 0, lock = 0, idle = 0, stray = 0, pace = 0;
	int folios = 0, randomly = 0, threads = 1, mappings = 0, cold = 0;
	pages = bytes >> 12;
	every = (int)(1 / atof(argv[2]) + 0.5);
	unsigned random = 88172645u;
	unsigned long most_passes = 0;
	const char *progress = NULL, *how = NULL;
	int forks = 0, mixed = 0, policy = 0;
	for (int i = 4; i < argc; i++) {
		if (!strcmp(argv[i], "write")) writes = 1;
		if (!strcmp(argv[i], "huge")) huge = 1;
		if (!strcmp(argv[i], "mixed")) mixed = 1;
		if (!strcmp(argv[i], "locked")) lock = 16;
		if (!strcmp(argv[i], "preferred")) policy = 1; /* MPOL_PREFERRED */
		if (!strcmp(argv[i], "bound")) policy = 2; /* MPOL_BIND */
		if (!strcmp(argv[i], "flush")) flushes = 1;
		if (!strncmp(argv[i], "run=", 4)) run = atoi(argv[i] + 4);
		if (!strcmp(argv[i], "text")) text = 1;
		if (!strcmp(argv[i], "lock")) lock = 1;
		if (!strcmp(argv[i], "idle")) idle = 1;
		if (!strncmp(argv[i], "rest=", 5)) rest_ms = atoi(argv[i] + 5);
		if (!strcmp(argv[i], "calm")) rest_ms = 20;
		if (!strncmp(argv[i], "stray=", 6)) stray = atoi(argv[i] + 6);
		if (!strncmp(argv[i], "pace=", 5)) pace = atoi(argv[i] + 5);
		if (!strcmp(argv[i], "random")) randomly = 1;
		if (!strcmp(argv[i], "folios")) folios = 1;
		if (!strcmp(argv[i], "shm") || !strcmp(argv[i], "sysv") || !strcmp(argv[i], "memfd") ||
		    !strncmp(argv[i], "hugetlb", 7) || !strncmp(argv[i], "tmpfs=", 6) || !strncmp(argv[i], "file=", 5))
			how = argv[i];
		if (!strncmp(argv[i], "forks=", 6)) forks = atoi(argv[i] + 6);
		if (!strncmp(argv[i], "threads=", 8)) threads = atoi(argv[i] + 8);
		if (!strncmp(argv[i], "mappings=", 9)) mappings = atoi(argv[i] + 9);
		if (!strncmp(argv[i], "cold=", 5)) cold = atoi(argv[i] + 5);
		if (!strncmp(argv[i], "passes=", 7)) most_passes = (unsigned long)atol(argv[i] + 7);
		if (!strncmp(argv[i], "progress=", 9)) progress = argv[i] + 9;
	}
	for (int i = 0; i < 7; i++)
		signal((int[]){SIGUSR1, SIGUSR2, SIGHUP, SIGALRM, SIGTERM, SIGURG, SIGWINCH}[i], on);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memory = mmap(NULL, bytes + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memory = (char *)(((size_t)memory + (2 << 20) - 1) & ~(size_t)((2 << 20) - 1));
	if (how)
		share(how, bytes);
	if (!folios)
		madvise(memory, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (mixed)
		madvise(memory, bytes / 2, MADV_HUGEPAGE);
	unsigned long mask = 1UL << node;
	/* ENOSYS: recorded under user emulation, where there are no nodes. */
	if (syscall(SYS_mbind, memory, bytes, 2 /* MPOL_BIND */, &mask, 64, 0) && errno != ENOSYS) {
		perror("mbind");
		return 1;
	}
	if (how && !strncmp(how, "file=", 5)) {
		/* Page cache comes from where its reader may have memory. */
		syscall(SYS_set_mempolicy, 2, &mask, 64);
		for (size_t p = 0; p < pages; p++)
			random ^= ((volatile char *)memory)[p << 12] & 0;
		syscall(SYS_set_mempolicy, 0, NULL, 0);
	} else
		memset(memory, 1, bytes);
	char *spare = map_apart(SPARE);
	if (text)
		fill_with_words(memory, bytes);
	unsigned long before = text ? checksum(memory, bytes) : 0;
	if (lock && mlock(memory + bytes / 16 * (16 - lock), bytes / 16 * lock)) {
		perror("mlock");
		return 1;
	}
	/* The kernel does not scan memory under a policy for hint faults: the pages stay, the policy goes. */
	syscall(SYS_mbind, memory, bytes, policy, policy ? &mask : NULL, policy ? 64 : 0, 0);
	printf("{\"pid\": %d, \"start\": %lu, \"pages\": %lu, \"run\": %d, \"every\": %d}\n", getpid(), (unsigned long)memory,
	       (unsigned long)pages, run, every);
	fflush(stdout);
	while (idle && !stop)
		pause();
	for (int i = 0; i < forks; i++)
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			wander_on((void *)(size_t)(100 + i));
			_exit(0);
		}
	map_more(mappings);
	for (int i = 1; i < threads; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, wander_on, (void *)(size_t)i);
	}
	double strayed = now();
	double said = now();
	unsigned long passes = 0, sum = 0;
	while (!stop && !(most_passes && passes == most_passes)) {
		if (flushes)
			flush(spare);
		if (randomly)
			sum += wander(pages / every, &random);
		for (size_t p = 0; p < pages && !randomly; p++) {
			if ((int)(p / run % every) != set % every)
				continue;
			if (writes)
				((volatile char *)memory)[p << 12]++;
			else
				sum += ((volatile char *)memory)[p << 12];
			if (pace)
				usleep(pace * 1000);
		}
		for (int i = 0; i < stray; i++)
			sum += ((volatile char *)memory)[(next_random(&random) % pages) << 12];
		if (now() - strayed > 1)
			strayed = now(); /* stopped or starved: what was missed does not come at once */
		for (; cold && strayed < now(); strayed += 60.0 / cold)
			sum += touch(next_random(&random) % pages, next_random(&random));
		passes++;
		rest();
		if (halve) {
			halve = 0;
			pages /= 2;
			munmap(memory + (pages << 12), bytes - (pages << 12));
		}
		if (again) {
			again = 0;
			execv("/proc/self/exe", argv);
		}
		if (split) {
			split = 0;
			fork();
		}
		if (bind) {
			bind = 0;
			syscall(SYS_mbind, memory, bytes, 2 /* MPOL_BIND */, &mask, 64, 0);
		}
		if (collapse) {
			collapse = 0;
			madvise(memory, bytes, MADV_HUGEPAGE);
			madvise(memory, bytes, 25 /* MADV_COLLAPSE, Linux 6.1 */);
		}
		if (progress && now() - said >= 0.5) {
			char next[256];
			snprintf(next, sizeof next, "%s.new", progress);
			FILE *file = fopen(next, "w");
			fprintf(file, "%lu %.3f\n", passes, now());
			fclose(file);
			rename(next, progress);
			said = now();
		}
	}
	if (text)
		printf("{\"unchanged\": %s}\n", checksum(memory, bytes) == before ? "true" : "false");
	return sum == 1;
}
