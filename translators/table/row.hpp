// One row of a table: a field of the neutral machine, its place in one VMM's record, how it is read and
// written, and the law that reading and writing obey. Tables are printed, tested row by row, and checked for
// coverage: every byte of a record belongs to exactly one row.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vmferry {

enum class Law {
    exact,        ///< write(read(x)) = x for every x
    normal_form,  ///< write(read(x)) is the form that `reason` describes; doing it again changes nothing
    one_way,      ///< not carried or not carried back; `reason` says why
};
[[nodiscard]] constexpr std::string_view law_name(Law law) {
    switch (law) {
        case Law::exact:
            return "exact";
        case Law::normal_form:
            return "normal form";
        case Law::one_way:
            return "one way";
    }
    return "";
}

/// Bytes of a record: `count` pieces of `size` bytes, `stride` apart.
struct ByteClaim {
    std::size_t offset = 0, size = 0, stride = 0, count = 1;
};

/// A row over a record that is one of Xen's structures. `read` and `write` are null for a named ignore.
template <typename Neutral, typename Record>
struct RecordRow {
    std::string field;  ///< of the neutral machine; for an ignore, what the bytes are
    std::string place;  ///< in the record
    Law law = Law::exact;
    std::string reason;  ///< for every law but exact
    std::string absent;  ///< value of the neutral field when the record is missing
    ByteClaim bytes;
    void (*read)(const Record&, Neutral&) = nullptr;
    void (*write)(const Neutral&, Record&) = nullptr;
};

template <typename Neutral, typename Record>
using RecordTable = std::vector<RecordRow<Neutral, Record>>;

template <typename Neutral, typename Record>
void read_rows(const RecordTable<Neutral, Record>& table, const Record& from, Neutral& to) {
    for (const auto& row : table)
        if (row.read) row.read(from, to);
}
template <typename Neutral, typename Record>
void write_rows(const RecordTable<Neutral, Record>& table, const Neutral& from, Record& to) {
    for (const auto& row : table)
        if (row.write) row.write(from, to);
}

namespace detail {

/// Arrays may differ in length: the shorter one counts (the RTC record has 14 of the 128 bytes of CMOS).
template <typename To, typename From>
void assign(To& to, const From& from) {
    if constexpr (std::is_integral_v<To>) {
        to = static_cast<To>(from);
    } else {
        for (std::size_t i = 0; i < std::min(std::size(to), std::size(from)); ++i)
            to[i] = static_cast<std::decay_t<decltype(to[i])>>(from[i]);
    }
}

template <typename Record, typename Place>
ByteClaim claim_of(Place place) {
    Record probe{};
    const auto& member = place(probe);
    return {static_cast<std::size_t>(reinterpret_cast<const std::byte*>(&member) -
                                     reinterpret_cast<const std::byte*>(&probe)),
            sizeof(member)};
}

}  // namespace detail

/// Row of two members of equal width. `field_of` and `place_of` are captureless lambdas that return
/// references.
template <typename Neutral, typename Record, typename FieldOf, typename PlaceOf>
RecordRow<Neutral, Record> exact_row(std::string_view field, std::string_view place, FieldOf,
                                     PlaceOf place_of) {
    return {.field = std::string(field),
            .place = std::string(place),
            .law = Law::exact,
            .reason = {},
            .absent = {},
            .bytes = detail::claim_of<Record>(place_of),
            .read = [](const Record& from, Neutral& to) { detail::assign(FieldOf{}(to), PlaceOf{}(from)); },
            .write = [](const Neutral& from, Record& to) { detail::assign(PlaceOf{}(to), FieldOf{}(from)); }};
}

/// A named ignore.
template <typename Neutral, typename Record>
RecordRow<Neutral, Record> ignore_row(std::string_view what, std::string_view place, ByteClaim bytes,
                                      std::string_view reason) {
    return {.field = std::string(what),
            .place = std::string(place),
            .law = Law::one_way,
            .reason = std::string(reason),
            .absent = {},
            .bytes = bytes};
}

/// A lambda that refers to a member, for exact_row.
// NOLINTBEGIN(bugprone-macro-parentheses): a member's name cannot stand in parentheses.
#define VMFERRY_MEMBER(path)   \
    [](auto& owner) -> auto& { \
        return owner.path;     \
    }
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace vmferry
