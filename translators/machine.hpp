// A PC at one instant, in the terms of its manuals: Intel SDM and AMD APM for the processors and local APICs,
// 82093AA, 8259A, 8254, MC146818, IA-PC HPET and the PIIX3/PIIX4 data sheets for the rest.
//
//     Xen's save records ⇄ Machine ⇄ QEMU's sections
//
// Plain data. Every counter holds its value at the one instant at which the machine stands still; durations
// ("…_ns") are relative to that instant, never absolute times of some host. Devices that are QEMU's own
// models on both sides (VGA, disks, NICs, serial, …) are not here: they travel as decoded sections.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace vmferry {

/// Who built the platform that the guest lives on: a guest that moves keeps the one that it booted with.
enum class Firmware { hvmloader, seabios_on_qemu };

// ---- processors ----

/// A segment register. attributes: bits 0–3 type, 4 S, 5–6 DPL, 7 P, 8 AVL, 9 L, 10 D/B, 11 G (the access
/// rights of SDM vol. 3, 24.4.1, without the gap). P = 0: unusable.
struct Segment {
    std::uint32_t selector = 0;
    std::uint64_t base = 0;
    std::uint32_t limit = 0;  ///< in bytes, granularity applied
    std::uint32_t attributes = 0;
    bool operator==(const Segment&) const = default;
};
struct DescriptorTable {
    std::uint64_t base = 0;
    std::uint32_t limit = 0;
    bool operator==(const DescriptorTable&) const = default;
};

struct FpRegister {
    std::uint64_t mantissa = 0;
    std::uint16_t exponent = 0;  ///< with the sign in bit 15
    bool operator==(const FpRegister&) const = default;
};
struct Quads2 {
    std::uint64_t low = 0, high = 0;
    bool operator==(const Quads2&) const = default;
};

/// x87 and SSE state. Defaults: as after INIT.
struct Fpu {
    std::uint16_t control = 0x37F;
    std::uint16_t status = 0;  ///< with TOP in bits 11–13
    std::uint8_t tag = 0;      ///< abridged: bit n = physical register n is in use
    std::uint16_t opcode = 0;
    std::uint64_t instruction_pointer = 0;
    std::uint64_t data_pointer = 0;
    std::uint32_t mxcsr = 0x1F80;
    std::uint32_t mxcsr_mask = 0xFFFF;
    std::array<FpRegister, 8> st;  ///< index = distance from the top of the stack, as FXSAVE numbers them
    std::array<Quads2, 16> xmm;
    bool operator==(const Fpu&) const = default;
};

/// What XSAVE holds beyond x87 and SSE.
struct ExtendedState {
    std::uint64_t xcr0 = 1;
    std::uint64_t xcr0_accumulated = 1;      ///< every bit that was ever set
    std::uint64_t xstate_bv = 0;             ///< components that are not in their initial state
    std::array<Quads2, 16> ymm_high;         ///< bits 128–255
    std::array<std::uint64_t, 4> bound_low;  ///< MPX BND0–3
    std::array<std::uint64_t, 4> bound_high;
    std::uint64_t bndcfgu = 0, bndstatus = 0;
    std::array<std::uint64_t, 8> opmask;
    std::array<std::array<std::uint64_t, 4>, 16> zmm_high;   ///< bits 256–511 of ZMM0–15
    std::array<std::array<std::uint64_t, 8>, 16> zmm_upper;  ///< ZMM16–31
    std::uint32_t pkru = 0;
    bool operator==(const ExtendedState&) const = default;
};

/// An event that was on its way into the processor at the instant.
struct PendingEvent {
    enum class Type : std::uint8_t { external = 0, nmi = 2, exception = 3, software_interrupt = 4 };
    bool valid = false;
    Type type = Type::external;
    std::uint8_t vector = 0;
    bool has_error_code = false;
    std::uint32_t error_code = 0;
    bool operator==(const PendingEvent&) const = default;
};

/// Registers of the local APIC as the guest reads them (SDM vol. 3, 10.4), and what it does not see.
struct Lapic {
    std::uint64_t base_msr = 0xFEE00000;
    std::uint32_t id = 0;  ///< the number, whatever the mode: not shifted
    std::uint32_t version = 0;
    std::uint32_t tpr = 0;
    std::uint32_t ldr = 0;  ///< xAPIC: in bits 24–31
    std::uint32_t dfr = 0xFFFFFFFF;
    std::uint32_t svr = 0xFF;
    std::array<std::uint32_t, 8> isr{}, tmr{}, irr{};
    std::uint32_t esr = 0;
    std::uint32_t pending_esr = 0;  ///< errors that the next write to ESR makes visible
    std::uint32_t icr_low = 0, icr_high = 0;
    std::array<std::uint32_t, 6> lvt{};  ///< timer, thermal, performance, LINT0, LINT1, error
    std::uint32_t initial_count = 0;
    std::uint32_t divide_configuration = 0;  ///< TDCR as the guest reads it
    std::uint32_t divider = 2;               ///< clock pulses per count; 1, 2, … 128
    std::uint64_t clock_hz = 0;              ///< of the pulses, before division
    std::optional<std::int64_t> expiry_ns;   ///< until the timer fires; nothing: not armed. ≤ 0: due
    std::uint64_t tsc_deadline = 0;
    bool waits_for_sipi = false;
    bool operator==(const Lapic&) const = default;

    [[nodiscard]] bool globally_enabled() const { return (base_msr & 0x800) != 0; }
    [[nodiscard]] bool x2apic() const { return (base_msr & 0x400) != 0; }
    [[nodiscard]] bool software_enabled() const { return (svr & 0x100) != 0; }
};

struct VariableMtrr {
    std::uint64_t base = 0, mask = 0;
    bool operator==(const VariableMtrr&) const = default;
};
struct Mtrr {
    std::uint64_t pat = 0x0007040600070406;
    std::uint64_t capabilities = 0x508;
    std::uint64_t default_type = 0;
    std::array<VariableMtrr, 8> variable;
    /// MSRs 0x250, 0x258, 0x259, 0x268–0x26F
    std::array<std::uint64_t, 11> fixed{};
    bool operator==(const Mtrr&) const = default;
};

struct Vcpu {
    /// It executes instructions. false: waiting for INIT and SIPI; the registers are then the reset state.
    bool online = false;
    std::uint64_t rax = 0, rcx = 0, rdx = 0, rbx = 0, rsp = 0, rbp = 0, rsi = 0, rdi = 0;
    std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
    std::uint64_t rip = 0, rflags = 2;
    std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
    std::uint64_t dr0 = 0, dr1 = 0, dr2 = 0, dr3 = 0, dr6 = 0, dr7 = 0;
    Segment es, cs, ss, ds, fs, gs, ldtr, tr;
    DescriptorTable gdtr, idtr;
    std::uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
    std::uint64_t efer = 0, star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0, tsc_aux = 0;
    std::uint64_t tsc = 0;  ///< what RDTSC gives at the instant
    std::uint64_t tsc_adjust = 0;
    std::uint64_t spec_ctrl = 0, virt_spec_ctrl = 0, pkrs = 0, bndcfgs = 0;
    Fpu fpu;
    std::optional<ExtendedState> extended;  ///< nothing: the source said nothing about XSAVE state
    PendingEvent event;
    Lapic lapic;
    Mtrr mtrr;
    bool operator==(const Vcpu&) const = default;

    [[nodiscard]] unsigned cpl() const { return ss.attributes >> 5 & 3; }
};

// ---- interrupts ----

/// I/O APIC. Redirection entry: bits 0–7 vector, 8–10 delivery mode, 11 destination mode, 12 delivery status,
/// 13 polarity, 14 remote IRR, 15 trigger mode, 16 mask, 56–63 destination (82093AA, 3.2.4).
struct IoApic {
    std::uint64_t base = 0xFEC00000;
    std::uint32_t id = 0;
    std::uint32_t register_select = 0;
    std::vector<std::uint64_t> redirection;  ///< one entry for each pin
    std::uint64_t level_asserted = 0;        ///< level-triggered pins whose line is asserted
    bool operator==(const IoApic&) const = default;
};

namespace redirection {
inline constexpr std::uint64_t remote_irr = 1u << 14, level = 1u << 15, masked = 1u << 16;
inline constexpr std::uint64_t logical = 1u << 11;
inline constexpr std::uint64_t reset = masked;
}  // namespace redirection

/// One 8259A.
struct Pic {
    std::uint8_t irr = 0, imr = 0, isr = 0, vector_base = 0, elcr = 0;
    std::uint8_t lines = 0;      ///< levels of the inputs
    std::uint8_t init_step = 0;  ///< 0 = initialised; else the ICW that comes next, less one
    bool expects_icw4 = false, single = false;
    std::uint8_t lowest_plus_one = 0;  ///< input with the highest priority
    bool read_isr = false, poll = false, auto_eoi = false, rotate_on_auto_eoi = false;
    bool special_fully_nested = false, special_mask = false;
    bool output = false;  ///< INT
    bool operator==(const Pic&) const = default;
};

/// Wires and their routing.
struct InterruptWires {
    std::array<std::uint64_t, 2> pci{};  ///< bit device × 4 + pin (0 = INTA#): asserted, bus 0
    std::uint64_t isa = 0;               ///< bit n: ISA IRQ n asserted
    /// PIRQ route registers 0x60–0x63 of the PIIX3: bits 0–3 ISA IRQ, bit 7 not routed.
    std::array<std::uint8_t, 4> pirq{0x80, 0x80, 0x80, 0x80};
    bool operator==(const InterruptWires&) const = default;
};

// ---- clocks ----

struct PitChannel {
    std::uint32_t count = 65536;  ///< 1–65536
    std::uint16_t latched_count = 0;
    std::uint8_t count_latched = 0;  ///< 0 or the read/write state in which it is read
    std::uint8_t status_latched = 0, status = 0;
    std::uint8_t read_state = 0, write_state = 0, write_latch = 0;
    std::uint8_t access_mode = 0;  ///< 1 low byte, 2 high byte, 3 both
    std::uint8_t mode = 0;         ///< 0–5
    std::uint8_t bcd = 0;
    std::uint8_t gate = 0;
    std::int64_t loaded_ago_ns = 0;  ///< since counting began; Xen starts each channel anew
    bool operator==(const PitChannel&) const = default;
};
inline constexpr std::uint64_t pit_hz = 1193182;
struct Pit {
    std::array<PitChannel, 3> channels;
    bool speaker_on = false;
    bool irq_disabled = false;  ///< HPET legacy replacement has taken IRQ 0
    bool operator==(const Pit&) const = default;
};

struct Rtc {
    std::array<std::uint8_t, 128> cmos{};  ///< 0–13 clock registers, rest memory
    std::uint8_t index = 0;
    std::int64_t offset_ns = 0;  ///< guest's clock less UTC
    bool operator==(const Rtc&) const = default;
};

struct HpetTimer {
    std::uint64_t configuration = 0, comparator = 0, fsb_route = 0, period = 0;
    bool operator==(const HpetTimer&) const = default;
};
struct Hpet {
    std::uint64_t capability = 0, configuration = 0, interrupt_status = 0, counter = 0;
    std::uint32_t period_fs = 0;  ///< of the clock that counts; not necessarily what the guest was told
    std::array<HpetTimer, 3> timers;
    bool operator==(const Hpet&) const = default;

    [[nodiscard]] bool enabled() const { return (configuration & 1) != 0; }
    [[nodiscard]] bool legacy_replacement() const { return (configuration & 3) == 3; }
};

/// ACPI PM1 event block and PM timer.
struct PowerManagement {
    std::uint32_t timer = 0;  ///< counts at pm_timer_hz
    std::uint16_t pm1_status = 0, pm1_enable = 0;
    bool operator==(const PowerManagement&) const = default;
};
inline constexpr std::uint64_t pm_timer_hz = 3579545;

// ---- the whole ----

struct Machine {
    Firmware firmware = Firmware::hvmloader;
    std::vector<Vcpu> vcpus;    ///< index = number at the source
    std::uint64_t tsc_khz = 0;  ///< rate at which the guest saw its TSC run; 0 = not known
    IoApic ioapic;
    std::array<Pic, 2> pic;  ///< master, slave
    InterruptWires wires;
    Pit pit;
    Rtc rtc;
    std::optional<Hpet> hpet;
    PowerManagement pm;
};

}  // namespace vmferry
