#include "parsers/xen/libxc_records.hpp"

#include <array>

#include "parsers/xen/hvm_context.hpp"

namespace vmferry::xen {

namespace {

constexpr std::size_t msr_entry_size = 16, hvm_param_size = 16, tsc_info_size = 24;

constexpr auto pv = "a record of paravirtual guests in the stream of an HVM guest";
constexpr auto remus = "checkpointed streams (Remus, COLO) never end and cannot be carried";

constexpr std::array<LibxcRecordInfo, 0x13> record_infos = {{
    {"END", nullptr, 0},
    {"PAGE_DATA", nullptr, 0},
    {"X86_PV_INFO", pv, 0},
    {"X86_PV_P2M_FRAMES", pv, 0},
    {"X86_PV_VCPU_BASIC", pv, 0},
    {"X86_PV_VCPU_EXTENDED", pv, 0},
    {"X86_PV_VCPU_XSAVE", pv, 0},
    {"SHARED_INFO", pv, 0},
    {"X86_TSC_INFO", nullptr, tsc_info_size},
    {"HVM_CONTEXT", nullptr, max_hvm_context},
    {"HVM_PARAMS", nullptr, 8 + hvm_param_size* max_hvm_params},
    {"TOOLSTACK", "an obsolete record that Xen 4.6 and later refuse", 0},
    {"X86_PV_VCPU_MSRS", pv, 0},
    {"VERIFY", nullptr, 0},
    {"CHECKPOINT", remus, 0},
    {"CHECKPOINT_DIRTY_PFN_LIST", remus, 0},
    {"STATIC_DATA_END", nullptr, 0},
    {"X86_CPUID_POLICY", nullptr, cpuid_leaf_size* max_cpuid_leaves},
    {"X86_MSR_POLICY", nullptr, msr_entry_size* max_policy_msrs},
}};

}  // namespace

LibxcRecordInfo libxc_record_info(std::uint32_t type) {
    return type < record_infos.size() ? record_infos[type] : LibxcRecordInfo{nullptr, nullptr, 0};
}

Result<ImageHeader> read_image_header(Bytes in, std::uint64_t offset) {
    const Place place{"libxc", "image header", offset};
    const auto marker = load_be<std::uint64_t>(in, 0);
    if (marker != image_marker) return place.wrong("marker", 0, hex(marker), hex(image_marker));
    const auto id = load_be<std::uint32_t>(in, 8);
    if (id != image_id) return place.wrong("id", 8, hex(id), "0x58454e46 (\"XENF\")");
    ImageHeader header;
    header.version = load_be<std::uint32_t>(in, 12);
    if (header.version != 2 && header.version != 3)
        return place.wrong("version", 12, std::to_string(header.version), "2 or 3");
    header.options = load_be<std::uint16_t>(in, 16);
    if ((header.options & image_option_big_endian) != 0)
        return place.wrong("options", 16, "big-endian", "little-endian (x86)");
    if (header.options != 0) return place.wrong("options", 16, hex(header.options), "reserved bits zero");
    const auto reserved =
        std::uint64_t{load_be<std::uint16_t>(in, 18)} << 32 | load_be<std::uint32_t>(in, 20);
    if (reserved != 0) return place.wrong("reserved", 18, hex(reserved), "0");
    return header;
}

Result<DomainHeader> read_domain_header(Bytes in, std::uint64_t offset) {
    const Place place{"libxc", "domain header", offset};
    DomainHeader header;
    header.type = load_le<std::uint32_t>(in, 0);
    if (header.type == domain_x86_pv)
        return place.wrong("type", 0, "1 (x86 PV)", "2 (x86 HVM)",
                           "a paravirtual guest knows only Xen and cannot be carried");
    if (header.type != domain_x86_hvm)
        return place.wrong("type", 0, std::to_string(header.type), "2 (x86 HVM)");
    header.page_shift = load_le<std::uint16_t>(in, 4);
    if (header.page_shift != 12) return place.wrong("page_shift", 4, std::to_string(header.page_shift), "12");
    const auto reserved = load_le<std::uint16_t>(in, 6);
    if (reserved != 0) return place.wrong("reserved", 6, hex(reserved), "0");
    header.xen_major = load_le<std::uint32_t>(in, 8);
    header.xen_minor = load_le<std::uint32_t>(in, 12);
    return header;
}

Result<CpuidPolicyRecord> read_cpuid_policy(Bytes body, const Place& place) {
    if (body.empty() || body.size() % cpuid_leaf_size != 0)
        return place.wrong_length(body.size(), "a multiple of 24, at least one leaf");
    CpuidPolicyRecord record;
    record.leaves.reserve(body.size() / cpuid_leaf_size);
    for (std::size_t at = 0; at < body.size(); at += cpuid_leaf_size) {
        const auto word = [&](std::size_t n) { return load_le<std::uint32_t>(body, at + 4 * n); };
        const CpuidLeaf leaf{word(0), word(1), word(2), word(3), word(4), word(5)};
        for (const auto& other : record.leaves)
            if (other.leaf == leaf.leaf && other.subleaf == leaf.subleaf)
                return place.wrong("leaf", at, fmt::format("{:#x}:{:#x} again", leaf.leaf, leaf.subleaf),
                                   "each leaf once");
        record.leaves.push_back(leaf);
    }
    return record;
}

Result<MsrPolicyRecord> read_msr_policy(Bytes body, const Place& place) {
    if (body.empty() || body.size() % msr_entry_size != 0)
        return place.wrong_length(body.size(), "a multiple of 16, at least one entry");
    MsrPolicyRecord record;
    record.entries.reserve(body.size() / msr_entry_size);
    for (std::size_t at = 0; at < body.size(); at += msr_entry_size) {
        const MsrPolicyEntry entry{load_le<std::uint32_t>(body, at), load_le<std::uint64_t>(body, at + 8)};
        const auto flags = load_le<std::uint32_t>(body, at + 4);
        if (flags != 0) return place.wrong("flags", at + 4, hex(flags), "0");
        for (const auto& other : record.entries)
            if (other.index == entry.index)
                return place.wrong("index", at, fmt::format("{:#x} again", entry.index), "each MSR once");
        record.entries.push_back(entry);
    }
    return record;
}

Result<TscInfo> read_tsc_info(Bytes body, const Place& place) {
    if (body.size() != tsc_info_size) return place.wrong_length(body.size(), "24");
    const TscInfo record{load_le<std::uint32_t>(body, 0), load_le<std::uint32_t>(body, 4),
                         load_le<std::uint64_t>(body, 8), load_le<std::uint32_t>(body, 16)};
    if (record.mode > 2)
        return place.wrong("mode", 0, std::to_string(record.mode),
                           "0 (default), 1 (always emulated) or 2 (never)",
                           record.mode == 3 ? "PVRDTSCP, which later releases of Xen refuse too" : "");
    const auto reserved = load_le<std::uint32_t>(body, 20);
    if (reserved != 0) return place.wrong("reserved", 20, hex(reserved), "0");
    return record;
}

Result<HvmParams> read_hvm_params(Bytes body, const Place& place) {
    if (body.size() < 8) return place.wrong_length(body.size(), "at least 8");
    const auto count = load_le<std::uint32_t>(body, 0);
    if ((body.size() - 8) % hvm_param_size != 0 || count != (body.size() - 8) / hvm_param_size)
        return place.wrong("count", 0, std::to_string(count),
                           fmt::format("16 bytes for each in a body of {}", body.size()));
    const auto reserved = load_le<std::uint32_t>(body, 4);
    if (reserved != 0) return place.wrong("reserved", 4, hex(reserved), "0");
    HvmParams record;
    record.params.reserve(count);
    for (std::size_t at = 8; at < body.size(); at += hvm_param_size) {
        const HvmParam param{load_le<std::uint64_t>(body, at), load_le<std::uint64_t>(body, at + 8)};
        for (const auto& other : record.params)
            if (other.index == param.index)
                return place.wrong("index", at, fmt::format("{} again", param.index), "each parameter once");
        record.params.push_back(param);
    }
    return record;
}

}  // namespace vmferry::xen
