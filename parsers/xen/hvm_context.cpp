#include "parsers/xen/hvm_context.hpp"

#include <bit>
#include <bitset>

#include "parsers/xen/hvm_bodies.hpp"
#include "parsers/xen/hvm_layout.hpp"

namespace vmferry::xen {

namespace {

constexpr auto format = "HVM_CONTEXT";
constexpr std::size_t descriptor_size = sizeof(hvm_save_descriptor);

/// Each type and instance at most once.
class SeenRecords {
  public:
    /// False if it has been there before.
    bool add(std::uint16_t typecode, std::uint16_t instance) {
        auto bit = bits_[std::size_t{typecode} * max_hvm_vcpus + instance];
        if (bit) return false;
        bit = true;
        return true;
    }

  private:
    std::bitset<(HVM_SAVE_CODE_MAX + 1) * std::size_t{max_hvm_vcpus}> bits_;
};

std::string record_label(HvmType type, std::uint16_t instance) {
    const auto* name = hvm_record_name(static_cast<std::uint16_t>(type));
    return hvm_instances(type) > 1 ? fmt::format("{}[{}]", name, instance) : name;
}

}  // namespace

const char* hvm_record_name(std::uint16_t typecode) {
    switch (HvmType{typecode}) {
        case HvmType::end:
            return "END";
        case HvmType::header:
            return "HEADER";
        case HvmType::cpu:
            return "CPU";
        case HvmType::pic:
            return "PIC";
        case HvmType::ioapic:
            return "IOAPIC";
        case HvmType::lapic:
            return "LAPIC";
        case HvmType::lapic_regs:
            return "LAPIC_REGS";
        case HvmType::pci_irq:
            return "PCI_IRQ";
        case HvmType::isa_irq:
            return "ISA_IRQ";
        case HvmType::pci_link:
            return "PCI_LINK";
        case HvmType::pit:
            return "PIT";
        case HvmType::rtc:
            return "RTC";
        case HvmType::hpet:
            return "HPET";
        case HvmType::pmtimer:
            return "PMTIMER";
        case HvmType::mtrr:
            return "MTRR";
        case HvmType::viridian_domain:
            return "VIRIDIAN_DOMAIN";
        case HvmType::cpu_xsave:
            return "CPU_XSAVE";
        case HvmType::viridian_vcpu:
            return "VIRIDIAN_VCPU";
        case HvmType::vmce_vcpu:
            return "VMCE_VCPU";
        case HvmType::tsc_adjust:
            return "TSC_ADJUST";
        case HvmType::cpu_msr:
            return "CPU_MSR";
    }
    return "";
}

std::uint16_t hvm_instances(HvmType type) {
    switch (type) {
        case HvmType::cpu:
        case HvmType::lapic:
        case HvmType::lapic_regs:
        case HvmType::mtrr:
        case HvmType::cpu_xsave:
        case HvmType::viridian_vcpu:
        case HvmType::vmce_vcpu:
        case HvmType::tsc_adjust:
        case HvmType::cpu_msr:
            return max_hvm_vcpus;
        case HvmType::pic:
            return 2;
        default:
            return 1;
    }
}

Result<HvmContext> read_hvm_context(Bytes bytes, std::uint64_t offset) {
    HvmContext context;
    SeenRecords seen;
    std::size_t at = 0;
    while (true) {
        Place place{format, "record", offset + at};
        if (bytes.size() - at < descriptor_size)
            return place.wrong("descriptor", 0, fmt::format("the end after {} bytes", bytes.size() - at),
                               "a further record or END");
        const auto descriptor = load_raw<hvm_save_descriptor>(bytes, at);
        if (descriptor.typecode > HVM_SAVE_CODE_MAX)
            return place.wrong("typecode", 0, std::to_string(descriptor.typecode),
                               fmt::format("at most {}", HVM_SAVE_CODE_MAX),
                               "a save record that this one does not know");
        const auto type = HvmType{descriptor.typecode};
        place.record = hvm_record_name(descriptor.typecode);
        if ((type == HvmType::header) != (at == 0))
            return place.wrong("typecode", 0, place.record, at == 0 ? "HEADER first" : "HEADER only once");
        if (descriptor.instance >= hvm_instances(type))
            return place.wrong("instance", 2, std::to_string(descriptor.instance),
                               fmt::format("below {}", hvm_instances(type)));
        place.record = record_label(type, descriptor.instance);

        const auto left = bytes.size() - at - descriptor_size;
        if (type == HvmType::end) {
            if (descriptor.length != 0)
                return place.wrong("length", 4, std::to_string(descriptor.length), "0");
            if (left != 0)
                return place.wrong("record", descriptor_size, fmt::format("{} bytes after it", left), "none");
            return context;
        }
        if (descriptor.length > left)
            return place.wrong("length", 4, std::to_string(descriptor.length),
                               fmt::format("at most {} (the rest of the context)", left));
        if (!seen.add(descriptor.typecode, descriptor.instance))
            return place.wrong("instance", 2, "a second record", "one for each type and instance");

        const auto body = bytes.subspan(at + descriptor_size, descriptor.length);
        const auto descriptor_offset = place.offset;
        place.offset += descriptor_size;
        VMFERRY_ASSIGN(auto record, read_hvm_body(type, descriptor.instance, body, place));
        context.push_back({descriptor.typecode, descriptor.instance, descriptor.length, descriptor_offset,
                           std::move(record)});
        at += descriptor_size + descriptor.length;
    }
}

Result<void> check_xsave_lengths(const HvmContext& context, const CpuidPolicy& policy) {
    constexpr std::uint32_t xstate_leaf = 0xD;
    for (const auto& record : context) {
        const auto* xsave = std::get_if<CpuXsave>(&record.body);
        if (xsave == nullptr) continue;
        const Place place{format, record_label(HvmType::cpu_xsave, record.instance),
                          record.offset + descriptor_size};
        std::size_t size = xsave_legacy_size + xsave_header_size;
        for (unsigned component = 2; component < 63; ++component) {
            if ((xsave->xcr0_accum >> component & 1) == 0) continue;
            // EAX and EBX: size and offset of a component in the standard format.
            const auto* leaf = find_leaf(policy, xstate_leaf, component);
            if (leaf == nullptr || leaf->eax == 0)
                return place.wrong("xcr0_accum", 16, fmt::format("component {}", component),
                                   "a component of CPUID leaf 0xd");
            size = std::max(size, std::size_t{leaf->ebx} + leaf->eax);
        }
        if (xsave->area.size() < size)
            return place.wrong_length(
                xsave_head_size + xsave->area.size(),
                fmt::format("at least {} for xcr0_accum {:#x}", xsave_head_size + size, xsave->xcr0_accum));
        for (std::size_t i = size; i < xsave->area.size(); ++i)
            if (xsave->area[i] != std::byte{0})
                return place.wrong("save_area", xsave_head_size + i, "data behind the last component",
                                   "zeros");
    }
    return {};
}

Buffer write_hvm_context(const HvmContext& context) {
    Buffer out;
    for (const auto& record : context) {
        const auto at = out.size();
        append_raw(out, hvm_save_descriptor{record.typecode, record.instance, 0});
        append_hvm_body(out, record);
        const auto length = static_cast<std::uint32_t>(out.size() - at - descriptor_size);
        std::memcpy(out.data() + at + offsetof(hvm_save_descriptor, length), &length, sizeof length);
    }
    append_raw(out, hvm_save_descriptor{});
    return out;
}

}  // namespace vmferry::xen
