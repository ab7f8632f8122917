#include "translators/qemu/row.hpp"

#include <algorithm>

namespace vmferry::qemu {

void set_subsection(Section& section, std::string_view name, std::vector<Field> fields) {
    auto& all = section.root.subsections;
    const auto found = std::ranges::find(all, name, &Struct::vmsd_name);
    if (fields.empty()) {
        if (found != all.end()) all.erase(found);
        return;
    }
    Struct filled{
        .vmsd_name = std::string(name), .version = 1, .fields = std::move(fields), .subsections = {}};
    if (found != all.end())
        *found = std::move(filled);
    else
        all.push_back(std::move(filled));
}

Field integer_field(std::string name, std::string type, std::uint32_t size, std::uint64_t value) {
    Field field{.name = std::move(name),
                .type = std::move(type),
                .count = 1,
                .size = size,
                .data = {},
                .elements = {}};
    for (std::uint32_t i = 0; i < size; ++i)
        field.data.push_back(static_cast<std::byte>(value >> (8 * (size - 1 - i))));
    return field;
}

Field quads_field(std::string name, const std::uint64_t* values, std::uint32_t count) {
    Field field{
        .name = std::move(name), .type = "uint64", .count = count, .size = 8, .data = {}, .elements = {}};
    for (std::uint32_t i = 0; i < count; ++i) append_be(field.data, values[i]);
    return field;
}

}  // namespace vmferry::qemu
