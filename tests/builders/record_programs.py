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

# One thread works: 2,000 rounds through 101 pages. The other waits for it, as the argument says: "pause" and "yield"
# in a loop, or "look": a loop that looks at one word.
WAITING = (
    _PRELUDE
    + """
#include <sched.h>
static volatile int done;
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
