#include "proxy/page_data_output.hpp"

#include <array>

#include "parsers/xen/stream_writer.hpp"

namespace vmferry {

namespace {

constexpr std::size_t zero_pages = 64;
constexpr std::size_t max_copies = 64 * page_size;
constexpr std::uint64_t superpage = 512;
/// Pieces kept free besides one for each page: the heads of this record and of the next, and where the arena
/// begins a new chunk.
constexpr std::size_t spare_pieces = 16;

/// Never written to, so that it takes no memory.
const std::byte* zeros() {
    static std::array<std::byte, zero_pages * page_size> area{};
    return area.data();
}

}  // namespace

PageDataOutput::PageDataOutput() {
    entries_.reserve(max_entries);
    pages_.reserve(max_entries);
}

bool PageDataOutput::full(const OutputBatch& out, std::size_t pages) const {
    const auto fit = [&](std::size_t more) {
        return out.pieces().size() + pieces_ + more + spare_pieces <= OutputBatch::max_pieces;
    };
    if (out.full() || !fit(pages)) return true;
    // Where the next superpage would not fit, it begins the next batch.
    return !entries_.empty() && (entries_.back().gfn + 1) % superpage == 0 && !fit(superpage);
}

void PageDataOutput::begin(OutputBatch& out, std::uint64_t gfn) {
    if (entries_.empty()) return;
    // In the longest record there is hardly a piece for each of its frames: 512 more surely fit in half of
    // it.
    const bool splits = gfn % superpage == 0 && entries_.size() + superpage > max_entries - 2 * spare_pieces;
    if (entries_.size() == max_entries || gfn <= entries_.back().gfn || splits) flush(out);
}

void PageDataOutput::add(std::uint64_t gfn, const std::byte* page, bool copied) {
    const bool joins = !pages_.empty() && pages_.back().data + page_size == page;
    pieces_ += joins ? 0 : 1;
    entries_.push_back({gfn, static_cast<std::uint8_t>(xen::PageType::normal)});
    pages_.push_back({page, copied});
}

void PageDataOutput::page(OutputBatch& out, std::uint64_t gfn, Bytes page) {
    begin(out, gfn);
    add(gfn, page.data(), false);
}

void PageDataOutput::zero(OutputBatch& out, std::uint64_t gfn) {
    begin(out, gfn);
    const auto* area = zeros();
    const auto* last = pages_.empty() ? nullptr : pages_.back().data;
    const bool inside = last >= area && last < area + (zero_pages - 1) * page_size;
    add(gfn, inside ? last + page_size : area, false);
}

void PageDataOutput::page_copy(OutputBatch& out, std::uint64_t gfn, Bytes page) {
    begin(out, gfn);
    if (copied_ == max_copies) flush(out);
    if (copies_.empty()) copies_.resize(max_copies);
    auto* at = copies_.data() + copied_;
    std::memcpy(at, page.data(), page_size);
    copied_ += page_size;
    add(gfn, at, true);
}

void PageDataOutput::flush(OutputBatch& out) {
    if (entries_.empty()) return;
    head_.clear();
    xen::write_page_batch(head_, entries_);
    out.copy(head_);
    for (const auto& page : pages_) {
        const Bytes bytes(page.data, page_size);
        page.copied ? out.copy(bytes) : out.lend(bytes);
    }
    entries_.clear();
    pages_.clear();
    pieces_ = copied_ = 0;
}

}  // namespace vmferry
