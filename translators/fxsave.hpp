// The FXSAVE image (SDM vol. 1, 10.5.1, 64-bit form) and the XSAVE area (SDM vol. 1, 13.4) against the
// neutral FPU state.
//
//     0 FCW · 2 FSW · 4 abridged tag · 6 FOP · 8 FIP · 16 FDP · 24 MXCSR · 28 MXCSR_MASK
//     32 + 16·i ST(i): 8 mantissa, 2 exponent, 6 reserved · 160 + 16·i XMMi · 416 … 511 reserved, software
//     512 XSTATE_BV · 520 XCOMP_BV · 528 reserved · 576 … components at the offsets of CPUID leaf 0xD
#pragma once

#include <string>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/xen/policy.hpp"
#include "translators/machine.hpp"
#include "translators/table/row.hpp"

namespace vmferry {

inline constexpr std::size_t fxsave_size = 512;
inline constexpr std::size_t xsave_header_end = 576;

/// Bits of XCR0 and XSTATE_BV (SDM vol. 1, 13.1).
namespace xstate {
inline constexpr std::uint64_t x87 = 1, sse = 2, avx = 4, bound_registers = 8, bound_config = 0x10;
inline constexpr std::uint64_t opmask = 0x20, zmm_high = 0x40, zmm_upper = 0x80, pkru = 0x200;
inline constexpr std::uint64_t mpx = bound_registers | bound_config;
inline constexpr std::uint64_t avx512 = opmask | zmm_high | zmm_upper;
/// Components that the neutral machine has a place for.
inline constexpr std::uint64_t known = x87 | sse | avx | mpx | avx512 | pkru;
}  // namespace xstate

/// Precondition: image.size() >= 512.
[[nodiscard]] Fpu read_fxsave(Bytes image);
/// Reserved and software bytes are left as they are.
void write_fxsave(const Fpu& fpu, std::span<std::byte> image);

/// The parts of the image, for tables and coverage.
struct FxsaveRow {
    std::string field, place;
    Law law = Law::exact;
    std::string reason;
    ByteClaim bytes;
};
[[nodiscard]] std::vector<FxsaveRow> fxsave_rows();

/// Reads an area in standard format into `fpu` and `extended` (its xcr0 fields are not touched). Components
/// whose XSTATE_BV bit is clear are in their initial state, whatever the memory holds (SDM vol. 1, 13.8).
/// Errors (kind stream, record CPU_XSAVE, offset from the area's first byte): too short, compacted, a
/// component in use that the policy's leaf 0xD does not place or that lies outside the area. Error of kind
/// refused: a component in use that is not in xstate::known.
[[nodiscard]] Result<void> read_xsave_area(Bytes area, const xen::CpuidPolicy& policy, Fpu& fpu,
                                           ExtendedState& extended);
/// Inverse: an area of the size that the policy gives for extended.xcr0_accumulated.
[[nodiscard]] Result<Buffer> write_xsave_area(const xen::CpuidPolicy& policy, const Fpu& fpu,
                                              const ExtendedState& extended);

}  // namespace vmferry
