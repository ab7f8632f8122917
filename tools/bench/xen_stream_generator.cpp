#include "tools/bench/xen_stream_generator.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "parsers/xen/stream_writer.hpp"

namespace vmferry::bench {

namespace {

constexpr std::uint64_t frame(std::uint64_t address) {
    return address / page_size;
}
constexpr std::uint64_t vga_hole_first = frame(0xA0000), vga_hole_end = frame(0xC0000);
constexpr std::uint64_t firmware_first = frame(0xFC000000);
constexpr std::uint64_t special_end = frame(0xFF000000);
constexpr std::uint64_t high_first = frame(1ull << 32);
constexpr std::size_t max_head = 16 + 8 * XenStreamGenerator::frames_per_record;

std::uint64_t high_frames(const GuestLayout& layout) {
    return layout.ram_bytes > layout.mmio_hole ? frame(layout.ram_bytes - layout.mmio_hole) : 0;
}

const std::array<std::byte, page_size>& filled_page() {
    static const auto page = [] {
        std::array<std::byte, page_size> bytes{};
        std::uint32_t state = 0x9E3779B9;
        for (auto& byte : bytes) {
            state = state * 1664525 + 1013904223;
            byte = static_cast<std::byte>(state >> 24);
        }
        return bytes;
    }();
    return page;
}

}  // namespace

FrameKind frame_kind(const GuestLayout& layout, std::uint64_t gfn) {
    if (gfn < frame(std::min(layout.ram_bytes, layout.mmio_hole)))
        return gfn >= vga_hole_first && gfn < vga_hole_end ? FrameKind::absent : FrameKind::ram;
    const auto vga = frame(layout.vga_bar);
    if (gfn >= vga && gfn < vga + frame(layout.vram_bytes)) return FrameKind::video;
    if (gfn >= firmware_first && gfn < firmware_first + layout.firmware_frames) return FrameKind::firmware;
    if (gfn >= special_end - layout.special_frames && gfn < special_end) return FrameKind::special;
    if (gfn >= high_first && gfn < high_first + high_frames(layout)) return FrameKind::ram;
    return FrameKind::absent;
}

bool frame_is_used(const GuestLayout& layout, std::uint64_t gfn) {
    return gfn % 8 < layout.used_of_eight;
}

std::uint64_t frame_tag(std::uint64_t gfn, unsigned pass) {
    return ((gfn + 1) << 8) | pass;
}

Bytes frame_filling() {
    return Bytes(filled_page()).subspan(8);
}

std::uint64_t frame_count(const GuestLayout& layout) {
    const auto high = high_frames(layout);
    return high > 0 ? high_first + high : special_end;
}

XenStreamGenerator::XenStreamGenerator(GuestLayout layout, Buffer prelude, Buffer tail)
    : layout_(layout),
      prelude_(std::move(prelude)),
      tail_(std::move(tail)),
      frames_(frame_count(layout)),
      record_(max_head + frames_per_record * page_size) {
    entries_.reserve(frames_per_record);
}

Bytes XenStreamGenerator::next() {
    switch (part_) {
        case Part::prelude:
            part_ = Part::pages;
            return prelude_;
        case Part::pages:
            if (next_gfn_ == frames_ && ++pass_ < layout_.passes) next_gfn_ = 0;
            if (next_gfn_ < frames_) return record();
            part_ = Part::tail;
            [[fallthrough]];
        case Part::tail:
            part_ = Part::end;
            return tail_;
        case Part::end:
            break;
    }
    return {};
}

Bytes XenStreamGenerator::record() {
    entries_.clear();
    auto* page = record_.data() + max_head;
    const auto end = std::min(frames_, next_gfn_ + frames_per_record);
    for (; next_gfn_ < end; ++next_gfn_) {
        const bool absent = frame_kind(layout_, next_gfn_) == FrameKind::absent;
        const auto type = absent ? xen::PageType::xtab : xen::PageType::normal;
        entries_.push_back({next_gfn_, static_cast<std::uint8_t>(type)});
        if (absent) continue;
        // A slot is written whole only when it changes between zero and used; else its tag is enough.
        const bool was_used = load_raw<std::uint64_t>({page, 8}) != 0;
        if (frame_is_used(layout_, next_gfn_)) {
            const auto tag = frame_tag(next_gfn_, pass_);
            std::memcpy(page, &tag, sizeof(tag));
            if (!was_used) std::memcpy(page + 8, frame_filling().data(), page_size - 8);
        } else if (was_used) {
            std::memset(page, 0, page_size);
        }
        page += page_size;
    }
    head_.clear();
    xen::write_page_batch(head_, entries_);
    auto* begin = record_.data() + (max_head - head_.size());
    std::memcpy(begin, head_.data(), head_.size());
    return {begin, page};
}

}  // namespace vmferry::bench
