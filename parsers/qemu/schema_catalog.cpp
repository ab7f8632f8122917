#include <array>
#include <unordered_map>

#include "parsers/qemu/schema.hpp"

namespace vmferry::qemu::schema {

const SectionSpec* find_section(std::string_view idstr) {
    static const auto catalog = [] {
        std::unordered_map<std::string_view, const SectionSpec*> all;
        for (const auto family : {cpu_sections(), chipset_sections(), legacy_sections(), storage_sections(),
                                  display_sections(), network_sections(), usb_sections(), sound_sections()})
            for (const auto& section : family) all.emplace(section.spec->vmsd_name, &section);
        return all;
    }();
    // A device on a bus has its path before the name: "0000:00:03.0/e1000", "0000:00:01.2/1/usb-ptr".
    const auto found = catalog.find(idstr.substr(idstr.rfind('/') + 1));
    return found == catalog.end() ? nullptr : found->second;
}

}  // namespace vmferry::qemu::schema
