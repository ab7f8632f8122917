// A guest that came from Xen, in QEMU's sections, on its way back; and what differs between two contexts.
#pragma once

#include <map>
#include <string>

#include "tests/translators/machine_fixture.hpp"
#include "translators/to_xen.hpp"

namespace vmferry::test {

/// The plan of a domain like the one that a guest came from.
[[nodiscard]] XenPlan plan_of(const XenSource& source, const Plan& there);

/// Every field whose value differs, as "RECORD.field" without instances and indexes, with "there → back" of
/// the first one. A record that is on one side only is "RECORD" alone.
using Differences = std::map<std::string, std::string>;
[[nodiscard]] Differences differences(const xen::HvmContext& there, const xen::HvmContext& back);
[[nodiscard]] Differences differences(const std::vector<xen::HvmParam>& there,
                                      const std::vector<xen::HvmParam>& back);

/// Every field of QEMU's sections whose bytes differ, as "section.field", subsections as "section+name";
/// without instances, slots and indexes.
[[nodiscard]] Differences differences(const qemu::DeviceTree& there, const qemu::DeviceTree& back);

}  // namespace vmferry::test
