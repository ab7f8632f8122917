// One row of QEMU's table: a field of the neutral machine, and the path of a field inside a section.
// Rows without functions are claims: the field belongs to a semantic translator, or stays as the
// destination's own template has it, for the reason given. Together they must cover every field of the
// sections that are synthesized.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/wire/error.hpp"
#include "translators/plan.hpp"
#include "translators/table/row.hpp"

namespace vmferry::qemu {

/// What the meaning of some fields depends on.
struct Context {
    Accel accel = Accel::tcg;
    std::int64_t virtual_clock_ns = 0;  ///< QEMU_CLOCK_VIRTUAL at the instant
    std::int64_t realtime_ns = 0;       ///< CLOCK_REALTIME of the destination, since 1970
};

template <typename Neutral>
struct Row {
    std::string field;  ///< of the neutral machine; "template" for what stays
    std::string path;   ///< a field, or a prefix of paths, or "+subsection"
    Law law = Law::exact;
    std::string reason = {};
    std::string absent = {};
    Result<void> (*read)(const Row&, const Context&, const Section&, Neutral&) = nullptr;
    Result<void> (*write)(const Row&, const Context&, const Neutral&, Section&) = nullptr;
};

template <typename Neutral>
using Table = std::vector<Row<Neutral>>;

template <typename Neutral>
Result<void> read_rows(const Table<Neutral>& table, const Context& context, const Section& from,
                       Neutral& to) {
    for (const auto& row : table)
        if (row.read) VMFERRY_TRY(row.read(row, context, from, to));
    return {};
}
template <typename Neutral>
Result<void> write_rows(const Table<Neutral>& table, const Context& context, const Neutral& from,
                        Section& to) {
    for (const auto& row : table)
        if (row.write) VMFERRY_TRY(row.write(row, context, from, to));
    return {};
}

/// Row of one integer.
template <typename Neutral, typename FieldOf>
Row<Neutral> scalar_row(std::string_view field, std::string_view path, FieldOf) {
    Row<Neutral> row{.field = std::string(field), .path = std::string(path)};
    row.read = [](const Row<Neutral>& self, const Context&, const Section& from,
                  Neutral& to) -> Result<void> {
        VMFERRY_ASSIGN(const auto value, from.get(self.path));
        auto& target = FieldOf{}(to);
        target = static_cast<std::decay_t<decltype(target)>>(value);
        return {};
    };
    row.write = [](const Row<Neutral>& self, const Context&, const Neutral& from, Section& to) {
        return to.set(self.path, static_cast<std::uint64_t>(FieldOf{}(from)));
    };
    return row;
}

/// Row of an array of integers, element by element.
template <typename Neutral, typename FieldOf>
Row<Neutral> array_row(std::string_view field, std::string_view path, FieldOf) {
    Row<Neutral> row{.field = std::string(field), .path = std::string(path)};
    row.read = [](const Row<Neutral>& self, const Context&, const Section& from,
                  Neutral& to) -> Result<void> {
        auto& target = FieldOf{}(to);
        for (std::size_t i = 0; i < std::size(target); ++i) {
            VMFERRY_ASSIGN(const auto value, from.get(fmt::format("{}|{}", self.path, i)));
            target[i] = static_cast<std::decay_t<decltype(target[i])>>(value);
        }
        return {};
    };
    row.write = [](const Row<Neutral>& self, const Context&, const Neutral& from,
                   Section& to) -> Result<void> {
        const auto& source = FieldOf{}(from);
        for (std::size_t i = 0; i < std::size(source); ++i)
            VMFERRY_TRY(to.set(fmt::format("{}|{}", self.path, i), static_cast<std::uint64_t>(source[i])));
        return {};
    };
    return row;
}

/// The field is written by a semantic translator, which `how` names; `field` is what of the machine it shows.
template <typename Neutral>
Row<Neutral> semantic(std::string_view path, std::string_view field, std::string_view how,
                      Law law = Law::one_way) {
    return {.field = std::string(field), .path = std::string(path), .law = law, .reason = std::string(how)};
}
/// A field of the machine that QEMU's sections have no place for.
template <typename Neutral>
Row<Neutral> no_place(std::string_view field, std::string_view why) {
    return {.field = std::string(field), .path = {}, .law = Law::one_way, .reason = std::string(why)};
}
/// The field keeps what the template holds.
template <typename Neutral>
Row<Neutral> from_template(std::string_view path, std::string_view why) {
    return {.field = "template", .path = std::string(path), .law = Law::one_way, .reason = std::string(why)};
}

/// The optional subsection `name` (version 1) holds these fields, or is absent when there are none.
/// An existing one is replaced.
void set_subsection(Section& section, std::string_view name, std::vector<Field> fields);
[[nodiscard]] Field integer_field(std::string name, std::string type, std::uint32_t size,
                                  std::uint64_t value);
/// Array of 64-bit integers.
[[nodiscard]] Field quads_field(std::string name, const std::uint64_t* values, std::uint32_t count);

}  // namespace vmferry::qemu
