// A device section of QEMU (its own stream, or the blob inside Xen's) as `vmferry inspect` shows it.
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/vmferry/describe_json.hpp"
#include "tools/vmferry/inspect.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::size_t shown_bytes = 32;  // of a raw buffer, in the text form

std::string hex_text(Bytes bytes) {
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const auto byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    return text;
}

std::uint64_t load_scalar(Bytes bytes) {
    std::uint64_t value = 0;
    for (const auto byte : bytes) value = value << 8 | std::to_integer<std::uint64_t>(byte);
    return value;
}

/// A signed type's value as a signed number, the others as unsigned ones, in hexadecimal for people.
Json scalar(const qemu::Field& field, Bytes bytes, bool complete) {
    const auto value = load_scalar(bytes);
    if (!field.type.starts_with("int"))
        return complete || value < 10 ? Json(value) : Json(fmt::format("{:#x}", value));
    const auto unused = 64 - 8 * bytes.size();
    return static_cast<std::int64_t>(value << unused) >> unused;
}

bool is_number(const qemu::Field& field) {
    const auto size = field.size;
    return (size == 1 || size == 2 || size == 4 || size == 8) &&
           (field.type.contains("int") || field.type == "bool" || field.type == "timer" ||
            field.type == "cpreg");
}

Json show(const qemu::Struct& structure, bool complete);

Json show(const qemu::Field& field, bool complete) {
    if (!field.elements.empty()) {
        if (field.elements.size() == 1) return show(field.elements.front(), complete);
        auto elements = Json::array();
        for (const auto& element : field.elements) elements.push_back(show(element, complete));
        return elements;
    }
    const Bytes data = field.data;
    if (is_number(field) && data.size() == std::size_t{field.count} * field.size) {
        if (field.count == 1) return scalar(field, data, complete);
        if (complete || field.count <= shown_bytes) {
            auto values = Json::array();
            for (std::size_t at = 0; at < data.size(); at += field.size)
                values.push_back(scalar(field, data.subspan(at, field.size), complete));
            return values;
        }
    }
    if (complete || data.size() <= shown_bytes) return hex_text(data);
    return fmt::format("{}… ({} bytes)", hex_text(data.first(shown_bytes)), data.size());
}

Json show(const qemu::Struct& structure, bool complete) {
    auto object = Json::object();
    for (const auto& field : structure.fields) object[free_name(object, field.name)] = show(field, complete);
    for (const auto& subsection : structure.subsections)
        object[free_name(object, "+" + subsection.vmsd_name)] = show(subsection, complete);
    return object;
}

}  // namespace

void show_section(Listing& listing, unsigned depth, const qemu::Section& section) {
    auto fields = Json{{"instance", section.instance}, {"version", section.version}};
    if (section.section_id != 0) fields["section_id"] = section.section_id;
    if (!section.described) fields["described"] = false;
    if (listing.json())
        fields["state"] = show(section.root, true);
    else
        fields.update(show(section.root, false));
    listing.entry(depth, section.offset, section.length, section.idstr, fields);
}

void show_device_model(Listing& listing, unsigned depth, const qemu::DeviceTree& tree, std::uint64_t end) {
    for (const auto& section : tree.sections) show_section(listing, depth, section);
    if (tree.rest != 0) listing.entry(depth, end - tree.rest, tree.rest, "rest", Json::object());
}

}  // namespace vmferry::cli
