/* SPDX-License-Identifier: Apache-2.0
 *
 * Sites: chains of return addresses at which memory was mapped, numbered from 1; and which addresses are of which.
 * (The kernel's own table does not tell: it joins neighbours that were mapped by different calls.) Under `lock`.
 */
#pragma once
#include "plugin_stacks.h"
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
    MAX_SITES = 1 << 13,
    SITE_SLOTS = 1 << 14,
    MAX_PLACED = 1 << 16, /* as many mappings as the kernel allows a process by default, vm.max_map_count */
};

/* A chain, and where its return addresses were in the files that were mapped then: bytes from the start of a file. */
struct site {
    uint32_t frames;
    uint32_t name[CHAIN];
    uint64_t back[CHAIN], offset[CHAIN];
};

/* [start, end) was mapped at a site. They ascend, and do not overlap. */
struct placed {
    uint64_t start, end;
    uint32_t site; /* with GONE: no longer mapped, but what was touched there may not have been counted yet */
};

#define GONE (UINT32_C(1) << 31)

static struct site *sites; /* [MAX_SITES] by number - 1; NULL: nobody asked */
static uint32_t *site_slots, sites_used, sites_sent;
static uint64_t sites_lost; /* times that a site or a range found no room */
static struct placed *placed;
static size_t placed_used;
static bool any_gone;

static uint32_t *site_slot(const uint64_t *chain, uint32_t frames)
{
    uint64_t hash = frames;
    for (uint32_t i = 0; i < frames; i++)
        hash = (hash ^ chain[i]) * UINT64_C(0x9e3779b97f4a7c15);
    for (uint32_t at = hash >> 50;; at = (at + 1) % SITE_SLOTS) {
        uint32_t number = site_slots[at];
        if (!number || (sites[number - 1].frames == frames &&
                        memcmp(sites[number - 1].back, chain, frames * sizeof *chain) == 0))
            return &site_slots[at];
    }
}

/* The number of a chain; 0 when there is no room. A new one is `*fresh`, and its files are to be found. */
static uint32_t number_site(const uint64_t *chain, uint32_t frames, struct site **fresh)
{
    uint32_t *slot = site_slot(chain, frames);
    if (*slot)
        return *slot;
    if (sites_used == MAX_SITES) {
        sites_lost++;
        return 0;
    }
    *fresh = &sites[sites_used++];
    (*fresh)->frames = frames;
    memcpy((*fresh)->back, chain, frames * sizeof *chain);
    return *slot = sites_used;
}

/* Code was unmapped: what is mapped there later gets numbers of its own. */
static void forget_chains(void)
{
    memset(site_slots, 0, SITE_SLOTS * sizeof *site_slots);
}

/* The first range that ends after the address. */
static size_t find_placed(uint64_t address)
{
    size_t low = 0, high = placed_used;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (placed[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The site of an address, 0 for none, and where the next one begins. */
static uint32_t site_at(uint64_t address, uint64_t *stop)
{
    size_t at = find_placed(address);
    bool inside = at < placed_used && placed[at].start <= address;
    *stop = at == placed_used ? UINT64_MAX : inside ? placed[at].end : placed[at].start;
    return inside ? placed[at].site : 0;
}

/* [start, end) is of this site from now on; 0: of none. Ranges of one site that touch become one. */
static void place(uint64_t start, uint64_t end, uint32_t site)
{
    struct placed piece[3];
    size_t pieces = 0, first = find_placed(start), last = first;
    if (start >= end)
        return;
    while (last < placed_used && placed[last].start < end)
        last++;
    if (first < last && placed[first].start < start)
        piece[pieces++] = (struct placed){placed[first].start, start, placed[first].site};
    else if (first > 0 && placed[first - 1].end == start)
        piece[pieces++] = placed[--first];
    struct placed after = {end, end, 0};
    if (first < last && placed[last - 1].end > end)
        after = (struct placed){end, placed[last - 1].end, placed[last - 1].site};
    else if (last < placed_used && placed[last].start == end)
        after = placed[last++];
    if (site && pieces && piece[0].site == site)
        piece[0].end = end;
    else if (site)
        piece[pieces++] = (struct placed){start, end, site};
    if (after.site && pieces && piece[pieces - 1].site == after.site && piece[pieces - 1].end == end)
        piece[pieces - 1].end = after.end;
    else if (after.site)
        piece[pieces++] = after;
    for (; placed_used - (last - first) + pieces > MAX_PLACED; pieces--)
        sites_lost++;
    memmove(placed + first + pieces, placed + last, (placed_used - last) * sizeof *placed);
    placed_used += pieces - (last - first);
    memcpy(placed + first, piece, pieces * sizeof *piece);
}

/* What is in [start, end) is copied to `to`, or marked as gone where it is. */
static void place_again(uint64_t start, uint64_t end, uint64_t to, bool gone)
{
    for (uint64_t at = start, stop; at < end; at = stop) {
        uint32_t site = site_at(at, &stop);
        stop = stop < end ? stop : end;
        if (gone && !site)
            continue;
        place(at - start + to, stop - start + to, gone ? site | GONE : site & ~GONE);
        any_gone |= gone;
    }
}

/* A slice was sent: what is gone has been counted. */
static void drop_gone(void)
{
    size_t kept = 0;
    for (size_t i = 0; any_gone && i < placed_used; i++)
        if (!(placed[i].site & GONE))
            placed[kept++] = placed[i];
    if (any_gone)
        placed_used = kept;
    any_gone = false;
}
