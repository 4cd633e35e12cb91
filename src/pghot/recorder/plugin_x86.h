/* SPDX-License-Identifier: Apache-2.0
 *
 * What an x86-64 instruction does to memory and to the general registers, as far as the plugin needs it to know
 * several addresses from one: only common instructions, and only what is certain. The rest is `OPAQUE`: each of
 * its accesses is reported by QEMU. On other machines all instructions are.
 *
 * Encoding: Intel SDM volume 2, chapter 2 and the opcode maps of appendix A. What QEMU performs for an instruction
 * (two accesses for 16 bytes) is that of its translator for i386; `PGHOT_CHECK compares both (tests/live/test_record_groups.py).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, REGISTERS = 16, NO_REGISTER = 16, RIP = 17, ALL_REGISTERS = 0xffff };

enum x86_kind {
    OPAQUE,      /* accesses unknown */
    PLAIN,       /* as `memory`, `push` and `pop` say */
    PAUSE,       /* the processor's hint that a thread spins */
    STRING,      /* movs, stos, lods, scas, cmps; with `repeated` one element for each execution */
};

/* How the value of one register follows from another's, where it does. */
enum x86_effect { NO_EFFECT, MOVES /* to = from + offset */ };

struct x86_operand {
    uint8_t base, index, scale; /* registers; base RIP: `displacement` is the address */
    uint8_t segment;            /* 0, or the prefix: 0x64 fs, 0x65 gs */
    int64_t displacement;
};

struct x86_insn {
    enum x86_kind kind;
    uint16_t writes, reads; /* sets of general registers; `reads` only where `pure` */
    bool loads, stores;     /* of `memory` */
    uint8_t bytes;          /* of one such access: up to 8 in one, 16 and 32 in pieces of 8 */
    struct x86_operand memory;
    bool push, pop;         /* 8 bytes on the stack; rsp is moved by that much */
    bool calls, returns;    /* what is pushed, or popped, is a return address */
    enum x86_effect effect;
    uint8_t to, from;
    int64_t offset;
    bool pure;              /* changes nothing but flags and, with `loads`, the registers in `writes` */
    bool repeated;          /* a string instruction with a repeat prefix */
    uint8_t element;        /* bytes of a string instruction's element */
    bool jumps;             /* a jump, to `target` */
    bool always;            /* and under no condition */
    uint64_t target;
    bool truncated;         /* QEMU has only its beginning: it begins a page anew there, and this is not executed */
};

#ifdef __x86_64__

struct x86_cursor {
    const uint8_t *at, *end;
    uint64_t next_rip;
    uint8_t rex, segment, operand_16, repeat, vex_length; /* repeat: 0, 0xf2 or 0xf3 */
    bool lock, address_32, truncated;
};

static uint8_t x86_byte(struct x86_cursor *in)
{
    in->truncated |= in->at == in->end;
    return in->at < in->end ? *in->at++ : 0;
}

static int64_t x86_signed(struct x86_cursor *in, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)x86_byte(in) << (8 * i);
    unsigned unused = 64 - 8 * bytes;
    return bytes ? (int64_t)(value << unused) >> unused : 0;
}

struct x86_modrm {
    bool in_memory;
    uint8_t reg, rm; /* with the bits of REX; `reg` also as the number of an instruction in a group (low 3 bits) */
    struct x86_operand memory;
};

static struct x86_modrm x86_modrm(struct x86_cursor *in)
{
    uint8_t byte = x86_byte(in), mod = byte >> 6, rm = byte & 7;
    struct x86_modrm found = {mod != 3, (byte >> 3 & 7) | (in->rex & 4) << 1, rm | (in->rex & 1) << 3, {0}};
    struct x86_operand *memory = &found.memory;
    if (!found.in_memory)
        return found;
    *memory = (struct x86_operand){found.rm, NO_REGISTER, 1, in->segment, 0};
    if (rm == 4) {
        uint8_t sib = x86_byte(in), index = (sib >> 3 & 7) | (in->rex & 2) << 2;
        memory->base = (sib & 7) | (in->rex & 1) << 3;
        if (index != RSP) {
            memory->index = index;
            memory->scale = 1 << (sib >> 6);
        }
        if ((sib & 7) == 5 && mod == 0) {
            memory->base = NO_REGISTER;
            memory->displacement = x86_signed(in, 4);
        }
    } else if (rm == 5 && mod == 0) {
        memory->base = RIP;
        memory->displacement = in->next_rip + x86_signed(in, 4);
    }
    if (mod)
        memory->displacement = x86_signed(in, mod == 1 ? 1 : 4);
    return found;
}

static void x86_access(struct x86_insn *out, const struct x86_modrm *modrm, bool loads, bool stores, uint8_t bytes)
{
    if (!modrm->in_memory)
        return;
    out->memory = modrm->memory;
    out->loads = loads;
    out->stores = stores;
    out->bytes = bytes;
}

static uint16_t x86_set(uint8_t reg)
{
    return reg < REGISTERS ? 1 << reg : 0;
}

/* Registers that an operand's address is made of. */
static uint16_t x86_address_set(const struct x86_operand *memory)
{
    return x86_set(memory->base) | x86_set(memory->index);
}

static unsigned x86_immediate_bytes(const struct x86_cursor *in, bool is_byte)
{
    return is_byte ? 1 : in->operand_16 ? 2 : 4;
}

/* A byte register: without REX, 4 to 7 are ah, ch, dh, bh. */
static uint16_t x86_byte_set(const struct x86_cursor *in, uint8_t reg)
{
    return x86_set(!in->rex && reg >= 4 && reg < 8 ? reg - 4 : reg);
}

static uint16_t x86_sized_set(const struct x86_cursor *in, uint8_t reg, bool is_byte)
{
    return is_byte ? x86_byte_set(in, reg) : x86_set(reg);
}

static uint8_t x86_size(const struct x86_cursor *in, bool is_byte)
{
    return is_byte ? 1 : in->rex & 8 ? 8 : in->operand_16 ? 2 : 4;
}

static void x86_moves(struct x86_insn *out, uint8_t to, uint8_t from, int64_t offset)
{
    out->effect = MOVES;
    out->to = to;
    out->from = from;
    out->offset = offset;
    out->writes |= x86_set(to);
}

/* op Ev, G or op G, Ev, or with an immediate: `direction` 0 writes E, 1 writes G. compares: writes neither. */
static void x86_arithmetic(struct x86_cursor *in, struct x86_insn *out, bool is_byte, bool to_register, bool compares)
{
    struct x86_modrm modrm = x86_modrm(in);
    x86_access(out, &modrm, true, !to_register && !compares, x86_size(in, is_byte));
    if (compares) {
        out->pure = true;
        out->reads = x86_sized_set(in, modrm.reg, is_byte);
        out->reads |= modrm.in_memory ? x86_address_set(&modrm.memory) : x86_sized_set(in, modrm.rm, is_byte);
    } else if (to_register)
        out->writes = x86_sized_set(in, modrm.reg, is_byte);
    else if (!modrm.in_memory)
        out->writes = x86_sized_set(in, modrm.rm, is_byte);
}

/* 80, 81, 83: op Ev, immediate */
static void x86_immediate_group(struct x86_cursor *in, struct x86_insn *out, uint8_t opcode)
{
    bool is_byte = opcode == 0x80;
    struct x86_modrm modrm = x86_modrm(in);
    uint8_t op = modrm.reg & 7;
    int64_t value = x86_signed(in, x86_immediate_bytes(in, opcode != 0x81));
    x86_access(out, &modrm, true, op != 7, x86_size(in, is_byte));
    if (op == 7) {
        out->pure = true;
        out->reads = modrm.in_memory ? x86_address_set(&modrm.memory) : x86_sized_set(in, modrm.rm, is_byte);
    } else if (!modrm.in_memory) {
        out->writes = x86_sized_set(in, modrm.rm, is_byte);
        if ((op == 0 || op == 5) && in->rex & 8 && !is_byte)
            x86_moves(out, modrm.rm, modrm.rm, op == 0 ? value : -value);
    }
}

/* mov, movzx, movsx and movsxd from memory or a register */
static void x86_load(struct x86_cursor *in, struct x86_insn *out, uint8_t bytes, bool byte_register, bool full_move)
{
    struct x86_modrm modrm = x86_modrm(in);
    x86_access(out, &modrm, true, false, bytes);
    out->writes = x86_sized_set(in, modrm.reg, byte_register);
    out->pure = modrm.in_memory && !byte_register && !in->operand_16;
    out->reads = x86_address_set(&modrm.memory);
    if (!modrm.in_memory && full_move && in->rex & 8)
        x86_moves(out, modrm.reg, modrm.rm, 0);
}

static void x86_store(struct x86_cursor *in, struct x86_insn *out, bool is_byte, bool may_move)
{
    struct x86_modrm modrm = x86_modrm(in);
    x86_access(out, &modrm, false, true, x86_size(in, is_byte));
    if (!modrm.in_memory) {
        out->writes = x86_sized_set(in, modrm.rm, is_byte);
        if (may_move && !is_byte && in->rex & 8)
            x86_moves(out, modrm.rm, modrm.reg, 0);
    }
}

static void x86_lea(struct x86_cursor *in, struct x86_insn *out)
{
    struct x86_modrm modrm = x86_modrm(in);
    out->writes = x86_set(modrm.reg);
    if (modrm.in_memory && modrm.memory.index == NO_REGISTER && modrm.memory.base < REGISTERS && in->rex & 8)
        x86_moves(out, modrm.reg, modrm.memory.base, modrm.memory.displacement);
}

/* f6, f7: test, not, neg, mul, imul, div, idiv */
static void x86_unary_group(struct x86_cursor *in, struct x86_insn *out, bool is_byte)
{
    struct x86_modrm modrm = x86_modrm(in);
    uint8_t op = modrm.reg & 7;
    x86_access(out, &modrm, true, op == 2 || op == 3, x86_size(in, is_byte));
    if (op < 2) {
        x86_signed(in, x86_immediate_bytes(in, is_byte));
        out->pure = true;
        out->reads = modrm.in_memory ? x86_address_set(&modrm.memory) : x86_sized_set(in, modrm.rm, is_byte);
    } else if (op < 4)
        out->writes = modrm.in_memory ? 0 : x86_sized_set(in, modrm.rm, is_byte);
    else
        out->writes = x86_set(RAX) | x86_set(RDX);
}

/* fe, ff: inc, dec, call, jmp, push */
static void x86_branch_group(struct x86_cursor *in, struct x86_insn *out, bool is_byte)
{
    struct x86_modrm modrm = x86_modrm(in);
    uint8_t op = modrm.reg & 7;
    if (op < 2) {
        x86_access(out, &modrm, true, true, x86_size(in, is_byte));
        if (!modrm.in_memory) {
            out->writes = x86_sized_set(in, modrm.rm, is_byte);
            if (!is_byte && in->rex & 8)
                x86_moves(out, modrm.rm, modrm.rm, op ? -1 : 1);
        }
    } else if (!is_byte && (op == 2 || op == 4 || op == 6) && !in->operand_16) {
        x86_access(out, &modrm, true, false, 8);
        out->push = op != 4;
        out->calls = op == 2;
    } else
        out->kind = OPAQUE, out->writes = ALL_REGISTERS;
}

static void x86_string(struct x86_cursor *in, struct x86_insn *out, uint8_t opcode)
{
    out->kind = STRING;
    out->repeated = in->repeat != 0;
    out->stores = opcode < 0xa6 || opcode == 0xaa || opcode == 0xab;
    out->element = x86_size(in, !(opcode & 1));
    out->writes = x86_set(RSI) | x86_set(RDI) | x86_set(RCX) | (opcode >= 0xac && opcode <= 0xad ? x86_set(RAX) : 0);
}

/* Bytes of an operand of the 0f map's vector instructions, by the prefix that selects packed or scalar. */
static uint8_t x86_vector_bytes(const struct x86_cursor *in)
{
    return in->repeat == 0xf3 ? 4 : in->repeat == 0xf2 ? 8 : in->vex_length;
}

/* The 0f map's vector instructions. False: not among those that are known. */
static bool x86_vector(struct x86_cursor *in, struct x86_insn *out, uint8_t opcode)
{
    struct x86_modrm modrm = x86_modrm(in);
    bool packed_integer = in->operand_16 || in->repeat == 0xf3; /* 66 or f3: not the MMX forms */
    switch (opcode) {
    case 0x10:
    case 0x11:
        x86_access(out, &modrm, opcode == 0x10, opcode == 0x11, x86_vector_bytes(in));
        return true;
    case 0x28:
    case 0x29:
        x86_access(out, &modrm, opcode == 0x28, opcode == 0x29, in->vex_length);
        return !in->repeat;
    case 0x12:
    case 0x13:
    case 0x16:
    case 0x17:
        x86_access(out, &modrm, !(opcode & 1), opcode & 1, 8);
        return !in->repeat;
    case 0x6f:
    case 0x7f:
        x86_access(out, &modrm, opcode == 0x6f, opcode == 0x7f, in->vex_length);
        return packed_integer;
    case 0xd6:
        x86_access(out, &modrm, false, true, 8);
        return in->operand_16;
    case 0xe7:
    case 0x2b:
        x86_access(out, &modrm, false, true, in->vex_length);
        return opcode == 0x2b ? !in->repeat : in->operand_16;
    case 0x6e:
        x86_access(out, &modrm, true, false, in->rex & 8 ? 8 : 4);
        return in->operand_16;
    case 0x7e:
        if (in->repeat == 0xf3)
            x86_access(out, &modrm, true, false, 8);
        else {
            x86_access(out, &modrm, false, true, in->rex & 8 ? 8 : 4);
            out->writes = modrm.in_memory ? 0 : x86_set(modrm.rm);
        }
        return in->operand_16 || in->repeat == 0xf3;
    case 0x51:
    case 0x54 ... 0x59:
    case 0x5c ... 0x5f:
    case 0xc2:
        x86_access(out, &modrm, true, false, x86_vector_bytes(in));
        x86_signed(in, opcode == 0xc2);
        return true;
    case 0x14:
    case 0x15:
    case 0xc6:
        x86_access(out, &modrm, true, false, in->vex_length);
        x86_signed(in, opcode == 0xc6);
        return !in->repeat;
    case 0x2e:
    case 0x2f:
        x86_access(out, &modrm, true, false, in->operand_16 ? 8 : 4);
        return !in->repeat;
    case 0x2a:
        x86_access(out, &modrm, true, false, in->rex & 8 ? 8 : 4);
        return in->repeat;
    case 0x2c:
    case 0x2d:
        x86_access(out, &modrm, true, false, in->repeat == 0xf2 ? 8 : 4);
        out->writes = x86_set(modrm.reg);
        return in->repeat;
    case 0x50:
    case 0xd7:
    case 0xc5:
        out->writes = x86_set(modrm.reg);
        return !modrm.in_memory;
    case 0x60 ... 0x6d:
    case 0x74 ... 0x76:
    case 0xd4:
    case 0xd5:
    case 0xd8 ... 0xdf:
    case 0xe0:
    case 0xe3 ... 0xe5:
    case 0xe8 ... 0xef:
    case 0xf4 ... 0xf6:
    case 0xf8 ... 0xfe:
        x86_access(out, &modrm, true, false, in->vex_length);
        return in->operand_16;
    case 0x71 ... 0x73:
        return !modrm.in_memory;
    case 0x70:
        x86_access(out, &modrm, true, false, in->vex_length);
        x86_signed(in, 1);
        return in->operand_16 || in->repeat;
    }
    return false;
}

static void x86_jump(struct x86_cursor *in, struct x86_insn *out, unsigned bytes)
{
    out->pure = out->jumps = true;
    out->target = in->next_rip + x86_signed(in, bytes);
}

static void x86_map_0f(struct x86_cursor *in, struct x86_insn *out)
{
    uint8_t opcode = x86_byte(in);
    struct x86_modrm modrm;
    struct x86_cursor here = *in;
    switch (opcode) {
    case 0x0d:
    case 0x18:
    case 0x1e:
    case 0x1f: /* prefetches and no-operations; f3 0f 1e is rdssp with a register, not emulated */
        out->pure = true;
        return;
    case 0x31:
        out->writes = x86_set(RAX) | x86_set(RDX);
        return;
    case 0x40 ... 0x4f:
        x86_arithmetic(in, out, false, true, false);
        return;
    case 0x80 ... 0x8f:
        x86_jump(in, out, 4);
        return;
    case 0x90 ... 0x9f:
        modrm = x86_modrm(in);
        x86_access(out, &modrm, false, true, 1);
        out->writes = modrm.in_memory ? 0 : x86_byte_set(in, modrm.rm);
        return;
    case 0xa2:
        out->writes = x86_set(RAX) | x86_set(RBX) | x86_set(RCX) | x86_set(RDX);
        return;
    case 0xa4:
    case 0xa5:
    case 0xac:
    case 0xad:
        x86_arithmetic(in, out, false, false, false);
        x86_signed(in, !(opcode & 1));
        return;
    case 0xba:
        modrm = x86_modrm(in);
        x86_signed(in, 1);
        x86_access(out, &modrm, true, (modrm.reg & 3) != 0, x86_size(in, false));
        out->writes = modrm.in_memory ? 0 : x86_set(modrm.rm);
        return;
    case 0xaf:
    case 0xbc:
    case 0xbd:
        x86_arithmetic(in, out, false, true, false);
        return;
    case 0xb8:
        x86_arithmetic(in, out, false, true, false);
        if (in->repeat != 0xf3)
            break;
        return;
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf:
        x86_load(in, out, opcode & 1 ? 2 : 1, false, false);
        return;
    case 0xc3:
        modrm = x86_modrm(in);
        x86_access(out, &modrm, false, true, in->rex & 8 ? 8 : 4);
        return;
    case 0xc8 ... 0xcf:
        out->writes = x86_set((opcode & 7) | (in->rex & 1) << 3);
        return;
    default:
        bool known = x86_vector(&here, out, opcode);
        in->truncated |= here.truncated;
        if (known)
            return;
    }
    *out = (struct x86_insn){.kind = OPAQUE, .writes = ALL_REGISTERS};
    /* The 0f 38 and 0f 3a maps are vector instructions but for a few. */
    if (opcode == 0x38 && in->at < in->end && *in->at < 0xc8)
        out->writes = 0;
}

static void x86_vex(struct x86_cursor *in, struct x86_insn *out, uint8_t escape)
{
    static const uint8_t repeat_of[4] = {0, 0, 0xf3, 0xf2};
    uint8_t first = x86_byte(in), last = escape == 0xc4 ? x86_byte(in) : first, map = escape == 0xc4 ? first & 31 : 1;
    in->rex = (first & 0x80 ? 0 : 4) | (escape == 0xc4 ? (first & 0x40 ? 0 : 2) | (first & 0x20 ? 0 : 1) : 0);
    in->rex |= escape == 0xc4 && last & 0x80 ? 8 : 0;
    in->vex_length = last & 4 ? 32 : 16;
    in->operand_16 = (last & 3) == 1;
    in->repeat = repeat_of[last & 3];
    uint8_t opcode = x86_byte(in), other = ~(last >> 3) & 15;
    if (map == 1 && (opcode == 0x77 || x86_vector(in, out, opcode)))
        return;
    *out = (struct x86_insn){.kind = OPAQUE, .writes = ALL_REGISTERS};
    if (map == 2) {
        struct x86_modrm modrm = x86_modrm(in);
        out->writes = opcode < 0xf0 ? 0 : x86_set(modrm.reg) | x86_set(other);
    }
}

static void x86_map_1(struct x86_cursor *in, struct x86_insn *out, uint8_t opcode)
{
    uint8_t low = (opcode & 7) | (in->rex & 1) << 3;
    struct x86_modrm modrm;
    switch (opcode) {
    case 0x00 ... 0x3f:
        if ((opcode & 7) < 4)
            return x86_arithmetic(in, out, !(opcode & 1), opcode & 2, opcode >= 0x38);
        if ((opcode & 7) > 5)
            break;
        out->pure = opcode >= 0x38;
        out->reads = x86_set(RAX);
        out->writes = opcode >= 0x38 ? 0 : x86_set(RAX);
        if ((opcode == 0x05 || opcode == 0x2d) && in->rex & 8) {
            int64_t value = x86_signed(in, 4);
            x86_moves(out, RAX, RAX, opcode == 0x05 ? value : -value);
        }
        return;
    case 0x50 ... 0x57:
        out->push = true;
        if (in->operand_16)
            break;
        return;
    case 0x58 ... 0x5f:
        out->pop = true;
        out->writes = x86_set(low);
        if (in->operand_16 || low == RSP)
            break;
        return;
    case 0x63:
        return x86_load(in, out, 4, false, false);
    case 0x68:
    case 0x6a:
        out->push = true;
        x86_signed(in, x86_immediate_bytes(in, opcode == 0x6a));
        if (in->operand_16)
            break;
        return;
    case 0x69:
    case 0x6b:
        x86_arithmetic(in, out, false, true, false);
        x86_signed(in, x86_immediate_bytes(in, opcode == 0x6b));
        return;
    case 0x70 ... 0x7f:
        return x86_jump(in, out, 1);
    case 0x80:
    case 0x81:
    case 0x83:
        return x86_immediate_group(in, out, opcode);
    case 0x84:
    case 0x85:
        return x86_arithmetic(in, out, opcode == 0x84, true, true);
    case 0x86:
    case 0x87:
        modrm = x86_modrm(in);
        if (modrm.in_memory)
            break;
        out->writes = x86_sized_set(in, modrm.reg, opcode == 0x86) | x86_sized_set(in, modrm.rm, opcode == 0x86);
        return;
    case 0x88:
    case 0x89:
        return x86_store(in, out, opcode == 0x88, true);
    case 0x8a:
        return x86_load(in, out, 1, true, false);
    case 0x8b:
        return x86_load(in, out, x86_size(in, false), false, true);
    case 0x8d:
        return x86_lea(in, out);
    case 0x90:
        if (in->rex & 1) {
            out->writes = x86_set(RAX) | x86_set(8);
            return;
        }
        out->kind = in->repeat == 0xf3 ? PAUSE : PLAIN;
        out->pure = true;
        return;
    case 0x91 ... 0x97:
        out->writes = x86_set(RAX) | x86_set(low);
        return;
    case 0x98:
        out->writes = x86_set(RAX);
        return;
    case 0x99:
        out->writes = x86_set(RDX);
        return;
    case 0xa8:
    case 0xa9:
        out->pure = true;
        out->reads = x86_set(RAX);
        return;
    case 0xa4 ... 0xa7:
    case 0xaa ... 0xaf:
        return x86_string(in, out, opcode);
    case 0xb0 ... 0xb7:
        out->writes = x86_byte_set(in, low);
        return;
    case 0xb8 ... 0xbf:
        out->writes = x86_set(low);
        return;
    case 0xc0:
    case 0xc1:
    case 0xd0 ... 0xd3:
        modrm = x86_modrm(in);
        x86_access(out, &modrm, true, true, x86_size(in, !(opcode & 1)));
        out->writes = modrm.in_memory ? 0 : x86_sized_set(in, modrm.rm, !(opcode & 1));
        x86_signed(in, opcode < 0xd0);
        return;
    case 0xc3:
        out->pop = out->returns = true;
        return;
    case 0xc4:
    case 0xc5:
        return x86_vex(in, out, opcode);
    case 0xc6:
    case 0xc7:
        x86_store(in, out, opcode == 0xc6, false);
        x86_signed(in, x86_immediate_bytes(in, opcode == 0xc6));
        return;
    case 0xc9:
        out->loads = true;
        out->bytes = 8;
        out->memory = (struct x86_operand){RBP, NO_REGISTER, 1, 0, 0};
        x86_moves(out, RSP, RBP, 8);
        out->writes |= x86_set(RBP);
        return;
    case 0xe8:
        out->push = out->calls = true;
        x86_signed(in, 4);
        return;
    case 0xe9:
    case 0xeb:
        out->always = true;
        return x86_jump(in, out, opcode == 0xe9 ? 4 : 1);
    case 0xd8 ... 0xdf: /* x87: no general register but by fnstsw ax */
        modrm = x86_modrm(in);
        out->kind = OPAQUE;
        out->writes = opcode == 0xdf && !modrm.in_memory ? x86_set(RAX) : 0;
        return;
    case 0xf6:
    case 0xf7:
        return x86_unary_group(in, out, opcode == 0xf6);
    case 0xfe:
    case 0xff:
        return x86_branch_group(in, out, opcode == 0xfe);
    }
    *out = (struct x86_insn){.kind = OPAQUE, .writes = ALL_REGISTERS};
}

static struct x86_insn x86_decode(const uint8_t *code, size_t bytes, uint64_t address)
{
    struct x86_cursor in = {.at = code, .end = code + bytes, .next_rip = address + bytes, .vex_length = 16};
    struct x86_insn out = {.kind = PLAIN};
    uint8_t opcode;
    for (;;) {
        opcode = x86_byte(&in);
        if (opcode == 0x66)
            in.operand_16 = 1;
        else if (opcode == 0xf2 || opcode == 0xf3)
            in.repeat = opcode;
        else if (opcode == 0xf0)
            in.lock = true;
        else if (opcode == 0x67)
            in.address_32 = true;
        else if (opcode == 0x64 || opcode == 0x65)
            in.segment = opcode;
        else if (opcode != 0x2e && opcode != 0x36 && opcode != 0x3e && opcode != 0x26)
            break;
    }
    if ((opcode & 0xf0) == 0x40) {
        in.rex = opcode;
        opcode = x86_byte(&in);
    }
    if (opcode == 0x0f)
        x86_map_0f(&in, &out);
    else
        x86_map_1(&in, &out, opcode);
    out.truncated = in.truncated;
    if (in.lock || in.address_32)
        out = (struct x86_insn){.kind = OPAQUE, .writes = ALL_REGISTERS};
    return out;
}

#else

static struct x86_insn x86_decode(const uint8_t *code, size_t bytes, uint64_t address)
{
    (void)code, (void)bytes, (void)address;
    return (struct x86_insn){.kind = OPAQUE, .writes = ALL_REGISTERS};
}

#endif
