"""Rules for the records of processors: CPU, CPU_XSAVE, CPU_MSR, MTRR, VMCE_VCPU, TSC_ADJUST (see hvm_rules)."""
import struct

import hvm_rules
from hvm_rules import CPU, CPU_MSR, CPU_XSAVE, MTRR, TSC_ADJUST, VMCE_VCPU
from xen_stream import read_cpu

hvm_rules.RULES |= {
    "cpu-cr0": "hvm_load_cpu_ctxt(): no other bits than these; ET is 1; PG needs PE",
    "cpu-cr0-cache": "AMD APM 2, 15.5.1: NW without CD is illegal",
    "cpu-cr4": "hvm_load_cpu_ctxt(), hvm_cr4_guest_valid_bits(): each bit needs its feature in the policy, LA57 is never allowed",
    "cpu-cr4-mode": "SDM 3A, 4.10.1 and 2.5: PCIDE needs long mode, long mode needs PAE",
    "cpu-efer": "hvm_load_cpu_ctxt(), hvm_efer_valid(): each bit needs its feature in the policy; LMA needs LME and PG",
    "cpu-efer-lma": "SDM 3A, 2.2.1: LME with PG makes LMA",
    "cpu-cr3": "hvm_load_cpu_ctxt(): no bits from the guest's MAXPHYADDR on",
    "cpu-dr": "hvm_load_cpu_ctxt() since 4.18; AMD APM 2, 15.5.1: upper halves of DR6 and DR7 are zero",
    "cpu-tsc-aux": "hvm_load_cpu_ctxt(): 32 bits",
    "cpu-flags": "hvm_load_cpu_ctxt(): flags is 0 or 1, pad is 0",
    "cpu-fpu": "hvm_load_cpu_ctxt() resets the FPU where flags is 0; FXRSTOR faults on reserved bits of MXCSR",
    "cpu-event": "hvm_load_cpu_ctxt(): valid, a type that can be injected, reserved bits zero, the error code of 16 bits",
    "cpu-event-kind": "SDM 3C, 24.8.3: NMI is vector 2, exceptions are below 32, external interrupts are not",
    "cpu-rflags": "SDM 3C, 26.3.1.4: bits 3, 5, 15 and from 22 on are zero, no VM in long mode",
    "cpu-rip": "SDM 3C, 26.3.1.4: 32 bits outside 64-bit code, else canonical",
    "cpu-attributes": "save.h: bits 0-7 and 12-15 of the descriptor's attributes, no others; SDM 3C, 26.3.1.2 on the limit's granularity",
    "cpu-selector": "save.h: 16 bits; SDM 3C, 26.3.1.2: TR and LDTR are in the GDT",
    "cpu-cs": "hvm_set_segment_register(): present code, accessed; AMD APM 2, 15.5.1: not both L and D",
    "cpu-ss": "hvm_set_segment_register(): writable data; SDM 3C, 26.3.1.2: its DPL is the CPL",
    "cpu-data": "SDM 3C, 26.3.1.2: data or readable code, accessed",
    "cpu-tr": "hvm_set_segment_register(): present, a busy TSS",
    "cpu-ldtr": "hvm_set_segment_register(): an LDT",
    "cpu-table-limit": "hvm_set_segment_register(): 16 bits",
    "cpu-base": "hvm_set_segment_register(): canonical, those of CS, SS, DS and ES within 4 GiB",
    "cpu-msr-address": "SDM 4, WRMSR faults on an address that is not canonical",
    "cpu-msr-mask": "AMD APM 2, 6.1.1: SFMASK has 32 bits; SYSENTER_CS too",
    "cpu-tsc": "hvm_save(): one instant, so all processors have the same TSC",
    "xsave-policy": "hvm_load_cpu_xsave_states(): the guest's CPUID has XSAVE",
    "xsave-osxsave": "a guest that has set CR4.OSXSAVE has an XCR0",
    "xsave-mask": "hvm_load_cpu_xsave_states(), validate_xstate(): XCR0 within XCR0_accum within the policy, states only in pairs",
    "xsave-bits": "validate_xstate(): XSTATE_BV within XCR0_accum",
    "xsave-header": "validate_xstate(): standard format, reserved fields zero",
    "xsave-length": "hvm_load_cpu_xsave_states(): the area for XCR0_accum at the offsets of CPUID leaf 0xD",
    "xsave-legacy": "hvm_save_cpu_ctxt() writes the FXSAVE image out of this area: both are the same",
    "msr-count": "hvm_load_cpu_msrs(): at least one, the length fits, reserved fields zero",
    "msr-known": "hvm_load_cpu_msrs(): an MSR that it knows, which the policy has, with a value that it takes",
    "mtrr-cap": "hvm_load_mtrr_msr(): at most 8 variable ranges",
    "mtrr-default": "mtrr_def_type_msr_set(): a type, FE, E",
    "mtrr-fixed": "mtrr_fix_range_msr_set(): types",
    "mtrr-variable": "mtrr_var_range_msr_set(): a type, reserved bits zero, below MAXPHYADDR",
    "mtrr-pat": "hvm_set_guest_pat(): types",
    "vmce-caps": "vmce_restore_vcpu(): banks, and what the guest's vendor has",
    "tsc-adjust": "a guest without the feature cannot have changed it",
}

PE, MP, EM, TS, ET, NE, WP, AM, NW, CD, PG = (1 << bit for bit in (0, 1, 2, 3, 4, 5, 16, 18, 29, 30, 31))
SCE, LME, LMA, NXE, SVME, FFXSE = (1 << bit for bit in (0, 8, 10, 11, 12, 14))
PAE, OSXSAVE, PCIDE = 1 << 5, 1 << 18, 1 << 17
VM86 = 1 << 17
# CR4 bit: the feature that allows it (CPUID leaf, register, bit); None: always.
CR4_FEATURES = {0: (1, "edx", 1), 1: (1, "edx", 1), 2: (1, "edx", 4), 3: (1, "edx", 2), 4: (1, "edx", 3), 5: (1, "edx", 6),
                6: (1, "edx", 7), 7: (1, "edx", 13), 8: None, 9: (1, "edx", 24), 10: (1, "edx", 25), 11: (7, "ecx", 2),
                13: (1, "ecx", 5), 16: (7, "ebx", 0), 17: (1, "ecx", 17), 18: (1, "ecx", 26), 20: (7, "ebx", 7),
                21: (7, "ebx", 20), 22: (7, "ecx", 3), 23: (7, "ecx", 7), 24: (7, "ecx", 31)}
EFER_FEATURES = {0: (0x80000001, "edx", 11), 8: (0x80000001, "edx", 29), 10: (0x80000001, "edx", 29),
                 11: (0x80000001, "edx", 20), 12: (0x80000001, "ecx", 2), 14: (0x80000001, "edx", 25)}
MEMORY_TYPES = (0, 1, 4, 5, 6)
PAT_TYPES = MEMORY_TYPES + (7,)
X87, SSE, YMM, BNDREGS, BNDCSR, OPMASK, ZMM, HI_ZMM = (1 << bit for bit in range(8))
TILE_CONFIG, TILE_DATA = 1 << 17, 1 << 18
XSAVE_BASIC = 512 + 64
EXTERNAL, NMI, EXCEPTION, SOFTWARE_INTERRUPT, PRIVILEGED, SOFTWARE_EXCEPTION = 0, 2, 3, 4, 5, 6


def is_canonical(address):
    return address >> 47 in (0, (1 << 17) - 1)


def bits_allowed(policy, value, features):
    """The bits of `value` that the policy does not allow."""
    return [bit for bit in range(64) if value >> bit & 1
            and not (bit in features and (features[bit] is None or policy.has(*features[bit])))]


def check(judge):
    cpus = dict(judge.of(CPU))
    for instance, body in judge.of(CPU):
        cpu = read_cpu(body)
        check_control(judge, cpu)
        check_segments(judge, cpu)
        check_registers(judge, cpu)
        check_tail(judge, cpu, body)
        judge.expect("xsave-osxsave", not cpu["cr4"] & OSXSAVE or (CPU_XSAVE, instance) in judge.records, "no record CPU_XSAVE")
        first = read_cpu(cpus[min(cpus)])["tsc"]
        judge.expect("cpu-tsc", cpu["tsc"] == first, f"{cpu['tsc']:#x}, the first one has {first:#x}")
    for instance, body in judge.of(CPU_XSAVE):
        check_xsave(judge, body, cpus.get(instance))
    for _, body in judge.of(CPU_MSR):
        check_msrs(judge, body)
    for _, body in judge.of(MTRR):
        check_mtrr(judge, body)
    for _, body in judge.of(VMCE_VCPU):
        allowed = 0xFF | 1 << 8 | (0 if judge.policy.is_amd else 1 << 10 | 1 << 11 | 1 << 24 | 1 << 27)
        caps = struct.unpack_from("<Q", body)[0]
        judge.expect("vmce-caps", not caps & ~allowed, f"{caps:#x}")
    for _, body in judge.of(TSC_ADJUST):
        judge.expect("tsc-adjust", body == bytes(8) or judge.policy.has(7, "ebx", 1), body.hex())


def check_control(judge, cpu):
    cr0, cr3, cr4, efer = cpu["cr0"], cpu["cr3"], cpu["cr4"], cpu["efer"]
    judge.expect("cpu-cr0", not cr0 & ~(PE | MP | EM | TS | ET | NE | WP | AM | NW | CD | PG), f"reserved bits in {cr0:#x}")
    judge.expect("cpu-cr0", cr0 & ET and (cr0 & PE or not cr0 & PG), f"{cr0:#x}")
    judge.expect("cpu-cr0-cache", cr0 & CD or not cr0 & NW, f"{cr0:#x}")
    judge.expect("cpu-cr4", not (bad := bits_allowed(judge.policy, cr4, CR4_FEATURES)), f"{cr4:#x}: bits {bad} are not allowed")
    judge.expect("cpu-cr4-mode", efer & LMA or not cr4 & PCIDE, f"PCIDE without long mode: {cr4:#x}")
    judge.expect("cpu-cr4-mode", cr4 & PAE or not efer & LMA, f"long mode without PAE: {cr4:#x}")
    judge.expect("cpu-efer", not (bad := bits_allowed(judge.policy, efer, EFER_FEATURES)), f"{efer:#x}: bits {bad} are not allowed")
    judge.expect("cpu-efer", not efer & LMA or (efer & LME and cr0 & PG), f"LMA: {efer:#x}, CR0 {cr0:#x}")
    judge.expect("cpu-efer-lma", efer & LMA or not (efer & LME and cr0 & PG), f"{efer:#x}")
    judge.expect("cpu-cr3", cr3 >> judge.policy.physical_bits == 0, f"{cr3:#x}")


def check_segments(judge, cpu):
    long_mode, protected = cpu["efer"] & LMA, cpu["cr0"] & PE and not cpu["rflags"] & VM86
    for name in ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldtr"):
        attributes, limit, selector = cpu[name + "_ar"], cpu[name + "_limit"], cpu[name + "_sel"]
        present, granular = attributes & 0x80, attributes & 0x800
        judge.expect("cpu-attributes", not attributes & ~0xFFF, f"{name} {attributes:#x}")
        judge.expect("cpu-attributes", not present or (limit & 0xFFF == 0xFFF if granular else limit <= 0xFFFFF),
                     f"{name} limit {limit:#x}, attributes {attributes:#x}")
        judge.expect("cpu-selector", selector <= 0xFFFF and (name not in ("tr", "ldtr") or not present or not selector & 4),
                     f"{name} {selector:#x}")
        base = cpu[name + "_base"]
        wide = name in ("fs", "gs", "tr", "ldtr")
        judge.expect("cpu-base", is_canonical(base) if wide else base < 1 << 32, f"{name} {base:#x}")
    for name in ("gdtr", "idtr"):
        judge.expect("cpu-base", is_canonical(cpu[name + "_base"]), f"{name} {cpu[name + '_base']:#x}")
        judge.expect("cpu-table-limit", cpu[name + "_limit"] <= 0xFFFF, f"{name} {cpu[name + '_limit']:#x}")
    cs, ss = cpu["cs_ar"], cpu["ss_ar"]
    judge.expect("cpu-cs", cs & 0x91 == 0x91, f"not present, or not accessed: {cs:#x}")
    judge.expect("cpu-cs", not protected or cs & 8, f"not code: {cs:#x}")
    judge.expect("cpu-cs", not long_mode or cs & 0x600 != 0x600, f"both L and D: {cs:#x}")
    judge.expect("cpu-ss", not ss & 0x80 or ss & 0x1B == 0x13, f"{ss:#x}")
    # In long mode SS may be null, and keeps the CPL.
    judge.expect("cpu-ss", not protected or ss >> 5 & 3 == cpu["cs_sel"] & 3, f"DPL in {ss:#x}, CS {cpu['cs_sel']:#x}")
    for name in ("ds", "es", "fs", "gs"):
        attributes = cpu[name + "_ar"]
        judge.expect("cpu-data", not attributes & 0x80 or (attributes & 0x11 == 0x11 and attributes & 0xA != 8),
                     f"{name} {attributes:#x}")
    # TSS of 16 bits (3) or 32 and 64 bits (11), busy.
    judge.expect("cpu-tr", cpu["tr_ar"] & 0x9F in ((0x8B,) if long_mode else (0x8B, 0x83)), f"{cpu['tr_ar']:#x}")
    judge.expect("cpu-ldtr", not cpu["ldtr_ar"] & 0x80 or cpu["ldtr_ar"] & 0x1F == 2, f"{cpu['ldtr_ar']:#x}")


def check_registers(judge, cpu):
    rflags, rip = cpu["rflags"], cpu["rip"]
    judge.expect("cpu-rflags", not rflags & ~0x3F7FD7 and not (rflags & VM86 and cpu["efer"] & LMA), f"{rflags:#x}")
    in_64_bit = cpu["efer"] & LMA and cpu["cs_ar"] & 0x200
    judge.expect("cpu-rip", is_canonical(rip) if in_64_bit else rip < 1 << 32, f"{rip:#x}")
    for name in ("dr6", "dr7"):
        judge.expect("cpu-dr", cpu[name] < 1 << 32, f"{name} {cpu[name]:#x}")
    for name in ("sysenter_esp", "sysenter_eip", "shadow_gs", "lstar", "cstar"):
        judge.expect("cpu-msr-address", is_canonical(cpu[name]), f"{name} {cpu[name]:#x}")
    judge.expect("cpu-msr-mask", cpu["syscall_mask"] < 1 << 32 and cpu["sysenter_cs"] < 1 << 32,
                 f"{cpu['syscall_mask']:#x}, {cpu['sysenter_cs']:#x}")
    judge.expect("cpu-tsc-aux", cpu["tsc_aux"] < 1 << 32, f"{cpu['tsc_aux']:#x}")


def check_tail(judge, cpu, body):
    event, error, flags, pad = struct.unpack_from("<4I", body, 1016)
    judge.expect("cpu-flags", flags in (0, 1) and pad == 0, f"flags {flags:#x}, pad {pad:#x}")
    judge.expect("cpu-fpu", flags != 0 or cpu["fpu"] == bytes(512), "a state that is not loaded")
    mxcsr = struct.unpack_from("<I", cpu["fpu"], 24)[0]
    judge.expect("cpu-fpu", mxcsr < 1 << 16, f"MXCSR {mxcsr:#x}")
    if not event >> 31:
        judge.expect("cpu-event", event == 0, f"{event:#x} without the bit that makes it valid")
        return
    vector, kind, has_error = event & 0xFF, event >> 8 & 7, event >> 11 & 1
    kinds = (EXTERNAL, NMI, EXCEPTION, SOFTWARE_INTERRUPT) + (() if judge.policy.is_amd else (PRIVILEGED, SOFTWARE_EXCEPTION))
    judge.expect("cpu-event", kind in kinds and not event & 0x7FFFF000, f"{event:#x}")
    judge.expect("cpu-event", not has_error or error < 1 << 16, f"error code {error:#x}")
    fits = {EXTERNAL: 16 <= vector, NMI: vector == 2, EXCEPTION: vector < 32 and vector not in (2, 3, 4)}
    judge.expect("cpu-event-kind", fits.get(kind, True), f"vector {vector} of type {kind}")


def check_xsave(judge, body, cpu_body):
    judge.expect("xsave-policy", judge.policy.has(1, "ecx", 26), "the policy has no XSAVE")
    judge.expect("xsave-length", len(body) >= 24 + XSAVE_BASIC, f"{len(body)} bytes")
    if len(body) < 24 + XSAVE_BASIC:
        return
    _, xcr0, accumulated = struct.unpack_from("<3Q", body)
    area = body[24:]
    supported = judge.policy(0xD, "eax") | judge.policy(0xD, "edx") << 32
    for name, mask in (("XCR0", xcr0), ("XCR0_accum", accumulated)):
        together = all(mask & group in (0, group) for group in
                       (OPMASK | ZMM | HI_ZMM, BNDREGS | BNDCSR, TILE_CONFIG | TILE_DATA))
        judge.expect("xsave-mask", mask & X87 and together and (mask & SSE or not mask & YMM)
                     and (mask & YMM or not mask & ZMM), f"{name} {mask:#x}")
    judge.expect("xsave-mask", not xcr0 & ~accumulated and not accumulated & ~supported,
                 f"XCR0 {xcr0:#x}, accumulated {accumulated:#x}, policy {supported:#x}")
    present, compacted = struct.unpack_from("<2Q", area, 512)
    judge.expect("xsave-bits", not present & ~accumulated, f"XSTATE_BV {present:#x}, accumulated {accumulated:#x}")
    judge.expect("xsave-header", compacted == 0 and area[528:XSAVE_BASIC] == bytes(48), area[512:XSAVE_BASIC].hex())
    size = max([XSAVE_BASIC] + [judge.policy(0xD, "ebx", bit) + judge.policy(0xD, "eax", bit)
                                for bit in range(2, 63) if accumulated >> bit & 1])
    judge.expect("xsave-length", len(area) >= size and not any(area[size:]), f"{len(area)} bytes, the states need {size}")
    if cpu_body is not None and struct.unpack_from("<I", cpu_body, 1024)[0] & 1:
        if present & X87:
            judge.expect("xsave-legacy", area[:24] == cpu_body[:24] and area[32:160] == cpu_body[32:160], "x87 differs")
        if present & SSE:
            judge.expect("xsave-legacy", area[24:28] == cpu_body[24:28] and area[160:416] == cpu_body[160:416], "SSE differs")


def check_msrs(judge, body):
    count, reserved = struct.unpack_from("<II", body) if len(body) >= 8 else (0, 0)
    judge.expect("msr-count", count >= 1 and not reserved and len(body) == 8 + 16 * count, f"{count} in {len(body)} bytes")
    has = judge.policy.has
    spec_ctrl = has(7, "edx", 26) or any(has(0x80000008, "ebx", bit) for bit in (14, 15, 24))
    breakpoints = has(0x80000001, "ecx", 26)
    # MSR: (the policy has it, the bits that its value may have)
    known = {0x48: (spec_ctrl, 0x7), 0x140: (judge.msrs.get(0xCE, 0) >> 31 & 1, 1), 0x6E1: (has(7, "ecx", 31), (1 << 32) - 1),
             0xD90: (has(7, "ebx", 14), (1 << 64) - 1 & ~0xFFC), 0xDA0: (has(0xD, "eax", 3, 1), 0),
             0xC001011F: (has(0x80000008, "ebx", 25), 0x4), 0xC0011027: (breakpoints, (1 << 32) - 1),
             **{msr: (breakpoints, (1 << 32) - 1) for msr in (0xC0011019, 0xC001101A, 0xC001101B)}}
    for at in range(8, len(body) - 15, 16):
        msr, reserved, value = struct.unpack_from("<IIQ", body, at)
        judge.expect("msr-count", not reserved, f"MSR {msr:#x}: reserved {reserved:#x}")
        there, bits = known.get(msr, (False, 0))
        judge.expect("msr-known", there and not value & ~bits, f"MSR {msr:#x} = {value:#x}")


def check_mtrr(judge, body):
    pat, *variable = struct.unpack_from("<17Q", body)
    fixed, (cap, default) = struct.unpack_from("<88B", body, 136), struct.unpack_from("<2Q", body, 224)
    judge.expect("mtrr-pat", all(entry in PAT_TYPES for entry in pat.to_bytes(8, "little")), f"{pat:#x}")
    judge.expect("mtrr-cap", cap & 0xFF <= 8 and not cap & ~0xDFF, f"{cap:#x}")
    judge.expect("mtrr-default", default & 0xFF in MEMORY_TYPES and not default & ~0xCFF, f"{default:#x}")
    judge.expect("mtrr-fixed", all(entry in MEMORY_TYPES for entry in fixed), bytes(fixed).hex())
    above = ~((1 << judge.policy.physical_bits) - 1)
    for index in range(8):
        base, mask = variable[2 * index:2 * index + 2]
        judge.expect("mtrr-variable", base & 0xFF in MEMORY_TYPES and not base & (above | 0xF00) and not mask & (above | 0x7FF),
                     f"range {index}: {base:#x}, {mask:#x}")
