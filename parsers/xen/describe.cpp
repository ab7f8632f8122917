#include "parsers/xen/describe.hpp"

#include <array>

#include "parsers/wire/place.hpp"

namespace vmferry::xen {

namespace {

using Kind = Field::Kind;

Field decimal(std::string name, std::uint64_t value) {
    return {.name = std::move(name), .kind = Kind::number, .text = std::to_string(value), .number = value};
}
Field hexadecimal(std::string name, std::uint64_t value) {
    return {.name = std::move(name), .kind = Kind::number, .text = hex(value), .number = value};
}
Field text(std::string name, std::string value) {
    return {.name = std::move(name), .text = std::move(value)};
}
Field group(std::string name, std::vector<Field> fields) {
    return {.name = std::move(name), .kind = Kind::group, .text = {}, .fields = std::move(fields)};
}

std::string emulator_name(std::uint32_t emulator) {
    switch (emulator) {
        case 1:
            return "1 (qemu-traditional)";
        case 2:
            return "2 (qemu-upstream)";
        default:
            return std::to_string(emulator);
    }
}

/// Runs of consecutive frames of one type.
std::vector<Field> frame_ranges(const std::vector<PageEntry>& entries) {
    std::vector<Field> ranges;
    for (std::size_t first = 0; first < entries.size();) {
        auto last = first;
        while (last + 1 < entries.size() && entries[last + 1].gfn == entries[last].gfn + 1 &&
               entries[last + 1].type == entries[first].type)
            ++last;
        ranges.push_back(text(fmt::format("{:#x}-{:#x}", entries[first].gfn, entries[last].gfn),
                              page_type_name(entries[first].type)));
        first = last + 1;
    }
    return ranges;
}

struct Describer {
    Description operator()(const XlHeader& r) const {
        return {"xl",
                "header",
                {hexadecimal("mandatory_flags", r.mandatory_flags),
                 hexadecimal("optional_flags", r.optional_flags), text("config", r.config),
                 decimal("further_data", r.further_data.size())}};
    }
    Description operator()(const LibxlHeader& r) const {
        return {"libxl", "header", {decimal("version", r.version), hexadecimal("options", r.options)}};
    }
    Description operator()(const LibxcContext&) const { return {"libxl", "LIBXC_CONTEXT", {}}; }
    Description operator()(const ImageHeader& r) const {
        return {"libxc", "image header", {decimal("version", r.version), hexadecimal("options", r.options)}};
    }
    Description operator()(const DomainHeader& r) const {
        return {"libxc",
                "domain header",
                {decimal("type", r.type), decimal("page_shift", r.page_shift),
                 decimal("xen_major", r.xen_major), decimal("xen_minor", r.xen_minor)}};
    }
    Description operator()(const CpuidPolicyRecord& r) const {
        Description description{"libxc", "X86_CPUID_POLICY", {}};
        for (const auto& leaf : r.leaves) {
            auto name = hex(leaf.leaf);
            if (leaf.subleaf != CpuidLeaf::no_subleaf) name += ":" + hex(leaf.subleaf);
            description.fields.push_back(
                group(std::move(name), {hexadecimal("eax", leaf.eax), hexadecimal("ebx", leaf.ebx),
                                        hexadecimal("ecx", leaf.ecx), hexadecimal("edx", leaf.edx)}));
        }
        return description;
    }
    Description operator()(const MsrPolicyRecord& r) const {
        Description description{"libxc", "X86_MSR_POLICY", {}};
        for (const auto& entry : r.entries)
            description.fields.push_back(hexadecimal(hex(entry.index), entry.value));
        return description;
    }
    Description operator()(const StaticDataEnd& r) const {
        Description description{"libxc", "STATIC_DATA_END", {}};
        if (r.inferred) description.fields.push_back(text("inferred", "version 2 has no such record"));
        return description;
    }
    Description operator()(const PageBatch& r) const {
        std::size_t with_data = 0;
        for (const auto& entry : *r.entries) with_data += entry.has_data() ? 1 : 0;
        return {"libxc",
                "PAGE_DATA",
                {decimal("count", r.entries->size()), decimal("with_data", with_data),
                 group("frames", frame_ranges(*r.entries))}};
    }
    Description operator()(const PageRun& r) const {
        return {"libxc",
                "pages",
                {hexadecimal("first_frame", (*r.entries)[r.first].gfn),
                 decimal("pages", r.pages.size() / page_size)}};
    }
    Description operator()(const TscInfo& r) const {
        return {"libxc",
                "X86_TSC_INFO",
                {decimal("mode", r.mode), decimal("khz", r.khz), decimal("nsec", r.nsec),
                 decimal("incarnation", r.incarnation)}};
    }
    Description operator()(const HvmContextRecord& r) const {
        return {"libxc", "HVM_CONTEXT", {decimal("size", r.blob.size())}};
    }
    Description operator()(const HvmParams& r) const {
        Description description{"libxc", "HVM_PARAMS", {}};
        for (const auto& param : r.params) {
            const std::string name = hvm_param_name(param.index);
            description.fields.push_back(
                hexadecimal(name.empty() ? std::to_string(param.index) : name, param.value));
        }
        return description;
    }
    Description operator()(const Verify&) const { return {"libxc", "VERIFY", {}}; }
    Description operator()(const SkippedOptional& r) const {
        return {"libxc", "optional record", {hexadecimal("type", r.type), decimal("length", r.length)}};
    }
    Description operator()(const LibxcEnd&) const { return {"libxc", "END", {}}; }
    Description operator()(const EmulatorXenstoreData& r) const {
        Description description{"libxl",
                                "EMULATOR_XENSTORE_DATA",
                                {text("emulator_id", emulator_name(r.emulator)), decimal("index", r.index)}};
        std::vector<Field> entries;
        entries.reserve(r.entries.size());
        for (const auto& [key, value] : r.entries) entries.push_back(text(key, value));
        description.fields.push_back(group("entries", std::move(entries)));
        return description;
    }
    Description operator()(const EmulatorContext& r) const {
        return {"libxl",
                "EMULATOR_CONTEXT",
                {text("emulator_id", emulator_name(r.emulator)), decimal("index", r.index),
                 decimal("size", r.blob.size())}};
    }
    Description operator()(const LibxlEnd&) const { return {"libxl", "END", {}}; }
    Description operator()(const StreamEnd&) const { return {"libxl", "end of the stream", {}}; }
};

}  // namespace

Description describe(const Record& record) {
    return std::visit(Describer{}, record);
}

const char* page_type_name(std::uint8_t type) {
    static constexpr std::array names = {"normal",       "L1TAB",        "L2TAB",        "L3TAB",
                                         "L4TAB",        "reserved",     "reserved",     "reserved",
                                         "reserved",     "L1TAB pinned", "L2TAB pinned", "L3TAB pinned",
                                         "L4TAB pinned", "BROKEN",       "XALLOC",       "XTAB"};
    return type < names.size() ? names[type] : "reserved";
}

// xen/include/public/hvm/params.h
const char* hvm_param_name(std::uint64_t index) {
    static constexpr std::array names = {"CALLBACK_IRQ",
                                         "STORE_PFN",
                                         "STORE_EVTCHN",
                                         "",
                                         "PAE_ENABLED",
                                         "IOREQ_PFN",
                                         "BUFIOREQ_PFN",
                                         "",
                                         "",
                                         "VIRIDIAN",
                                         "TIMER_MODE",
                                         "HPET_ENABLED",
                                         "IDENT_PT",
                                         "DM_DOMAIN",
                                         "ACPI_S_STATE",
                                         "VM86_TSS",
                                         "VPT_ALIGN",
                                         "CONSOLE_PFN",
                                         "CONSOLE_EVTCHN",
                                         "ACPI_IOPORTS_LOCATION",
                                         "MEMORY_EVENT_CR0",
                                         "MEMORY_EVENT_CR3",
                                         "MEMORY_EVENT_CR4",
                                         "MEMORY_EVENT_INT3",
                                         "NESTEDHVM",
                                         "MEMORY_EVENT_SINGLE_STEP",
                                         "BUFIOREQ_EVTCHN",
                                         "PAGING_RING_PFN",
                                         "MONITOR_RING_PFN",
                                         "SHARING_RING_PFN",
                                         "MEMORY_EVENT_MSR",
                                         "TRIPLE_FAULT_REASON",
                                         "IOREQ_SERVER_PFN",
                                         "NR_IOREQ_SERVER_PAGES",
                                         "VM_GENERATION_ID_ADDR",
                                         "ALTP2M",
                                         "X87_FIP_WIDTH",
                                         "VM86_TSS_SIZED",
                                         "MCA_CAP"};
    static_assert(names.size() == 39);
    return index < names.size() ? names[index] : "";
}

}  // namespace vmferry::xen
