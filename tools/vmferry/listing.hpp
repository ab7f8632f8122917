// The output of `vmferry inspect`: one entry for each record or section, as text or as one JSON object a
// line.
//
//     0x000008f1    24  libxc image header             version=3 options=0
//     └ offset      └ length   └ record (indented by depth)   └ fields
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "parsers/wire/error.hpp"

namespace vmferry::cli {

class Listing {
  public:
    /// `json`: each entry is {offset, length, depth, record, fields}.
    explicit Listing(bool json) : json_(json) {}

    /// `fields` is an object; nested objects and arrays of objects are set below, indented. `depth` 0 is a
    /// record of the stream itself, 1 a part of the record before it, and so on.
    void entry(unsigned depth, std::uint64_t offset, std::uint64_t length, std::string_view record,
               const nlohmann::ordered_json& fields);
    /// A text of several lines below the entry before it (text form only).
    void text(unsigned depth, std::string_view lines) const;

    /// The totals, at the end (text form only).
    void totals(const nlohmann::ordered_json& summary) const;

    [[nodiscard]] bool json() const { return json_; }
    [[nodiscard]] std::uint64_t entries() const { return entries_; }

  private:
    bool json_;
    std::uint64_t entries_ = 0;
};

}  // namespace vmferry::cli
