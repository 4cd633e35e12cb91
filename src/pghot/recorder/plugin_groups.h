/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups: accesses of one block of instructions whose addresses differ by known distances, such as the pushes of a
 * function's beginning. QEMU reports one of them, the leader, and the others follow from it. A call for each access
 * costs more than counting it, so this is most of the recorder's speed.
 *
 * A block is executed as a whole, except when an instruction in it faults: what follows it in the same group is
 * counted all the same.
 */
#pragma once
#include "plugin_qemu.h"
#include "plugin_x86.h"
#include <stdlib.h>
#include <string.h>

#define ONE_STORE (UINT64_C(1) << 32)
enum { BLOCK_INSNS = 512, BLOCK_ACCESSES = BLOCK_INSNS * 9, NO_INSN = UINT16_MAX };

/* An access: bytes from the leader's address, or the address itself when it is known beforehand; times two, plus one
 * for a store. */
typedef int64_t access_code;

static inline access_code make_access(int64_t distance, bool store)
{
    return (access_code)((uint64_t)distance << 1 | store);
}

static inline int64_t access_distance(access_code it)
{
    return it >> 1;
}

static inline uint64_t access_counts(access_code it)
{
    return it & 1 ? 1 + ONE_STORE : 1;
}

/* What one report of QEMU stands for. Small, since the host's caches hold those of the whole program. */
struct group {
    int32_t low;              /* least distance of `accesses` from the leader, and how far it is to the greatest */
    uint32_t span;
    uint16_t touches, stores; /* sums over the moving ones */
    uint16_t moving, fixed;   /* accesses that follow the leader; then those at addresses known beforehand */
    uint16_t insns;           /* of the block */
    uint16_t pieces;          /* how often QEMU reports the leader, 8 bytes further each time */
#ifdef PGHOT_CHECK
    struct check *check;
#endif
    access_code accesses[];
};

/* Which instruction leads, for the stride detector. */
static inline uint32_t group_site(const struct group *group)
{
    return (uintptr_t)group >> 3;
}

/* A register's value: an unknown one, `origin`, and a known difference. */
struct value {
    uint32_t origin;
    int64_t offset;
};

struct group_key {
    uint32_t base, index; /* origins of their values, or NO_ORIGIN */
    uint16_t scale, segment;
};

/* Which of an instruction's reports is the leader's; the best first. (QEMU up to 7.2 cannot report loads alone.) */
enum leading { ONLY_REPORT, ONLY_LOAD, ONLY_STORE, FIRST_PIECE };

/* A group while its block is being looked at. */
struct draft {
    struct group_key key;
    uint16_t leader; /* its instruction */
    uint8_t pieces;
    enum leading leading;
    int64_t distance;
};

struct block_plan {
    size_t insns, drafts, accesses;
    uint32_t origins;
    struct value values[REGISTERS];
    struct x86_insn decoded[BLOCK_INSNS];
    struct draft draft[BLOCK_INSNS * 2 + 1];
    struct { uint16_t draft; bool store; int64_t distance; } access[BLOCK_ACCESSES];
};

enum { FIXED = 0, NO_ORIGIN = UINT32_MAX }; /* draft 0: accesses at fixed addresses */

static uint16_t find_draft(struct block_plan *plan, struct group_key key)
{
    for (size_t i = 0; i < plan->drafts; i++)
        if (memcmp(&plan->draft[i].key, &key, sizeof key) == 0)
            return i;
    plan->draft[plan->drafts] = (struct draft){.leader = NO_INSN};
    memcpy(&plan->draft[plan->drafts].key, &key, sizeof key);
    return plan->drafts++;
}

static enum leading leading_of(const struct x86_insn *decoded, bool loads, unsigned pieces)
{
    unsigned reports = decoded->loads + decoded->stores + decoded->push + decoded->pop;
    return pieces > 1 ? FIRST_PIECE : reports == 1 ? ONLY_REPORT : loads ? ONLY_LOAD : ONLY_STORE;
}

static void plan_access(struct block_plan *plan, size_t insn, struct group_key key, int64_t distance, bool loads,
                        bool stores, unsigned bytes)
{
    unsigned pieces = bytes > 8 ? bytes / 8 : 1;
    uint16_t number = find_draft(plan, key);
    struct draft *draft = &plan->draft[number];
    enum leading leading = leading_of(&plan->decoded[insn], loads, pieces);
    if (draft->leader == NO_INSN || leading < draft->leading) {
        draft->leader = insn;
        draft->leading = leading;
        draft->pieces = pieces;
        draft->distance = distance;
    }
    for (unsigned i = 0; i < pieces; i++) {
        if (loads)
            plan->access[plan->accesses++] = (typeof(plan->access[0])){number, false, distance + 8 * i};
        if (stores)
            plan->access[plan->accesses++] = (typeof(plan->access[0])){number, true, distance + 8 * i};
    }
}

static void plan_operand(struct block_plan *plan, size_t insn)
{
    const struct x86_insn *decoded = &plan->decoded[insn];
    const struct x86_operand *memory = &decoded->memory;
    struct group_key key = {NO_ORIGIN, NO_ORIGIN, 0, memory->segment};
    int64_t distance = memory->displacement;
    if (memory->base < REGISTERS) {
        key.base = plan->values[memory->base].origin;
        distance += plan->values[memory->base].offset;
    }
    if (memory->index < REGISTERS) {
        key.index = plan->values[memory->index].origin;
        key.scale = memory->scale;
        distance += plan->values[memory->index].offset * memory->scale;
    }
    plan_access(plan, insn, key, distance, decoded->loads, decoded->stores, decoded->bytes);
}

static void plan_stack(struct block_plan *plan, size_t insn, bool push)
{
    struct value *rsp = &plan->values[RSP];
    struct group_key key = {rsp->origin, NO_ORIGIN, 0, 0};
    if (push)
        rsp->offset -= 8;
    plan_access(plan, insn, key, rsp->offset, !push, push, 8);
    if (!push)
        rsp->offset += 8;
}

static void plan_registers(struct block_plan *plan, const struct x86_insn *decoded)
{
    struct value moved = {0};
    if (decoded->effect == MOVES) {
        moved = plan->values[decoded->from];
        moved.offset += decoded->offset;
    }
    for (unsigned reg = 0; reg < REGISTERS; reg++)
        if (decoded->writes >> reg & 1)
            plan->values[reg] = (struct value){plan->origins++, 0};
    if (decoded->effect == MOVES)
        plan->values[decoded->to] = moved;
}

/* The block's accesses into groups. */
static void plan_block(struct block_plan *plan)
{
    plan->drafts = plan->accesses = 0;
    plan->origins = REGISTERS;
    for (unsigned reg = 0; reg < REGISTERS; reg++)
        plan->values[reg] = (struct value){reg, 0};
    find_draft(plan, (struct group_key){NO_ORIGIN, NO_ORIGIN, 0, 0});
    for (size_t i = 0; i < plan->insns; i++) {
        struct x86_insn *decoded = &plan->decoded[i];
        if (decoded->kind == PLAIN) {
            if (decoded->loads || decoded->stores)
                plan_operand(plan, i);
            if (decoded->push || decoded->pop)
                plan_stack(plan, i, decoded->push);
        }
        plan_registers(plan, decoded);
    }
}

/* Memory for groups, which are kept for ever: QEMU does not say when it forgets a block. */
static void *keep(size_t bytes)
{
    static char *at, *end;
    if ((size_t)(end - at) < bytes) {
        size_t chunk = bytes > 1 << 20 ? bytes : 1 << 20;
        at = malloc(chunk);
        if (!at)
            abort();
        end = at + chunk;
    }
    void *kept = at;
    at += (bytes + 7) & ~(size_t)7;
    return kept;
}

static size_t members(const struct block_plan *plan, uint16_t number)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->accesses; i++)
        count += plan->access[i].draft == number;
    return count;
}

/* The group of a draft; with the accesses at fixed addresses when it is the first of its block. */
static struct group *make_group(const struct block_plan *plan, uint16_t number, bool first)
{
    const struct draft *draft = &plan->draft[number];
    size_t fixed = first && number != FIXED ? members(plan, FIXED) : 0;
    struct group *group = keep(sizeof *group + (members(plan, number) + fixed) * sizeof(access_code));
    int64_t low = 0, high = 0;
    memset(group, 0, sizeof *group);
    group->pieces = draft->pieces;
    group->insns = first ? plan->insns : 0;
    for (size_t i = 0; i < plan->accesses; i++) {
        if (plan->access[i].draft != number)
            continue;
        int64_t distance = plan->access[i].distance - draft->distance;
        group->accesses[group->moving++] = make_access(distance, plan->access[i].store);
        group->touches++;
        group->stores += plan->access[i].store;
        low = distance < low ? distance : low;
        high = distance > high ? distance : high;
    }
    for (size_t i = 0; fixed && i < plan->accesses; i++)
        if (plan->access[i].draft == FIXED)
            group->accesses[group->moving + group->fixed++] =
                make_access(plan->access[i].distance, plan->access[i].store);
    group->low = low < INT32_MIN ? 0 : low;
    group->span = low < INT32_MIN || high - low > UINT32_MAX ? UINT32_MAX : high - low;
    return group;
}
