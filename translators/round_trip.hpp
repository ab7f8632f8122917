// What a guest does not find as it left it when it has been on the other VMM and come back. Everything else
// is the same, field by field: tests compare all of it and know no other exception than these.
#pragma once

#include <span>
#include <string_view>

namespace vmferry {

struct RoundTripException {
    std::string_view
        field;  ///< of Xen's records ("LAPIC_REGS.TMICT") or QEMU's sections ("apic.initial_count")
    std::string_view reason;
};
/// A guest of hvmloader, from Xen to QEMU and back.
[[nodiscard]] std::span<const RoundTripException> xen_round_trip_exceptions();
/// A guest of SeaBIOS, from QEMU to Xen and back.
[[nodiscard]] std::span<const RoundTripException> qemu_round_trip_exceptions();

}  // namespace vmferry
