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
