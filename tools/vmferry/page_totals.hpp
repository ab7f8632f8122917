// Counts of the pages of a Xen stream, for `vmferry inspect`.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include <nlohmann/json_fwd.hpp>

#include "parsers/wire/bytes.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::cli {

class PageTotals {
  public:
    /// Returns the fields that summarise this batch: entries, frames, data, a count for each type.
    [[nodiscard]] nlohmann::ordered_json batch(std::span<const xen::PageEntry> entries);
    /// Counts all-zero pages.
    void run(Bytes pages);
    [[nodiscard]] nlohmann::ordered_json totals() const;

  private:
    std::array<std::uint64_t, 16> by_type_{};
    std::uint64_t batches_ = 0, entries_ = 0, data_pages_ = 0, zero_pages_ = 0;
    std::uint64_t passes_ = 0, last_first_ = 0, highest_ = 0;
};

}  // namespace vmferry::cli
