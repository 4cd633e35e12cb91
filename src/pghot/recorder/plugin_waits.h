/* SPDX-License-Identifier: Apache-2.0
 *
 * Loops of instructions in which a thread only waits for another, as far as a look at the instructions tells. They are
 * found when the block that closes the loop is translated.
 */
#pragma once
#include "plugin_groups.h"

enum {
    DELAY_NOOPS = 8, /* of a waiting loop that gives way by doing nothing */
    TAILS = 64,      /* ends of blocks that are remembered, direct mapped */
    TAIL_STEPS = 32, /* and so many instructions of each at most */
    LOOP_STEPS = 64,
};

struct step {
    uint64_t address;
    struct x86_insn decoded;
};

/* The pure instructions at a block's end; the last first. */
struct tail {
    uint64_t end;
    size_t steps;
    struct step step[TAIL_STEPS];
};

static struct tail tails[TAILS];

static void remember_tail(struct qemu_plugin_tb *tb, const struct block_plan *plan)
{
    struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, plan->insns - 1);
    uint64_t end = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last);
    struct tail *tail = &tails[end % TAILS];
    tail->end = end;
    tail->steps = 0;
    for (size_t i = plan->insns; i-- > 0 && plan->decoded[i].pure && tail->steps < TAIL_STEPS;)
        tail->step[tail->steps++] =
            (struct step){qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i)), plan->decoded[i]};
}

/* The pure instructions from the target of the jump that ends at `end` up to that jump, the last first: over blocks
 * that follow each other. Their number; 0 when there are others among them, or jumps to the middle. */
static size_t find_loop(uint64_t end, const struct x86_insn *jump, const struct step *loop[LOOP_STEPS])
{
    size_t steps = 0;
    for (uint64_t at = end; at > jump->target;) {
        const struct tail *tail = &tails[at % TAILS];
        if (tail->end != at || !tail->steps)
            return 0;
        for (size_t i = 0; i < tail->steps && at > jump->target; i++) {
            const struct x86_insn *decoded = &tail->step[i].decoded;
            bool inner = decoded->jumps && steps > 0;
            if (inner && (decoded->always || (decoded->target > jump->target && decoded->target < end)))
                return 0;
            if (steps == LOOP_STEPS)
                return 0;
            loop[steps++] = &tail->step[i];
            at = tail->step[i].address;
        }
        if (at < jump->target)
            return 0;
    }
    return steps;
}

/* How many instructions a loop has that the block closes and that only waits; 0: there is none. Such a loop stores
 * nothing, and every register that it changes is loaded anew each time around: it does the same until another thread
 * writes. */
static size_t waiting_loop(struct qemu_plugin_tb *tb, const struct block_plan *plan)
{
    const struct x86_insn *jump = &plan->decoded[plan->insns - 1];
    struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, plan->insns - 1);
    const struct step *loop[LOOP_STEPS];
    uint16_t written = 0, fresh = 0;
    bool loads = false;
    size_t steps = 0;
    remember_tail(tb, plan);
    if (jump->jumps && jump->target <= qemu_plugin_tb_vaddr(tb))
        steps = find_loop(qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last), jump, loop);
    for (size_t i = 0; i < steps; i++) {
        written |= loop[i]->decoded.writes;
        loads |= loop[i]->decoded.loads;
    }
    for (size_t i = steps; i-- > 0;) {
        if (loop[i]->decoded.reads & written & ~fresh)
            return 0;
        fresh |= loop[i]->decoded.writes;
    }
    return loads ? steps : 0;
}

/* The instruction at which a thread says that it waits, as OpenBLAS does: the last of a run of eight no-ops of one byte
 * each in a block that jumps back to them or before. Such no-ops are a delay; those before a loop only align it. The
 * number of instructions, when there is none. */
static size_t find_delay(struct qemu_plugin_tb *tb, const struct block_plan *plan)
{
    const struct x86_insn *last = &plan->decoded[plan->insns - 1];
    for (size_t i = 0, run = 0; last->jumps && i < plan->insns; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        bool noop = qemu_plugin_insn_size(insn) == 1 && *(const uint8_t *)qemu_plugin_insn_haddr(insn) == 0x90;
        run = noop ? run + 1 : 0;
        if (run == DELAY_NOOPS)
            return last->target <= qemu_plugin_insn_vaddr(insn) - (DELAY_NOOPS - 1) ? i : plan->insns;
    }
    return plan->insns;
}
