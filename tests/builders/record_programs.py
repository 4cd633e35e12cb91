"""Small C programs whose every access is known, for the recorder's tests."""

from __future__ import annotations

import shutil

import pytest

from pghot.recorder.programs import machine

# What the recorder needs; a skipped test says which of them is missing.
MISSING = [
    package
    for program, package in ((f"qemu-{machine()}", "qemu-user"), ("cc", "a C compiler"))
    if shutil.which(program) is None
]
needs_qemu = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# Areas live at fixed addresses, so that a test finds their pages without help from the recorder.
AREA = 0x10_0000_0000
SECOND_AREA = 0x11_0000_0000

_PRELUDE = f"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#define AREA ((char *){AREA:#x})
#define SECOND_AREA ((char *){SECOND_AREA:#x})
static volatile uint64_t *area(char *at, size_t pages)
{{
    return mmap(at, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}}
"""

# 997 pages: 23 stores to 23 consecutive lines of each, then 7 loads from the first line of each.
KNOWN = (
    _PRELUDE
    + """
int main(void)
{
    volatile uint64_t *a = area(AREA, 997);
    uint64_t sum = 0;
    for (size_t p = 0; p < 997; p++)
        for (size_t k = 0; k < 23; k++)
            a[p * 512 + k * 8] = k;
    for (size_t p = 0; p < 997; p++)
        for (size_t k = 0; k < 7; k++)
            sum += a[p * 512 + k];
    return sum == 1;
}
"""
)

# Five threads; thread t stores 13 rounds through its own 101 pages, one store to each page in a round.
THREADS = (
    _PRELUDE
    + """
static void *work(void *number)
{
    volatile uint64_t *mine = (volatile uint64_t *)AREA + (size_t)number * 101 * 512;
    for (size_t spin = 0; spin < 400; spin++)
        for (size_t round = 0; round < 13; round++)
            for (size_t p = 0; p < 101; p++)
                mine[p * 512] = round;
    return NULL;
}
int main(void)
{
    pthread_t thread[5];
    area(AREA, 5 * 101);
    for (size_t t = 0; t < 5; t++)
        pthread_create(&thread[t], NULL, work, (void *)t);
    for (size_t t = 0; t < 5; t++)
        pthread_join(thread[t], NULL);
    return 0;
}
"""
)

# The parent stores to 101 pages; its child stores twice to 53 others, ends with 7.
FORK = (
    _PRELUDE
    + """
int main(void)
{
    volatile uint64_t *a = area(AREA, 101), *b = area(SECOND_AREA, 53);
    int status;
    for (size_t p = 0; p < 101; p++)
        a[p * 512] = p;
    pid_t child = fork();
    if (child == 0) {
        for (size_t i = 0; i < 2; i++)
            for (size_t p = 0; p < 53; p++)
                b[p * 512] = p;
        exit(7);
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status) != 7;
}
"""
)

# Prints how it was started, then stores once to each of 101 pages.
STARTED = (
    _PRELUDE
    + """
int main(int argc, char **argv)
{
    const char *variable = getenv("RECORDED");
    volatile uint64_t *a = area(AREA, 101);
    for (size_t p = 0; p < 101; p++)
        a[p * 512] = p;
    for (int i = 0; i < argc; i++)
        printf("%s ", argv[i]);
    printf("%s\\n", variable ? variable : "");
    return 0;
}
"""
)

# Closes every descriptor that it does not know, as daemons do, in three ways; then stores to 101 pages.
CLOSES_ALL = (
    _PRELUDE
    + """
int main(void)
{
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    for (int fd = 890; fd < 1000; fd++)
        dup2(1, fd);
    syscall(SYS_close_range, 3, ~0u, 0);
    int file = open("/dev/null", O_RDONLY);
    volatile uint64_t *a = area(AREA, 101);
    for (size_t p = 0; p < 101; p++)
        a[p * 512] = p;
    return file != 3;
}
"""
)

# Stores for ever. With an argument it ends with 5 on SIGINT or SIGTERM; without, these kill it.
ENDLESS = (
    _PRELUDE
    + """
static volatile sig_atomic_t stopped;
static void stop(int number)
{
    stopped = number;
}
int main(int argc, char **argv)
{
    volatile uint64_t *a = area(AREA, 101);
    (void)argv;
    if (argc > 1) {
        signal(SIGINT, stop);
        signal(SIGTERM, stop);
    }
    printf("%d\\n", (int)getpid());
    fflush(stdout);
    for (size_t p = 0; !stopped; p = (p + 1) % 101)
        a[p * 512] = p;
    return 5;
}
"""
)

# Fills 64 MiB with one string instruction, then copies the first 16 MiB of it with one.
STRINGS = (
    _PRELUDE
    + """
int main(void)
{
    void *to = (void *)area(AREA, 16384), *from = to;
    size_t bytes = 16384 * 4096ul;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(1) : "memory");
    to = (void *)area(SECOND_AREA, 4096);
    bytes = 4096 * 4096ul;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return 0;
}
"""
)

# libc's memset of 8 MiB, and its memcpy of them.
LIBC_STRINGS = (
    _PRELUDE
    + """
int main(void)
{
    void *from = (void *)area(AREA, 2048), *to = (void *)area(SECOND_AREA, 2048);
    memset(from, 1, 2048 * 4096ul);
    memcpy(to, from, 2048 * 4096ul);
    return ((char *)to)[12345] != 1;
}
"""
)

# One thread works: 20,000 rounds through 101 pages. The other waits for it, as the argument says: "pause" and "yield"
# in a loop, "look": a loop that looks at one word; "several": at three words; "jumps": at two, and then jumps back.
WAITING = (
    _PRELUDE
    + """
#include <sched.h>
#include <time.h>
static volatile int done, failed, ended;
static char how;
static void *wait_for_it(void *unused)
{
    if (how == 'p')
        while (!done)
            __builtin_ia32_pause();
    else if (how == 'y')
        while (!done)
            sched_yield();
    else if (how == 'n')
        while (!done)
            __asm__ volatile("nop; nop; nop; nop; nop; nop; nop; nop");
    else if (how == 's')
        while (!failed && !ended && !done)
            ;
    else if (how == 'j')
        __asm__ volatile("1: cmpl $0, %0; jnz 2f; cmpl $0, %1; jnz 2f; jmp 1b; 2:" : : "m"(failed), "m"(done) : "cc");
    else
        while (!done)
            ;
    return unused;
}
int main(int argc, char **argv)
{
    pthread_t thread;
    volatile uint64_t *a = area(AREA, 101);
    how = argc > 1 ? argv[1][0] : 0;
    if (how)
        pthread_create(&thread, NULL, wait_for_it, NULL);
    // However busy the machine is, the thread waits for a tenth of a second of its own CPU time. It is asked seldom:
    // asking is work, and on a busy machine who yields takes seconds for it.
    if (how) {
        clockid_t clock;
        struct timespec used = {0, 0};
        pthread_getcpuclockid(thread, &clock);
        while (used.tv_sec == 0 && used.tv_nsec < 100000000) {
            usleep(20000);
            clock_gettime(clock, &used);
        }
    }
    for (size_t round = 0; round < 20000; round++)
        for (size_t p = 0; p < 101; p++)
            a[p * 512] = round;
    done = 1;
    if (how)
        pthread_join(thread, NULL);
    return 0;
}
"""
)

# Two threads take turns with what the argument names: a "spinlock", an "adaptive" mutex, a "barrier" of OpenMP. One
# works for 10,000 stores at a time, 200 times; the other, which there is with an argument, only takes and leaves.
TURNS = (
    _PRELUDE
    + """
static volatile uint64_t *a;
static char how;
static pthread_spinlock_t spinlock;
static pthread_mutex_t mutex;
static void work(void)
{
    for (size_t round = 0; round < 100; round++)
        for (size_t p = 0; p < 100; p++)
            a[p * 512] = round;
}
static void turn(int works)
{
    if (how == 's')
        pthread_spin_lock(&spinlock);
    else
        pthread_mutex_lock(&mutex);
    if (works)
        work();
    if (how == 's')
        pthread_spin_unlock(&spinlock);
    else
        pthread_mutex_unlock(&mutex);
}
static void *other(void *unused)
{
    for (size_t i = 0; i < 200; i++)
        turn(0);
    return unused;
}
static void barriers(int threads)
{
    #pragma omp parallel num_threads(threads)
    for (size_t i = 0; i < 200; i++) {
        #pragma omp master
        work();
        #pragma omp barrier
    }
}
int main(int argc, char **argv)
{
    pthread_t thread;
    pthread_mutexattr_t adaptive;
    a = area(AREA, 100);
    how = argc > 1 ? argv[1][0] : 0;
    pthread_spin_init(&spinlock, 0);
    pthread_mutexattr_init(&adaptive);
    pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&mutex, &adaptive);
    if (how == 'b') {
        barriers(2);
        return 0;
    }
    if (how)
        pthread_create(&thread, NULL, other, NULL);
    for (size_t i = 0; i < 200; i++)
        turn(1);
    if (how)
        pthread_join(thread, NULL);
    return 0;
}
"""
)

# Searches a list of 1,000 nodes 1,000 times: a loop of two blocks that stores nothing, and waits for nobody.
SEARCH = (
    _PRELUDE
    + """
struct node { struct node *next; long key; };
int main(void)
{
    struct node *nodes = (struct node *)area(AREA, 4), *volatile first = nodes, *at = NULL;
    for (size_t i = 0; i < 1000; i++)
        nodes[i] = (struct node){i + 1 < 1000 ? &nodes[i + 1] : NULL, i};
    for (size_t round = 0; round < 1000; round++)
        for (at = first; at && at->key != 1000; at = at->next)
            ;
    return at != NULL;
}
"""
)

# Eight no-ops align an inner loop of four rounds, as some assemblers do; nothing waits.
ALIGNED = (
    _PRELUDE
    + """
int main(void)
{
    uint64_t rounds = 1000000, sum = 0;
    __asm__ volatile("1: mov $4, %%ecx;"
                     "nop; nop; nop; nop; nop; nop; nop; nop;"
                     "2: add %%rcx, %1; dec %%ecx; jnz 2b;"
                     "dec %0; jnz 1b"
                     : "+r"(rounds), "+r"(sum) : : "rcx", "cc");
    return sum != 10000000;
}
"""
)

# Reads 997 pages line by line; then one line in three of 997 others; then follows a chain through all lines of 1024
# more, in an order that no stride describes.
PATTERNS = (
    _PRELUDE
    + """
int main(void)
{
    volatile uint64_t *a = area(AREA, 997), sum = 0;
    char *strided = (char *)area(SECOND_AREA, 997), *chain = (char *)area(AREA + (1ul << 34), 1024);
    size_t lines = 1024 * 64, at = 0;
    for (size_t i = 0; i < lines; i++, at = (at * 2053 + 12345) % lines)
        *(char **)(chain + at * 64) = chain + (at * 2053 + 12345) % lines * 64;
    for (size_t line = 0; line < 997 * 64; line++)
        sum += a[line * 8];
    for (size_t line = 0; line < 997 * 64; line += 3)
        sum += *(volatile uint64_t *)(strided + line * 64);
    for (size_t i = 0; i < lines; i++)
        chain = *(char *volatile *)chain;
    return sum + (chain == NULL);
}
"""
)

# C++: memory mapped where an exception of 20 calls further in was caught, in a handler, behind a tail call.
UNWINDS = (
    _PRELUDE
    + """
#define PART(number) (AREA + ((size_t)(number) << 24))
#define CALLED extern "C" __attribute__((noinline))
static volatile int kept;
CALLED void map_at(char *at) { memset((void *)area(at, 4), 1, 4 * 4096); kept = 1; }
CALLED void throws(int n) { if (n) throws(n - 1); else throw n; kept = n; }
CALLED void catches(void) { try { throws(20); } catch (int) { map_at(PART(0)); } kept = 2; }
CALLED void handler(int) { map_at(PART(1)); kept = 3; }
CALLED void raises(void) { signal(SIGUSR1, handler); raise(SIGUSR1); kept = 4; }
CALLED void leaves(char *at);
CALLED void calls(void) { leaves(PART(2)); kept = 5; }
int main(void)
{
    catches();
    raises();
    calls();
    return kept == 1;
}
CALLED void leaves(char *at) { return map_at(at); }
"""
)

# Memory mapped by calls that are known: neighbours by two functions, after a recursion, a longjmp, in a thread, in a
# child, at one address by two functions in turn, moved and grown, and by malloc. Addresses of the last are printed.
SITES = (
    _PRELUDE
    + """
#include <setjmp.h>
#define PART(number) (AREA + ((size_t)(number) << 24))
static volatile int kept;
static jmp_buf back;

static void map_at(char *at) { memset((char *)area(at, 4), 1, 4 * 4096); }
static void one(void) { map_at(PART(0)); }
static void two(void) { map_at(PART(0) + 4 * 4096); }
static void three(void) { map_at(PART(0)); }
static void deeper(int n, char *at) { if (n) deeper(n - 1, at); else if (at) map_at(at); kept = n; }
static void after_deep(void) { map_at(PART(2)); }
static void jumps(int n) { if (n) jumps(n - 1); else longjmp(back, 1); kept = n; }
static void after_jump(void) { if (!setjmp(back)) jumps(30); map_at(PART(3)); }
static void *thread(void *unused) { map_at(PART(4)); return unused; }
static void child(void) { map_at(PART(5)); }
static void moves(void)
{
    mremap(PART(6), 4 * 4096, 6 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, PART(7));
    memset(PART(7), 2, 6 * 4096);
}
static void before_move(void) { map_at(PART(6)); }
static char *first_block(void) { char *p = malloc(1 << 20); memset(p, 1, 1 << 20); return p; }
static char *second_block(void) { char *p = malloc(1 << 20); memset(p, 1, 1 << 20); return p; }
static void time_passes(void) { for (int i = 0; i < 3000000; i++) kept = i; }

int main(void)
{
    pthread_t started;
    one();
    two();
    deeper(20, PART(1));
    deeper(2000, NULL);
    after_deep();
    after_jump();
    pthread_create(&started, NULL, thread, NULL);
    pthread_join(started, NULL);
    before_move();
    time_passes();
    moves();
    munmap(PART(0), 4 * 4096);
    three();
    printf("%p %p\\n", (void *)first_block(), (void *)second_block());
    fflush(stdout);
    if (fork() == 0) {
        child();
        _exit(0);
    }
    wait(NULL);
    return 0;
}
"""
)
