// The libxc layer: headers and bodies of its records, but for PAGE_DATA (page_data.hpp).
//
//     image header (24, BE)   u64 marker (all ones) · u32 id "XENF" · u32 version · u16 options
//                             (bit 0 big-endian) · 6 reserved
//     domain header (16)      u32 type · u16 page_shift · u16 reserved · u32 xen_major · u32 xen_minor
#pragma once

#include <cstdint>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/wire/place.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::xen {

inline constexpr std::size_t image_header_size = 24;
inline constexpr std::size_t domain_header_size = 16;
inline constexpr std::uint64_t image_marker = ~std::uint64_t{0};
inline constexpr std::uint32_t image_id = 0x58454E46;  // "XENF"
inline constexpr std::uint16_t image_option_big_endian = 1;
inline constexpr std::uint32_t domain_x86_pv = 1, domain_x86_hvm = 2;
inline constexpr std::uint32_t record_optional = 0x80000000;

// Limits of what is read as a whole. Xen's own: about 120 leaves, 2 MSRs, 39 parameters.
inline constexpr std::size_t max_cpuid_leaves = 512;
inline constexpr std::size_t max_policy_msrs = 64;
inline constexpr std::size_t max_hvm_params = 64;

enum class LibxcType : std::uint32_t {
    end = 0x00,
    page_data = 0x01,
    x86_pv_info = 0x02,
    x86_pv_p2m_frames = 0x03,
    x86_pv_vcpu_basic = 0x04,
    x86_pv_vcpu_extended = 0x05,
    x86_pv_vcpu_xsave = 0x06,
    shared_info = 0x07,
    x86_tsc_info = 0x08,
    hvm_context = 0x09,
    hvm_params = 0x0A,
    toolstack = 0x0B,
    x86_pv_vcpu_msrs = 0x0C,
    verify = 0x0D,
    checkpoint = 0x0E,
    checkpoint_dirty_pfn_list = 0x0F,
    static_data_end = 0x10,
    x86_cpuid_policy = 0x11,
    x86_msr_policy = 0x12,
};

struct LibxcRecordInfo {
    const char* name;     ///< "PAGE_DATA", …; nullptr for a type that libxc does not define
    const char* refusal;  ///< why an HVM guest's plain stream cannot contain it, or nullptr
    std::uint32_t limit;  ///< of the length of a body that is read as a whole
};
[[nodiscard]] LibxcRecordInfo libxc_record_info(std::uint32_t type);

/// Preconditions: in.size() >= image_header_size, domain_header_size.
[[nodiscard]] Result<ImageHeader> read_image_header(Bytes in, std::uint64_t offset);
[[nodiscard]] Result<DomainHeader> read_domain_header(Bytes in, std::uint64_t offset);

// Bodies, without padding; `place.offset` is the offset of the body.
[[nodiscard]] Result<CpuidPolicyRecord> read_cpuid_policy(Bytes body, const Place& place);
[[nodiscard]] Result<MsrPolicyRecord> read_msr_policy(Bytes body, const Place& place);
[[nodiscard]] Result<TscInfo> read_tsc_info(Bytes body, const Place& place);
[[nodiscard]] Result<HvmParams> read_hvm_params(Bytes body, const Place& place);

}  // namespace vmferry::xen
