// The schemas against what Xen's device models say of themselves: `-dump-vmstate` of Debian's qemu-system-xen
// 7.2 (Xen 4.17) and 10.0 (Xen 4.20) lists every field that a device can have, with its size, and every
// subsection; it lacks types, array lengths, and the objects that are no devices (CPU, APIC, timer).
#include "parsers/qemu/schema.hpp"

#include <algorithm>
#include <set>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {
namespace {

using Json = nlohmann::json;
using schema::FieldSpec;
using schema::Spec;

/// Fields that a device of these versions never has, or that are another name for one it has.
const std::set<std::string> known_to_be_absent = {
    "config",                     // the one of the other size
    "cur_offset",                 // 16 bits, fw_cfg of version 1
    "unused",                     // e1000 of version 1, ac97 and pcnet of version 2
    "memory hotplug state|devs",  // memory slots
    "sb16|irq",
    "sb16|dma",
    "sb16|hdma",
    "sb16|port",  // one unused buffer
    "xhci-intr|ev_buffer_put",
    "xhci-intr|ev_buffer_get",
    "xhci-intr|ev_buffer",  // with er_full_unused
};
/// Names of 7.2 that 10.0 has changed, and by which name the schema knows them.
const std::set<std::pair<std::string, std::string>> renamed = {{"num_timers_save", "num_timers"},
                                                               {"unused", "core.itr_intr_pending"},
                                                               {"unused", "core.eitr_intr_pending"},
                                                               {"ver", "unused"}};

/// "config[0]": the occurrence number that descriptions in a stream have and the dump has not.
bool same_name(std::string_view dumped, std::string_view ours) {
    if (dumped == ours || renamed.contains({std::string(dumped), std::string(ours)})) return true;
    return ours.starts_with(dumped) && ours.size() > dumped.size() && ours[dumped.size()] == '[' &&
           ours.ends_with(']');
}

std::size_t compare(const Json& dumped, const Spec& spec, const std::string& path) {
    CAPTURE(path);
    std::size_t compared = 0;
    const auto version = dumped.at("version_id").get<std::uint32_t>();
    CHECK(spec.vmsd_name == dumped.at("name").get<std::string>());
    CHECK(version >= spec.min_version);
    CHECK(version <= spec.version);
    auto ours = spec.fields.begin();
    for (const auto& field : dumped.value("Fields", Json::array())) {
        const auto name = field.at("field").get<std::string>();
        CAPTURE(name);
        const auto size = field.at("size").get<std::uint32_t>();
        if (ours == spec.fields.end() || !same_name(name, ours->name) ||
            (name == "config" && size != ours->size)) {
            const bool absent = known_to_be_absent.contains(name) ||
                                known_to_be_absent.contains(std::string(spec.vmsd_name) + "|" + name);
            CHECK_MESSAGE(absent, "not in the schema of " << spec.vmsd_name);
            continue;
        }
        if (ours->structure) {
            compared += compare(field.at("Description"), *ours->structure, path + "|" + name);
        } else if (size != 0 && name != "ver") {
            const bool array_as_buffer =
                size == ours->size * ours->elements;  // "unused" in place of an array
            CHECK((size == ours->size || array_as_buffer));
        }
        if (field.at("version_id").get<std::uint32_t>() > spec.min_version)
            CHECK(ours->since == field.at("version_id").get<std::uint32_t>());
        ++compared;
        ++ours;
    }
    while (ours != spec.fields.end() && ours->with != 0) ++ours;  // of another release
    CHECK_MESSAGE(ours == spec.fields.end(),
                  "the schema has more: " << (ours == spec.fields.end() ? "" : ours->name));
    for (const auto& sub : dumped.value("Subsections", Json::array())) {
        const auto name = sub.at("name").get<std::string>();
        const auto known =
            std::ranges::find_if(spec.subsections, [&](const Spec* s) { return s->vmsd_name == name; });
        CAPTURE(name);
        REQUIRE_MESSAGE(known != spec.subsections.end(), "a subsection that the schema lacks");
        compared += compare(sub, **known, path + "|+" + name);
    }
    return compared;
}

void compare_all(const std::string& capture) {
    const auto text = test::load_capture(capture);
    const auto dump = Json::parse(as_text(text));
    std::size_t fields = 0;
    std::set<std::string> devices;
    for (const auto& [device, entry] : dump.items()) {
        if (!entry.contains("Description")) continue;
        const auto name = entry.at("Description").at("name").get<std::string>();
        // Same name, another device: USB controllers and NICs that sit on other buses.
        static const std::set<std::string> others = {"isa-cirrus-vga", "isa-vga",     "ne2k_isa",
                                                     "serial-mm",      "sysbus-ahci", "fw_cfg_mem"};
        const auto* known = schema::find_section(name);
        if (!known || others.contains(device)) continue;
        CAPTURE(device);
        fields += compare(entry.at("Description"), *known->spec, name);
        devices.insert(name);
    }
    CHECK(devices.size() >= 45);
    CHECK(fields > 900);
}

}  // namespace

TEST_CASE("every field and subsection of Xen 4.17's device model has its place in the schemas") {
    compare_all("qemu-7.2/xen-qemu-vmstate.json.zst");
}

TEST_CASE("every field and subsection of Xen 4.20's device model has its place in the schemas") {
    compare_all("qemu-10.0/xen-qemu-vmstate.json.zst");
}

TEST_CASE("the schemas are consistent") {
    std::set<std::string_view> names;
    const auto check = [](const Spec& spec, const auto& self) -> void {
        CAPTURE(std::string(spec.vmsd_name));
        CHECK(spec.min_version <= spec.version);
        for (std::size_t i = 0; i < spec.fields.size(); ++i) {
            const auto& field = spec.fields[i];
            CAPTURE(std::string(field.name));
            CHECK_FALSE(field.name.empty());
            CHECK_FALSE(field.type.empty());
            CHECK((field.size != 0) == (field.structure == nullptr));
            CHECK(field.elements > 0);
            // A count or a condition is an integer that comes earlier.
            for (const auto reference : {field.count_field, field.present_if}) {
                if (reference.empty()) continue;
                const auto earlier = std::ranges::find_if(
                    spec.fields.first(i), [&](const FieldSpec& other) { return other.name == reference; });
                REQUIRE(earlier != spec.fields.begin() + static_cast<std::ptrdiff_t>(i));
                CHECK(earlier->size <= 8);
                CHECK(earlier->elements == 1);
            }
            // The same name twice only for layouts that exclude each other.
            for (const auto& other : spec.fields.first(i))
                if (other.name == field.name)
                    CHECK(((other.with & field.without) != 0 || (other.without & field.with) != 0));
            if (field.structure) self(*field.structure, self);
        }
        for (const auto* sub : spec.subsections) {
            CHECK(sub->vmsd_name.starts_with(spec.vmsd_name));
            self(*sub, self);
        }
    };
    for (const auto family : {schema::cpu_sections(), schema::chipset_sections(), schema::legacy_sections(),
                              schema::storage_sections(), schema::display_sections(),
                              schema::network_sections(), schema::usb_sections(), schema::sound_sections()}) {
        for (const auto& section : family) {
            REQUIRE(section.spec);
            CHECK(names.insert(section.spec->vmsd_name).second);
            CHECK(schema::find_section(section.spec->vmsd_name) == &section);
            check(*section.spec, check);
        }
    }
    CHECK(schema::find_section("0000:00:01.1/ide") == schema::find_section("ide"));
    CHECK(schema::find_section("0000:00:04.0/1.2/usb-kbd") != nullptr);
    CHECK(schema::find_section("ide/") == nullptr);
    CHECK(schema::find_section("") == nullptr);
}

}  // namespace vmferry::qemu
