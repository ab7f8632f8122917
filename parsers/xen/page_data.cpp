#include "parsers/xen/page_data.hpp"

#include <algorithm>

#include "parsers/wire/place.hpp"
#include "parsers/xen/stream_reader.hpp"

namespace vmferry::xen {

namespace {

constexpr unsigned type_shift = 60;
constexpr std::uint64_t frame_bits = (std::uint64_t{1} << 52) - 1;
constexpr std::uint64_t reserved_bits = ((std::uint64_t{1} << type_shift) - 1) & ~frame_bits;
// Types 5–8 have no meaning (docs/specs/libxc-migration-stream, "PAGE_DATA"); 0xD–0xF carry no data.
constexpr unsigned undefined_types = 0b0000'0001'1110'0000;

// Names the first entry that is wrong; called only when there is one.
std::unexpected<Error> wrong_entry(Bytes list, const Place& place) {
    for (std::size_t i = 0;; ++i) {
        const auto pfn = load_le<std::uint64_t>(list, 8 * i);
        const auto at = PageDataReader::head_size + 8 * i;
        const auto field = fmt::format("pfn[{}]", i);
        if ((pfn & reserved_bits) != 0)
            return place.wrong(field, at, fmt::format("{:#018x}", pfn), "reserved bits 52-59 zero");
        if ((undefined_types >> (pfn >> type_shift) & 1) != 0)
            return place.wrong(field, at, fmt::format("type {:#x}", pfn >> type_shift),
                               "a defined page type");
        if ((pfn & frame_bits) > max_gfn)
            return place.wrong(field, at, fmt::format("frame {:#x}", pfn & frame_bits),
                               fmt::format("at most {:#x} (max_gfn)", max_gfn));
    }
}

}  // namespace

Result<std::size_t> PageDataReader::list_end(Bytes in, std::uint64_t offset) {
    const Place place{"libxc", "PAGE_DATA", offset};
    const auto length = load_le<std::uint32_t>(in, 4);
    const auto count = load_le<std::uint32_t>(in, 8);
    if (count == 0) return place.wrong("count", 8, "0", "at least 1");
    if (count > max_batch_entries)
        return place.wrong("count", 8, std::to_string(count),
                           fmt::format("at most {} (max_batch_entries)", max_batch_entries));
    if (length < 8 + 8 * std::size_t{count})
        return place.wrong("count", 8, std::to_string(count),
                           fmt::format("8 bytes for each in a body of {}", length));
    const auto reserved = load_le<std::uint32_t>(in, 12);
    if (reserved != 0) return place.wrong("reserved", 12, hex(reserved), "0");
    return head_size + 8 * std::size_t{count};
}

Result<PageBatch> PageDataReader::begin(Bytes in, std::uint64_t offset) {
    const Place place{"libxc", "PAGE_DATA", offset};
    const auto length = load_le<std::uint32_t>(in, 4);
    const std::size_t count = load_le<std::uint32_t>(in, 8);
    const auto list = in.subspan(head_size, 8 * count);

    // One pass over the list without a branch; what is wrong, if anything, is found out afterwards.
    entries_.resize(count);
    std::size_t with_data = 0;
    std::uint64_t all_bits = 0;
    unsigned types_seen = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const auto pfn = load_le<std::uint64_t>(list, 8 * i);
        const PageEntry entry{pfn & frame_bits, static_cast<std::uint8_t>(pfn >> type_shift)};
        all_bits |= pfn;
        types_seen |= 1U << entry.type;
        with_data += entry.has_data() ? 1 : 0;
        entries_[i] = entry;
    }
    if ((all_bits & reserved_bits) != 0 || (all_bits & frame_bits) > max_gfn ||
        (types_seen & undefined_types) != 0)
        return wrong_entry(list, place);

    const auto expected = 8 + 8 * count + page_size * with_data;
    if (length != expected)
        return place.wrong("length", 4, std::to_string(length),
                           fmt::format("{} ({} entries, {} with data)", expected, count, with_data));
    at_ = 0;
    left_ = with_data;
    all_with_data_ = with_data == count;
    if (left_ > 0) skip_without_data();
    return PageBatch{&entries_};
}

void PageDataReader::skip_without_data() {
    while (!entries_[at_].has_data()) ++at_;
}

PageRun PageDataReader::take(Bytes in) {
    const auto pages = std::min(in.size() / page_size, left_);
    const PageRun run{&entries_, at_, in.first(pages * page_size)};
    left_ -= pages;
    if (all_with_data_) {
        at_ += pages;
    } else {
        for (std::size_t i = 0; i < pages; ++i) {
            ++at_;
            if (i + 1 < pages || left_ > 0) skip_without_data();
        }
    }
    return run;
}

}  // namespace vmferry::xen
