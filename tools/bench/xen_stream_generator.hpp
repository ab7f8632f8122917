// A Xen stream of any size, made while it is read: what a guest of that size would send in one or more
// passes.
//
//     prelude (xl header … STATIC_DATA_END) · PAGE_DATA of 1024 frames each · … · tail (TSC_INFO … END)
//
// Each record is made in the same buffer, so that a guest of 64 GiB needs no more memory than a small one.
// Frames go upwards as Xen sends them: RAM below the MMIO hole, holes (XTAB), video RAM, the firmware area,
// the special pages, RAM from 4 GiB on.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::bench {

struct GuestLayout {
    std::uint64_t ram_bytes = 128u << 20;  ///< as max_memkb − video_memkb; a multiple of 4 MiB
    std::uint64_t mmio_hole = 0xF0000000;  ///< RAM beyond it continues at 4 GiB
    std::uint64_t vga_bar = 0xF0000000;
    std::uint64_t vram_bytes = 8u << 20;  ///< 0: no video RAM
    unsigned firmware_frames = 16;        ///< at 0xFC000000
    unsigned special_frames = 16;         ///< below 0xFF000000
    unsigned used_of_eight = 2;           ///< of eight RAM pages so many are not zero
    unsigned passes = 1;                  ///< each sends all frames; contents change from pass to pass
};

/// What stands at a frame in a pass: nothing if it has no page.
enum class FrameKind { absent, ram, video, firmware, special };
[[nodiscard]] FrameKind frame_kind(const GuestLayout& layout, std::uint64_t gfn);
/// Whether the page of a frame has content (all others are zero).
[[nodiscard]] bool frame_is_used(const GuestLayout& layout, std::uint64_t gfn);
/// First word of a used frame's page; the page is this word, then the common filling.
[[nodiscard]] std::uint64_t frame_tag(std::uint64_t gfn, unsigned pass);
/// The 4088 bytes behind the tag.
[[nodiscard]] Bytes frame_filling();
/// Frames that one pass names (Xen names each one below the highest mapped).
[[nodiscard]] std::uint64_t frame_count(const GuestLayout& layout);

class XenStreamGenerator {
  public:
    static constexpr std::size_t frames_per_record = 1024;

    /// `prelude` and `tail` are copied; see xen_stream_frame.hpp for where they come from.
    XenStreamGenerator(GuestLayout layout, Buffer prelude, Buffer tail);

    /// The next piece, valid until the next call; empty at the end of the stream.
    [[nodiscard]] Bytes next();

  private:
    [[nodiscard]] Bytes record();

    GuestLayout layout_;
    Buffer prelude_, tail_;
    std::uint64_t frames_;
    enum class Part { prelude, pages, tail, end } part_ = Part::prelude;
    unsigned pass_ = 0;
    std::uint64_t next_gfn_ = 0;
    std::vector<xen::PageEntry> entries_;
    Buffer head_;
    Buffer record_;  ///< room for the head of a full record, then its pages
};

}  // namespace vmferry::bench
