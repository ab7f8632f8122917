#include "tools/vmferry/listing.hpp"

#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/vmferry/printable.hpp"
#include "tools/vmferry/report.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::size_t columns = 110;      // of a line, before fields go on in the next
constexpr std::size_t field_indent = 22;  // under the record's name

std::string scalar(const Json& value) {
    if (value.is_string()) return printable(value.get<std::string>());
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool is_block(const Json& value) {
    return value.is_object() || (value.is_array() && !value.empty() && value.front().is_structured());
}

void print_fields(const Json& fields, std::size_t indent, std::size_t used) {
    std::size_t at = used;
    for (const auto& [name, value] : fields.items()) {
        if (is_block(value)) continue;
        const auto word = fmt::format("{}={}", printable(name), scalar(value));
        if (at > indent && at + 1 + word.size() > columns) {
            fmt::print("\n");
            at = 0;
        }
        if (at == 0) {
            fmt::print("{:{}}", "", indent);
            at = indent;
        } else if (at > indent || used > 0) {
            fmt::print(" ");
            ++at;
        }
        fmt::print("{}", word);
        at += word.size();
    }
    fmt::print("\n");
    for (const auto& [name, value] : fields.items()) {
        if (!is_block(value)) continue;
        if (value.is_object()) {
            const auto head = fmt::format("{:{}}{}:", "", indent, printable(name));
            fmt::print("{}", head);
            print_fields(value, indent + 2, head.size());
            continue;
        }
        std::size_t index = 0;
        for (const auto& element : value) {
            const auto head = fmt::format("{:{}}{}[{}]:", "", indent, printable(name), index++);
            fmt::print("{}", head);
            if (element.is_object())
                print_fields(element, indent + 2, head.size());
            else
                fmt::print(" {}\n", scalar(element));
        }
    }
}

}  // namespace

void Listing::entry(unsigned depth, std::uint64_t offset, std::uint64_t length, std::string_view record,
                    const Json& fields) {
    ++entries_;
    if (json_) {
        print_json({{"offset", offset},
                    {"length", length},
                    {"depth", depth},
                    {"record", record},
                    {"fields", fields}},
                   false);
        return;
    }
    const auto head =
        fmt::format("{:#010x} {:>9}  {:{}}{:<22}", offset, length, "", depth * 2, printable(record));
    fmt::print("{}", head);
    if (fields.empty())
        fmt::print("\n");
    else
        print_fields(fields, field_indent + std::size_t{depth} * 2, head.size());
}

void Listing::text(unsigned depth, std::string_view lines) const {
    if (json_) return;
    while (!lines.empty()) {
        const auto end = lines.find('\n');
        fmt::print("{:{}}{}\n", "", field_indent + std::size_t{depth} * 2, lines.substr(0, end));
        lines = end == std::string_view::npos ? std::string_view{} : lines.substr(end + 1);
    }
}

void Listing::totals(const Json& summary) const {
    if (json_) return;
    for (const auto& [name, value] : summary.items())
        if (value.is_object() && name != "error") {
            fmt::print("total {}:", name);
            print_fields(value, 4, columns);
        }
    fmt::print("total {} bytes, {} entries\n", summary.value("bytes", std::uint64_t{0}), entries_);
}

}  // namespace vmferry::cli
