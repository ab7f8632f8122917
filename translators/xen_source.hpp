// All of a Xen stream that is not a page, collected.
#pragma once

#include <optional>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/xen/hvm_context.hpp"
#include "parsers/xen/records.hpp"
#include "translators/domain_config.hpp"

namespace vmferry {

struct XenSource {
    DomainConfig config;
    unsigned xen_major = 0, xen_minor = 0;
    xen::CpuidPolicy cpuid;
    std::uint64_t cpuid_offset = 0;  ///< of its first leaf in the whole stream
    xen::MsrPolicy msrs;
    std::optional<xen::TscInfo> tsc_info;
    xen::HvmContext context;
    std::vector<xen::HvmParam> params;
    qemu::DeviceTree device_model;  ///< the blob, decoded
};

}  // namespace vmferry
