/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls that a thread is in. QEMU up to 8.2 shows a plugin no registers, so nothing can be unwound from outside.
 * But a call stores its return address, and QEMU reports where: the slot. Slots order the frames as the stack does,
 * which grows down. So whatever lies at or below the slot of a call that begins, or of a return, is over: after a tail
 * call, a longjmp or an exception that was caught as well, and no frame needs to be found by its address.
 *
 * Not seen: a switch to another stack (of a signal handler, or between coroutines). On a stack at lower addresses the
 * calls go on from those of the former one; on one at higher addresses they begin anew, and so do those after it.
 */
#pragma once
#include <stdint.h>

enum {
    CALLS = 1024, /* that are kept, the innermost: after a deeper recursion returned, those outside of it are unknown */
    CHAIN = 16,   /* return addresses that are told of a thread */
};

struct call {
    uint64_t slot, back; /* where the return address is, and what it is */
};

struct call_stack {
    uint32_t top, used; /* calls[top] is the innermost of `used`; a ring */
    struct call calls[CALLS];
};

/* All calls whose return addresses are at or below `slot` are over. */
static inline void leave_calls(struct call_stack *stack, uint64_t slot)
{
    while (stack->used && stack->calls[stack->top].slot <= slot) {
        stack->top = (stack->top - 1) % CALLS;
        stack->used--;
    }
}

static inline void enter_call(struct call_stack *stack, uint64_t slot, uint64_t back)
{
    leave_calls(stack, slot);
    stack->top = (stack->top + 1) % CALLS;
    stack->calls[stack->top] = (struct call){slot, back};
    stack->used += stack->used < CALLS;
}

/* The innermost return addresses, the innermost first; how many. */
static uint32_t call_chain(const struct call_stack *stack, uint64_t chain[CHAIN])
{
    uint32_t frames = stack->used < CHAIN ? stack->used : CHAIN;
    for (uint32_t i = 0; i < frames; i++)
        chain[i] = stack->calls[(stack->top - i) % CALLS].back;
    return frames;
}
