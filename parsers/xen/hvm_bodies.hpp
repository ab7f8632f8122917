// The bodies of HVM save records, one by one: lengths, reserved fields and ranges. Framing: hvm_context.cpp.
//
// The rules are those of Xen's own loader that concern the form of a record (wire lengths, fields that must
// be zero, ranges that no device state can leave); whether a value suits a CPU or a machine is not asked
// here.
#pragma once

#include <cstdint>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/wire/place.hpp"
#include "parsers/xen/hvm_context.hpp"

namespace vmferry::xen {

enum class HvmType : std::uint16_t {
    end = 0,
    header = 1,
    cpu = 2,
    pic = 3,
    ioapic = 4,
    lapic = 5,
    lapic_regs = 6,
    pci_irq = 7,
    isa_irq = 8,
    pci_link = 9,
    pit = 10,
    rtc = 11,
    hpet = 12,
    pmtimer = 13,
    mtrr = 14,
    viridian_domain = 15,
    cpu_xsave = 16,
    viridian_vcpu = 17,
    vmce_vcpu = 18,
    tsc_adjust = 19,
    cpu_msr = 20,
};

// Wire lengths of CPU that older releases send, and the place where the oldest lacks msr_tsc_aux.
inline constexpr std::size_t cpu_length_before_3_4 = 1016, cpu_length_before_4_7 = 1024,
                             cpu_tsc_aux_at = 1000;
inline constexpr std::size_t lapic_length_without_esr = 24, lapic_length_with_esr = 32;
inline constexpr std::size_t xsave_head_size = 24, xsave_legacy_size = 512, xsave_header_size = 64;
inline constexpr std::size_t msr_head_size = 8, msr_entry_size = 16;

/// How many instances a type can have: max_hvm_vcpus, 2 for the PICs, 1.
[[nodiscard]] std::uint16_t hvm_instances(HvmType type);

/// `place.offset` is the offset of the body. Precondition: `type` is known and not END.
[[nodiscard]] Result<HvmBody> read_hvm_body(HvmType type, std::uint16_t instance, Bytes body,
                                            const Place& place);

/// The body as it stands on the wire, in the length that `record.length` says if Xen knows that length.
void append_hvm_body(Buffer& out, const HvmRecord& record);

}  // namespace vmferry::xen
