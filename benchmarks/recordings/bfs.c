/* SPDX-License-Identifier: Apache-2.0
 *
 * Breadth-first search on a Kronecker (R-MAT) graph, in the manner of Graph500: generate edges, build the
 * compressed sparse rows, write them to a file; read that file, and search from several roots with several threads.
 *
 *   bfs make FILE SCALE EDGEFACTOR
 *   bfs search FILE ROOTS THREADS
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_THREADS = 16, CHUNK = 64 };
#define UNREACHED UINT32_MAX

static uint32_t vertices, threads, *edges, *row, *adjacent, *parent, *frontier, *next_frontier;
static uint64_t edge_count;
static uint32_t frontier_size, next_size, cursor;
static pthread_barrier_t barrier;

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Vertex numbers are scrambled by an odd multiplier, so that degree and address are unrelated. */
static uint32_t scramble(uint32_t vertex)
{
    return (vertex * UINT32_C(2654435761) + 12345) & (vertices - 1);
}

/* Initiator 0.57 0.19 0.19 0.05, as Graph500 prescribes, in 256ths: 8 random bits choose a quadrant at each level. */
static void generate(uint32_t scale)
{
    uint8_t quadrant[256];
    for (uint32_t draw = 0; draw < 256; draw++)
        quadrant[draw] = draw < 146 ? 0 : draw < 195 ? 1 : draw < 244 ? 2 : 3;
    uint64_t state = 1;
    for (uint64_t e = 0; e < edge_count; e++) {
        uint32_t from = 0, to = 0;
        for (uint32_t level = 0; level < scale; level += 8) {
            uint64_t bits = next_random(&state);
            for (uint32_t i = level; i < scale && i < level + 8; i++, bits >>= 8) {
                uint32_t corner = quadrant[bits & 255];
                from = from << 1 | corner >> 1;
                to = to << 1 | (corner & 1);
            }
        }
        edges[2 * e] = scramble(from);
        edges[2 * e + 1] = scramble(to);
    }
}

static void build(void)
{
    row = calloc(vertices + 2, sizeof *row);
    adjacent = malloc(2 * edge_count * sizeof *adjacent);
    for (uint64_t i = 0; i < 2 * edge_count; i++)
        row[edges[i] + 2]++;
    for (uint32_t v = 0; v < vertices; v++)
        row[v + 2] += row[v + 1];
    for (uint64_t e = 0; e < edge_count; e++) {
        adjacent[row[edges[2 * e] + 1]++] = edges[2 * e + 1];
        adjacent[row[edges[2 * e + 1] + 1]++] = edges[2 * e];
    }
}

static void expand(uint32_t vertex)
{
    for (uint32_t i = row[vertex]; i < row[vertex + 1]; i++) {
        uint32_t to = adjacent[i], unreached = UNREACHED;
        if (parent[to] == UNREACHED &&
            __atomic_compare_exchange_n(&parent[to], &unreached, vertex, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            next_frontier[__atomic_fetch_add(&next_size, 1, __ATOMIC_RELAXED)] = to;
    }
}

static void *search(void *unused)
{
    for (;;) {
        uint32_t begin;
        while ((begin = __atomic_fetch_add(&cursor, CHUNK, __ATOMIC_RELAXED)) < frontier_size)
            for (uint32_t i = begin; i < begin + CHUNK && i < frontier_size; i++)
                expand(frontier[i]);
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
            uint32_t *swap = frontier;
            frontier = next_frontier;
            next_frontier = swap;
            frontier_size = next_size;
            next_size = cursor = 0;
        }
        pthread_barrier_wait(&barrier);
        if (frontier_size == 0)
            return unused;
    }
}

static void search_from(uint32_t root)
{
    pthread_t thread[MAX_THREADS];
    memset(parent, 255, vertices * sizeof *parent);
    parent[root] = root;
    frontier[0] = root;
    frontier_size = 1;
    next_size = cursor = 0;
    for (uint32_t t = 1; t < threads; t++)
        pthread_create(&thread[t], NULL, search, NULL);
    search(NULL);
    for (uint32_t t = 1; t < threads; t++)
        pthread_join(thread[t], NULL);
}

static void transfer(ssize_t (*move)(int, void *, size_t), int file, void *data, size_t bytes)
{
    for (ssize_t done; bytes > 0; data = (char *)data + done, bytes -= done)
        if ((done = move(file, data, bytes)) <= 0)
            exit(1);
}

static ssize_t put(int file, void *data, size_t bytes)
{
    return write(file, data, bytes);
}

static void make(const char *path, uint32_t scale, uint32_t edge_factor)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    uint64_t head[2] = {scale, edge_count = (UINT64_C(1) << scale) * edge_factor};
    vertices = UINT32_C(1) << scale;
    edges = malloc(2 * edge_count * sizeof *edges);
    generate(scale);
    build();
    transfer(put, file, head, sizeof head);
    transfer(put, file, row, (vertices + 2) * sizeof *row);
    transfer(put, file, adjacent, 2 * edge_count * sizeof *adjacent);
}

static void load(const char *path)
{
    int file = open(path, O_RDONLY);
    uint64_t head[2];
    transfer(read, file, head, sizeof head);
    vertices = UINT32_C(1) << head[0];
    edge_count = head[1];
    row = malloc((vertices + 2) * sizeof *row);
    adjacent = malloc(2 * edge_count * sizeof *adjacent);
    transfer(read, file, row, (vertices + 2) * sizeof *row);
    transfer(read, file, adjacent, 2 * edge_count * sizeof *adjacent);
}

static void search_all(uint32_t roots)
{
    parent = malloc(vertices * sizeof *parent);
    frontier = malloc(vertices * sizeof *frontier);
    next_frontier = malloc(vertices * sizeof *next_frontier);
    pthread_barrier_init(&barrier, NULL, threads);
    uint64_t state = 7;
    for (uint32_t r = 0; r < roots; r++) {
        uint32_t root, reached = 0;
        do
            root = next_random(&state) & (vertices - 1);
        while (row[root] == row[root + 1]);
        search_from(root);
        for (uint32_t v = 0; v < vertices; v += 997)
            reached += parent[v] != UNREACHED;
        printf("root %u: %u of %u sampled vertices reached\n", root, reached, (vertices + 996) / 997);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    if (strcmp(argv[1], "make") == 0) {
        make(argv[2], atoi(argv[3]), atoi(argv[4]));
        return 0;
    }
    threads = atoi(argv[4]);
    load(argv[2]);
    search_all(atoi(argv[3]));
    return 0;
}
