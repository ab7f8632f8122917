// Recorded Xen guests and the destinations that the stock QEMU of this machine would be for them.
#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include "parsers/xen/stream_writer.hpp"
#include "proxy/convert.hpp"
#include "proxy/input_file.hpp"
#include "proxy/loop.hpp"
#include "proxy/prepare.hpp"
#include "tests/proxy/page_path.hpp"

namespace vmferry::test {

/// A file of captures/, unpacked.
[[nodiscard]] inline Buffer load_capture(const std::string& name) {
    auto file = InputFile::open(fmt::format(VMFERRY_SOURCE_DIR "/captures/{}", name));
    REQUIRE(file.has_value());
    Buffer all, piece(1u << 20);
    for (;;) {
        const auto n = file->read(piece);
        REQUIRE(n.has_value());
        if (*n == 0) return all;
        append(all, Bytes(piece).first(*n));
    }
}

/// The trimmed capture as a stream of a whole guest: a pass in front that populates all frames of its 88 MiB
/// with zeros, 8 bytes each.
[[nodiscard]] inline Buffer load_small_guest() {
    const auto trimmed = load_capture("xen-4.17-trimmed.up.zst");
    const auto frame = bench::frame_of(trimmed);
    REQUIRE(frame.has_value());
    auto stream = frame->prelude;
    constexpr std::uint64_t batch = 1024, frames = (88u << 20) / page_size;
    std::vector<xen::PageEntry> entries;
    for (std::uint64_t gfn = 0; gfn < frames; ++gfn) {
        const bool window = gfn >= 0xA0 && gfn < 0xC0;
        const auto type = window ? xen::PageType::xtab : xen::PageType::xalloc;
        entries.push_back({gfn, static_cast<std::uint8_t>(type)});
        if (entries.size() < batch) continue;
        xen::write_page_batch(stream, entries);
        entries.clear();
    }
    append(stream, Bytes(trimmed).subspan(frame->prelude.size()));
    return stream;
}

/// The guest of captures/xen-4.17-*: an IDE disk of 16 MiB, whose content does not matter here, an e1000.
struct RecordedGuest {
    std::string disk = fmt::format("/tmp/vmferry-recorded-{}.disk", ::getpid());
    DestinationOptions options;

    RecordedGuest() {
        std::ofstream(disk).close();
        std::filesystem::resize_file(disk, 16u << 20);
        options.accel = Accel::tcg;
        options.disks["hda"].path = disk;
        options.nics[0] = "user";
        options.serial = {"null"};
    }
    ~RecordedGuest() { std::filesystem::remove(disk); }
    RecordedGuest(const RecordedGuest&) = delete;
    RecordedGuest& operator=(const RecordedGuest&) = delete;

    /// Asks QEMU the first time; the same for every stream of this guest.
    [[nodiscard]] Result<Destination> destination(const XenSource& source) const {
        static std::optional<Destination> known;
        if (!known) {
            Loop loop;
            AuditReport audit;
            VMFERRY_ASSIGN(auto prepared, prepare_destination(loop, source, options, "", audit));
            known = Destination{std::move(prepared.plan), std::move(prepared.twin)};
        }
        return *known;
    }
};

}  // namespace vmferry::test
