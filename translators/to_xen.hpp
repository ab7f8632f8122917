// QEMU → Xen: the whole translation of everything that is not a page.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/xen/hvm_context.hpp"
#include "parsers/xen/records.hpp"
#include "translators/audit.hpp"
#include "translators/qemu_source.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

/// What the device sections say of guest memory that is not plain RAM.
struct DeviceMemory {
    std::uint64_t vga_bar = 0;  ///< guest-physical base of the framebuffer BAR; 0: not decoded
    /// 0xC0000–0xEFFFF in steps of 16 KiB, then 0xF0000–0xFFFFF: the guest reads DRAM there (82441FX, PAM
    /// registers), else the ROM behind it.
    std::array<bool, 13> reads_dram{};
};

struct XenImage {
    xen::HvmContext context;
    std::vector<xen::HvmParam> params;
    xen::TscInfo tsc_info;
    qemu::DeviceTree device_model;  ///< sections for the destination's device model, in its form
    DeviceMemory memory;
};

/// `realtime_ns`: CLOCK_REALTIME of the source at the instant, as near as it is known (RTC). Findings go into
/// `audit`; the result is only to be used if !audit.refused() afterwards.
[[nodiscard]] Result<XenImage> translate_to_xen(const QemuSource& source, const XenPlan& plan,
                                                const XenTemplate& xen, std::uint64_t realtime_ns,
                                                AuditReport& audit);

}  // namespace vmferry
