#include "translators/round_trip.hpp"

namespace vmferry {

std::span<const RoundTripException> xen_round_trip_exceptions() {
    static constexpr RoundTripException exceptions[] = {
        {"CPU.fpu_regs.available",
         "bytes of FXSAVE that belong to software; Xen notes the width of FIP there"},
        {"LAPIC_REGS.TMICT",
         "of a one-shot timer: Xen's record does not hold how much of the count has passed, so it is due at "
         "once, "
         "and stays so"},
        {"MTRR.msr_mtrr_var",
         "Xen writes range 0 into all eight pairs; ranges 1 to 7 are rebuilt, and come back right"},
        {"PIT.channels.mode",
         "a mode that no 8254 has: Xen sends one for a channel that was never used, or 6 and 7 for 2 and 3"},
    };
    return exceptions;
}

std::span<const RoundTripException> qemu_round_trip_exceptions() {
    static constexpr std::string_view starts_anew =
        "Xen has no place for a phase: each channel of the PIT starts anew";
    static constexpr std::string_view whole_seconds =
        "Xen keeps the RTC's distance from UTC in whole seconds";
    static constexpr std::string_view awake =
        "Xen does not say whether a vCPU was in HLT, and lets each return once";
    static constexpr std::string_view paused = "always \"paused\": the handover decides";
    static constexpr RoundTripException exceptions[] = {
        {"I440FX.parent_obj.config",
         "what the guest read from ROM at 0xC0000 to 0xFFFFF is in RAM (PAM registers)"},
        {"apic.count_shift", "after reset QEMU's does not follow from the divider; it does afterwards"},
        {"apic.initial_count_load_time", "of a timer that is not armed: now"},
        {"cpu.env.hflags", "the one instruction's shadow behind STI or MOV SS ends"},
        {"cpu.env.mp_state", awake},
        {"cpu.env.segs.flags", "bits of the descriptor that belong to the limit"},
        {"cpu.env.tsc", "used by KVM only; under TCG section timer has it"},
        {"cpu.env.xstate_bv", "without XSAVE in use: x87 and SSE; TCG does not keep it"},
        {"cpu_common.halted", awake},
        {"cpu_common.interrupt_request", "follows from the interrupt controllers"},
        {"globalstate.runstate", paused},
        {"globalstate.size", paused},
        {"hpet.timer.config", "of an HPET that is off: Xen's, which offers other pins"},
        {"i8254.channels", starts_anew},
        {"i8254.channels.count_load_time", starts_anew},
        {"i8254.channels.next_transition_time", starts_anew},
        {"i8259.elcr", "Xen holds the cascade's input as level-triggered"},
        {"i8259.last_irr", "IRQ 0 and 8 are of Xen's own timers"},
        {"mc146818rtc.base_rtc", whole_seconds},
        {"mc146818rtc.next_alarm_time", whole_seconds},
        {"mc146818rtc.offset", whole_seconds},
        {"mc146818rtc.update_timer", whole_seconds},
        {"piix4_pm.ar.tmr.overflow_time", "computed anew from the PM timer"},
        {"timer.cpu_ticks_offset", "used by TCG only; under KVM each processor has its own"},
    };
    return exceptions;
}

}  // namespace vmferry
