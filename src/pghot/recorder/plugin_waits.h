/* SPDX-License-Identifier: Apache-2.0
 *
 * Loops of instructions in which a thread only waits for another, as far as a look at the instructions tells. They are
 * found when the last of their blocks is translated. That need not be the one that jumps back: compilers like to enter
 * a loop at its condition, which stands at the end.
 */
#pragma once
#include "plugin_groups.h"

enum {
    DELAY_NOOPS = 8, /* of a waiting loop that gives way by doing nothing */
    TAILS = 64,      /* ends of blocks that are remembered, direct mapped */
    TAIL_STEPS = 32, /* and so many instructions of each at most */
    LOOP_STEPS = 64,
    OPEN_LOOPS = 16, /* jumps back that are remembered while blocks before them are not translated yet */
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

/* The jump that closes a loop, and where it ends; end 0: none. */
struct open_loop {
    uint64_t end;
    struct x86_insn jump;
};

static struct open_loop open_loops[OPEN_LOOPS];

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

/* How many instructions the loop has that this jump closes, if it only waits; 0: it does not, or is not all known. Such
 * a loop stores nothing, and every register that it changes is loaded anew each time around: it does the same until
 * another thread writes. */
static size_t only_waits(uint64_t end, const struct x86_insn *jump)
{
    const struct step *loop[LOOP_STEPS];
    uint16_t written = 0, fresh = 0;
    bool loads = false;
    size_t steps = find_loop(end, jump, loop);
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

/* How many instructions the waiting loop has that the block completes, by its own jump back or by one that was seen
 * before; 0: there is none. */
static size_t waiting_loop(struct qemu_plugin_tb *tb, const struct block_plan *plan)
{
    static unsigned next;
    const struct x86_insn *jump = &plan->decoded[plan->insns - 1];
    struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, plan->insns - 1);
    uint64_t begin = qemu_plugin_tb_vaddr(tb), end = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last);
    size_t steps = 0;
    remember_tail(tb, plan);
    if (jump->jumps && jump->target <= begin && !(steps = only_waits(end, jump)))
        open_loops[next++ % OPEN_LOOPS] = (struct open_loop){end, *jump};
    for (size_t i = 0; i < OPEN_LOOPS && !steps; i++) {
        const struct open_loop *open = &open_loops[i];
        if (open->jump.target <= begin && end < open->end)
            steps = only_waits(open->end, &open->jump);
    }
    return steps;
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
