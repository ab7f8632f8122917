#include "tests/translators/way_back_fixture.hpp"

#include <algorithm>

#include "parsers/xen/describe.hpp"
#include "translators/devices.hpp"

namespace vmferry::test {
namespace {

using Values = std::map<std::string, std::string>;

/// Names without indexes: "redirtbl.[9].vector" → "redirtbl.vector".
void flatten(const std::vector<xen::Field>& fields, const std::string& exact, const std::string& general,
             Values& values, std::map<std::string, std::string>& names) {
    for (const auto& field : fields) {
        const bool element = field.name.starts_with('[');
        const auto name = general + (element || general.empty() ? "" : ".") + (element ? "" : field.name);
        const auto place = exact + "." + field.name;
        if (!field.fields.empty()) {
            flatten(field.fields, place, name, values, names);
            continue;
        }
        values[place] = field.text;
        names[place] = name;
    }
}

}  // namespace

XenPlan plan_of(const XenSource& source, const Plan& there) {
    XenPlan plan;
    plan.accel = there.accel;
    plan.name = source.config.name;
    plan.vcpus = source.config.max_vcpus;
    plan.xen_major = source.xen_major;
    plan.xen_minor = source.xen_minor;
    plan.cpuid = source.cpuid;
    plan.msrs = source.msrs;
    if (const auto* header = xen::find_record<hvm_save_header>(source.context))
        plan.tsc_khz = header->gtsc_khz;
    plan.vga_vmsd = there.vga_vmsd;
    plan.vga_slot = there.vga_slot;
    plan.vram_block = there.vram_block;
    plan.vram_bytes = there.vram_bytes;
    plan.acpi_block = there.acpi_block;
    plan.acpi_bytes = there.acpi_bytes;
    plan.ram = there.ram;
    plan.ram_bytes = there.ram_bytes;
    return plan;
}

Differences differences(const xen::HvmContext& there, const xen::HvmContext& back) {
    Differences found;
    for (const auto* side : {&there, &back})
        for (const auto& record : *side) {
            const auto& other = side == &there ? back : there;
            const auto twin = std::ranges::find_if(other, [&](const xen::HvmRecord& candidate) {
                return candidate.typecode == record.typecode && candidate.instance == record.instance;
            });
            const std::string name = xen::hvm_record_name(record.typecode);
            if (twin == other.end()) {
                found[name] = side == &there ? "there → gone" : "absent → there";
                continue;
            }
            if (side == &back) continue;
            Values one, two;
            std::map<std::string, std::string> names;
            flatten(xen::describe(record).fields, {}, {}, one, names);
            flatten(xen::describe(*twin).fields, {}, {}, two, names);
            for (const auto& [place, general] : names)
                if (one[place] != two[place])
                    found.try_emplace(name + "." + general, one[place] + " → " + two[place]);
        }
    return found;
}

Differences differences(const std::vector<xen::HvmParam>& there, const std::vector<xen::HvmParam>& back) {
    Differences found;
    std::map<std::uint64_t, std::string> one, two;
    for (const auto& param : there) one[param.index] = fmt::format("{:#x}", param.value);
    for (const auto& param : back) two[param.index] = fmt::format("{:#x}", param.value);
    auto all = one;
    all.insert(two.begin(), two.end());
    for (const auto& [index, unused] : all)
        if (one[index] != two[index])
            found[fmt::format("HVM_PARAMS.{}", xen::hvm_param_name(index))] = one[index] + " → " + two[index];
    return found;
}

namespace {

void flatten(const qemu::Struct& part, const std::string& exact, const std::string& general, Values& values,
             std::map<std::string, std::string>& names) {
    std::map<std::string, int> seen;
    for (const auto& field : part.fields) {
        const auto bare = field.name.substr(0, field.name.find('['));
        const auto place = fmt::format("{}|{}#{}", exact, field.name, seen[field.name]++);
        const auto name = general + "." + bare;
        if (field.elements.empty()) {
            std::string text;
            for (const auto byte : field.data) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
            values[place] = text;
            names[place] = name;
        }
        for (std::size_t n = 0; n < field.elements.size(); ++n)
            flatten(field.elements[n], fmt::format("{}|{}", place, n), name, values, names);
    }
    for (const auto& sub : part.subsections)
        flatten(sub, exact + "+" + sub.vmsd_name, general + "+" + sub.vmsd_name, values, names);
}

}  // namespace

Differences differences(const qemu::DeviceTree& there, const qemu::DeviceTree& back) {
    Values one, two;
    std::map<std::string, std::string> names;
    for (const auto* side : {&there, &back})
        for (const auto& section : side->sections)
            flatten(section.root, fmt::format("{}/{}", section.idstr, section.instance),
                    std::string(name_without_slot(section.idstr)), side == &there ? one : two, names);
    Differences found;
    for (const auto& [place, name] : names)
        if (one[place] != two[place])
            found.try_emplace(name, one[place].substr(0, 80) + " → " + two[place].substr(0, 80));
    return found;
}

}  // namespace vmferry::test
