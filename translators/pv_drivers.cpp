#include "translators/pv_drivers.hpp"

#include <algorithm>

namespace vmferry {

void check_pv_drivers(const Machine& machine, const XenSource& source, AuditReport& audit) {
    const auto& config = source.config;
    const auto& device_model = source.device_model;

    const bool has_ide = !device_model.find_pci("ide").empty();
    const bool wants_ide = std::ranges::any_of(
        config.disks, [](const DomainDisk& disk) { return disk.vdev.starts_with("hd") && !disk.cdrom; });
    if (wants_ide && !has_ide)
        audit.violated("pv-drivers",
                       "the device model has no IDE controller although the configuration has IDE disks");

    for (const auto& nic : config.nics) {
        if (!nic.emulated) continue;
        const auto same_model = static_cast<std::size_t>(std::ranges::count_if(
            config.nics, [&](const DomainNic& other) { return other.emulated && other.model == nic.model; }));
        if (device_model.find_pci(nic.model).size() < same_model) {
            audit.violated("pv-drivers",
                           fmt::format("the device model has fewer {} cards than the configuration ({})",
                                       nic.model, same_model));
            break;
        }
    }

    constexpr std::uint64_t after_sched_op = 29 * 32 + 8, page_offset = 0xFFF, interrupts = 0x200;
    for (unsigned number = 0; number < machine.vcpus.size(); ++number) {
        const auto& vcpu = machine.vcpus[number];
        if (vcpu.online && (vcpu.rip & page_offset) == after_sched_op && vcpu.rax == 0 && vcpu.cpl() == 0 &&
            !(vcpu.rflags & interrupts))
            audit.violated("pv-drivers", fmt::format("vCPU {} stands in Xen's suspend hypercall (RIP {:#x})",
                                                     number, vcpu.rip));
    }
}

}  // namespace vmferry
