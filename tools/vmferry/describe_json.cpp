#include "tools/vmferry/describe_json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

Json to_json(std::span<const xen::Field> fields, bool for_people) {
    auto object = Json::object();
    for (const auto& field : fields) {
        if (for_people && field.reserved) continue;
        auto& value = object[free_name(object, field.name)];
        if (field.kind == xen::Field::Kind::group)
            value = to_json(field.fields, for_people);
        else if (for_people || field.kind == xen::Field::Kind::text)
            value = field.text;
        else if (field.text.starts_with('-'))
            value = static_cast<std::int64_t>(field.number);
        else
            value = field.number;
    }
    return object;
}

std::string free_name(const Json& object, const std::string& name) {
    if (!object.contains(name)) return name;
    for (unsigned number = 2;; ++number)
        if (auto numbered = fmt::format("{}#{}", name, number); !object.contains(numbered)) return numbered;
}

}  // namespace vmferry::cli
