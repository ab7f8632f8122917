#include "tools/vmferry/page_totals.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

// Names of the libxc specification, index = bits 63–60 of an entry.
constexpr std::array<const char*, 16> type_names{"NOTAB",      "L1TAB",      "L2TAB",      "L3TAB",
                                                 "L4TAB",      "reserved-5", "reserved-6", "reserved-7",
                                                 "reserved-8", "L1TAB-pin",  "L2TAB-pin",  "L3TAB-pin",
                                                 "L4TAB-pin",  "BROKEN",     "XALLOC",     "XTAB"};

void add_types(Json& fields, const std::array<std::uint64_t, 16>& by_type) {
    for (std::size_t type = 0; type < by_type.size(); ++type)
        if (by_type.at(type) > 0) fields[type_names.at(type)] = by_type.at(type);
}

bool is_zero(Bytes page) {
    // The first byte is zero and each byte equals its neighbour.
    return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

}  // namespace

Json PageTotals::batch(std::span<const xen::PageEntry> entries) {
    std::array<std::uint64_t, 16> by_type{};
    std::uint64_t data = 0, lowest = UINT64_MAX, highest = 0;
    for (const auto& entry : entries) {
        ++by_type.at(entry.type & 0xFU);
        data += entry.has_data() ? 1 : 0;
        lowest = std::min(lowest, entry.gfn);
        highest = std::max(highest, entry.gfn);
    }
    Json fields{{"entries", entries.size()}};
    if (!entries.empty()) {
        fields["gfns"] = fmt::format("{:#x}-{:#x}", lowest, highest);
        if (passes_ == 0 || entries.front().gfn < last_first_) ++passes_;
        last_first_ = entries.front().gfn;
        highest_ = std::max(highest_, highest);
    }
    fields["pass"] = passes_;
    add_types(fields, by_type);

    ++batches_;
    entries_ += entries.size();
    data_pages_ += data;
    for (std::size_t type = 0; type < by_type.size(); ++type) by_type_.at(type) += by_type.at(type);
    return fields;
}

void PageTotals::run(Bytes pages) {
    for (; pages.size() >= page_size; pages = pages.subspan(page_size))
        if (is_zero(pages.first(page_size))) ++zero_pages_;
}

Json PageTotals::totals() const {
    Json fields{{"batches", batches_},
                {"passes", passes_},
                {"entries", entries_},
                {"pages_with_data", data_pages_},
                {"zero_pages", zero_pages_},
                {"data_bytes", data_pages_ * page_size},
                {"highest_gfn", fmt::format("{:#x}", highest_)}};
    add_types(fields, by_type_);
    return fields;
}

}  // namespace vmferry::cli
