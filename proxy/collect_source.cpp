#include "proxy/collect_source.hpp"

#include <type_traits>
#include <variant>

#include <fmt/format.h>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/xen/record_header.hpp"
#include "parsers/xen/xl_header.hpp"

namespace vmferry {

Result<void> CollectedXen::collect(const xen::Record& record, Bytes view, std::uint64_t offset) {
    const auto place = [&](Bytes lent) {
        return offset + static_cast<std::uint64_t>(lent.data() - view.data());
    };
    return std::visit(
        [&]<typename T>(const T& event) -> Result<void> {
            if constexpr (std::is_same_v<T, xen::XlHeader>) {
                VMFERRY_ASSIGN(source.config, read_domain_config(event.config, xen::xl_config_at));
            } else if constexpr (std::is_same_v<T, xen::DomainHeader>) {
                source.xen_major = event.xen_major;
                source.xen_minor = event.xen_minor;
            } else if constexpr (std::is_same_v<T, xen::CpuidPolicyRecord>) {
                source.cpuid = event.leaves;
                source.cpuid_offset = offset + xen::RecordHeader::size;
            } else if constexpr (std::is_same_v<T, xen::MsrPolicyRecord>) {
                source.msrs = event.entries;
            } else if constexpr (std::is_same_v<T, xen::TscInfo>) {
                source.tsc_info = event;
            } else if constexpr (std::is_same_v<T, xen::HvmContextRecord>) {
                VMFERRY_ASSIGN(source.context, xen::read_hvm_context(event.blob, place(event.blob)));
                have_context = true;
            } else if constexpr (std::is_same_v<T, xen::HvmParams>) {
                source.params = event.params;
            } else if constexpr (std::is_same_v<T, xen::EmulatorContext>) {
                VMFERRY_ASSIGN(source.device_model, qemu::read_device_model(event.blob, place(event.blob)));
                have_device_model = true;
            }
            return {};
        },
        record);
}

Result<void> CollectedXen::complete(std::uint64_t offset) const {
    const auto missing = [&](const char* record) {
        return stream_error("libxl", "END", "", offset, fmt::format("no {} before it", record),
                            fmt::format("the {} of the guest", record));
    };
    if (!have_context) return missing("HVM_CONTEXT");
    if (!have_device_model) return missing("EMULATOR_CONTEXT");
    return {};
}

}  // namespace vmferry
