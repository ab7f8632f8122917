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

}  // namespace vmferry
