// A QEMU stream of any size, made while it is read: what a guest of that size would send in one or more
// rounds.
//
//     header · CONFIGURATION · OPEN_RETURN_PATH · PING · START ram · PART ram (1024 pages) … · END ram ·
//     timer · EOF · description
//
// Each PART is made in the same buffer, so that a guest of 64 GiB needs no more memory than a small one.
// Pages go upwards through the blocks as QEMU sends them: pc.ram, video memory, firmware.
#pragma once

#include <cstdint>
#include <vector>

#include "parsers/qemu/stream_writer.hpp"
#include "parsers/wire/bytes.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry::bench {

struct QemuGuestLayout {
    std::uint64_t ram_bytes = 128u << 20;  ///< pc.ram; a multiple of 2 MiB
    std::uint64_t below_4g = 0xC0000000;  ///< RAM beyond it continues at 4 GiB, if there is more than 3.5 GiB
    std::uint64_t vram_bytes = 16u << 20;
    unsigned used_of_eight = 2;  ///< of eight pages so many are not zero
    unsigned rounds = 1;         ///< each sends all pages; contents change from round to round
    /// Of this many pages of RAM in a row the first half is not sent (free page hints); 0: all are sent. The
    /// first MiB always is.
    std::uint64_t hinted = 0;
};

/// The block list, and what make_xen_plan would say of it.
[[nodiscard]] std::vector<qemu::RamBlock> blocks_of(const QemuGuestLayout& layout);
[[nodiscard]] XenPlan xen_plan_for(const QemuGuestLayout& layout);

/// What a page holds in a round: 0 and nothing else, or this word and then frame_filling().
[[nodiscard]] std::uint64_t qemu_page_tag(const QemuGuestLayout& layout, std::uint32_t block,
                                          std::uint64_t offset, unsigned round);
/// Whether the source sends it.
[[nodiscard]] bool qemu_page_sent(const QemuGuestLayout& layout, std::uint32_t block, std::uint64_t offset);

class QemuStreamGenerator {
  public:
    static constexpr std::size_t pages_per_part = 1024;

    explicit QemuStreamGenerator(QemuGuestLayout layout);

    /// The next piece, valid until the next call; empty at the end of the stream.
    [[nodiscard]] Bytes next();

  private:
    [[nodiscard]] Bytes head();
    [[nodiscard]] Bytes part();
    [[nodiscard]] Bytes tail();

    QemuGuestLayout layout_;
    std::vector<qemu::RamBlock> blocks_;
    enum class Stage { head, pages, end } stage_ = Stage::head;
    unsigned round_ = 0;
    std::uint32_t block_ = 0;
    std::uint64_t offset_ = 0;
    Buffer piece_;
};

}  // namespace vmferry::bench
