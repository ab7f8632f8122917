// The variable MTRRs that Xen's save record loses.
#pragma once

#include <string>

#include "translators/machine.hpp"

namespace vmferry {

/// Every released Xen writes variable range 0 into all eight pairs. If they are all equal, ranges 1–7 are
/// rebuilt as hvmloader set them: uncacheable ranges that cover the PCI hole from range 0's base to
/// 0xFC000000, each the largest power of two that is aligned and fits. If range 0 is not such a range, 1–7
/// are disabled. What was done, for the report; empty if the pairs differ (a Xen without the fault).
[[nodiscard]] std::string rebuild_variable_mtrrs(Mtrr& mtrr);

}  // namespace vmferry
