// Xen → QEMU: the whole translation of everything that is not a page.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parsers/qemu/snapshot.hpp"
#include "translators/audit.hpp"
#include "translators/plan.hpp"
#include "translators/xen_source.hpp"

namespace vmferry {

struct QemuImage {
    qemu::DeviceTree tree;      ///< the destination's sections, in the template's order
    std::uint64_t vga_bar = 0;  ///< guest-physical base of the framebuffer BAR, for the held pages
};

/// `realtime_ns`: the destination's CLOCK_REALTIME now (RTC). Findings go into `audit`; the result is only to
/// be used if !audit.refused() afterwards. Errors are for inputs that do not fit the template (kind stream,
/// refused).
[[nodiscard]] Result<QemuImage> translate_to_qemu(const XenSource& source, const Plan& plan,
                                                  const qemu::Snapshot& twin, std::uint64_t realtime_ns,
                                                  AuditReport& audit);

}  // namespace vmferry
