// HVM_CONTEXT: the state that Xen itself holds of an HVM guest.
//
//     descriptor (8): u16 typecode · u16 instance · u32 length        all little-endian
//     body (length)   back to back, no padding
//     first HEADER (1), last END (0)
//
// Bodies are Xen's public structures (libxen-dev, MIT); a body that came shorter (older releases) is
// zero-extended, and the length that it had is kept so that a writer reproduces it.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include <xen/hvm/save.h>
#include <xen/xen.h>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/xen/policy.hpp"

namespace vmferry::xen {

/// LAPIC, in the 32-byte form of later releases. Their hvm_hw_lapic has pending_esr too, so neither header's
/// is used.
struct Lapic {
    std::uint64_t apic_base_msr = 0;
    std::uint32_t disabled = 0;
    std::uint32_t timer_divisor = 0;
    std::uint64_t tdt_msr = 0;
    std::uint32_t pending_esr = 0;  ///< not in the 24-byte form
    std::uint32_t pad = 0;          ///< implicit in Xen, which does not look at it
};

/// CPU_XSAVE: the fixed head and the XSAVE area in standard format (512 legacy + 64 header + components).
struct CpuXsave {
    std::uint64_t xfeature_mask = 0;
    std::uint64_t xcr0 = 0;
    std::uint64_t xcr0_accum = 0;
    Buffer area;
};

/// CPU_MSR: MSRs that no other record holds.
struct CpuMsrs {
    struct Entry {
        std::uint32_t index = 0;
        std::uint64_t value = 0;
    };
    std::uint32_t pad = 0;  ///< behind the count; Xen does not initialise it
    std::vector<Entry> entries;
};

using HvmBody =
    std::variant<hvm_save_header, hvm_hw_cpu, hvm_hw_vpic, hvm_hw_vioapic, Lapic, hvm_hw_lapic_regs,
                 hvm_hw_pci_irqs, hvm_hw_isa_irqs, hvm_hw_pci_link, hvm_hw_pit, hvm_hw_rtc, hvm_hw_hpet,
                 hvm_hw_pmtimer, hvm_hw_mtrr, hvm_viridian_domain_context, CpuXsave,
                 hvm_viridian_vcpu_context, hvm_vmce_vcpu, hvm_tsc_adjust, CpuMsrs>;

struct HvmRecord {
    std::uint16_t typecode = 0;
    std::uint16_t instance = 0;  ///< vCPU number for per-vCPU records, 0/1 for the PICs, else 0
    std::uint32_t length = 0;    ///< as it stood on the wire; 0 (or one Xen does not know) = the current one
    std::uint64_t offset = 0;    ///< of the descriptor, in the whole stream
    HvmBody body;
};

/// All records up to (without) END, in stream order.
using HvmContext = std::vector<HvmRecord>;

inline constexpr std::size_t max_xsave_area = 64u << 10;   ///< bytes; AVX-512, PKRU and AMX take about 11 KiB
inline constexpr std::size_t max_hvm_context = 16u << 20;  ///< bytes; 128 vCPUs with AVX-512 stay below 1 MiB
inline constexpr std::uint16_t max_hvm_vcpus = 128;

/// Name of a typecode, "CPU", "LAPIC_REGS", …; empty for an unknown one.
[[nodiscard]] const char* hvm_record_name(std::uint16_t typecode);

/// `offset` is the stream offset of bytes[0], for error messages.
/// Errors: no HEADER first, wrong magic or version, unknown typecode, wrong length, instance out of range,
/// a second record of the same type and instance, no END, bytes after END; and what Xen's loader refuses in
/// the form of a body (hvm_bodies.hpp).
[[nodiscard]] Result<HvmContext> read_hvm_context(Bytes bytes, std::uint64_t offset);

/// Whether the length of each CPU_XSAVE record is what the CPU of this policy needs for the components of its
/// xcr0_accum (CPUID leaf 0xD); more is right only if it is zero. Their offsets differ from CPU to CPU, so
/// that read_hvm_context alone cannot know.
[[nodiscard]] Result<void> check_xsave_lengths(const HvmContext& context, const CpuidPolicy& policy);

/// Inverse of read_hvm_context: the same bytes, END included.
[[nodiscard]] Buffer write_hvm_context(const HvmContext& context);

/// The body of the record with this structure (and instance), or nullptr.
template <typename Body>
[[nodiscard]] const Body* find_record(const HvmContext& context, std::uint16_t instance = 0) {
    for (const auto& record : context)
        if (record.instance == instance)
            if (const auto* body = std::get_if<Body>(&record.body)) return body;
    return nullptr;
}

}  // namespace vmferry::xen
