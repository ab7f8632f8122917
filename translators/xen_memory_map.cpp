#include "translators/xen_memory_map.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace vmferry {

namespace {

using Fate = XenPagePlace::Fate;

constexpr std::uint64_t frame(std::uint64_t address) {
    return address / page_size;
}

// The slots; first_vram_slot follows.
constexpr std::uint64_t rom_slot = 0x40, bios_slot = 0x60;
constexpr std::uint64_t max_slots = 1u << 20;  ///< of a spill file

constexpr std::uint64_t window_first = frame(0xC0000), window_end = frame(0x100000);
constexpr std::uint64_t bios_first = frame(0xE0000);
constexpr std::uint64_t rom_bytes = 0x20000;  ///< of pc.rom, and of pc.bios below 1 MiB
constexpr std::uint64_t special_first = 0xFEFF0, special_end = 0xFF000, identity_frame = 0xFEFFE;

/// QEMU gives a RAM block of a device the next multiple of this behind the RAM before it.
constexpr std::uint64_t block_alignment = frame(64 * page_size);

constexpr const char* vga_window = "RAM behind the VGA window, which a Xen domain does not have";
constexpr const char* upper_bios = "firmware that is seen below 4 GiB only: Xen brings its own for a reset";

/// PAM registers: 16 KiB each up to 0xEFFFF, then 64 KiB.
std::size_t segment(std::uint64_t gfn) {
    return std::min<std::size_t>((gfn - window_first) / 4, 12);
}

}  // namespace

const char* dispensable_block(std::string_view name) {
    if (name == "pc.rom") return "option ROMs that nothing is seen of";
    if (name == "pc.bios") return upper_bios;
    if (name.starts_with("/rom@")) return "tables that QEMU's own firmware reads when it boots";
    if (name.ends_with(".rom")) return "an option ROM: the destination's device model loads its own";
    return nullptr;
}

XenMemoryMap::XenMemoryMap(const XenPlan& plan, const std::vector<qemu::RamBlock>& blocks) : ram_(plan.ram) {
    vram_pages_ = std::min(frame(plan.vram_bytes), max_slots - first_vram_slot);
    for (const auto& range : ram_) behind_ram_ = std::max(behind_ram_, range.first_gfn + range.frames);
    const RamRange more{behind_ram_, frame(plan.configured_ram_bytes() - plan.ram_bytes), "", 0};
    behind_ram_ += more.frames;
    behind_ram_ = (behind_ram_ + block_alignment - 1) / block_alignment * block_alignment;
    for (auto gfn = special_first; gfn < special_end; ++gfn) special_.push_back({gfn, gfn == identity_frame});
    for (std::uint64_t i = 0; i < more.frames; ++i) special_.push_back({more.first_gfn + i, false});

    for (const auto& block : blocks) {
        auto& runs = blocks_.emplace_back();
        for (const auto& range : ram_)
            if (range.block == block.idstr) add_ram(runs, range, block.used_length);
        if (!runs.empty()) {
            // Nothing else can be behind it.
        } else if (block.idstr == plan.acpi_block) {
            const auto bytes = std::min(block.used_length, plan.acpi_bytes);
            if (bytes > 0) runs.push_back({0, bytes, Fate::firmware_area, frame(plan.acpi_base), ""});
        } else if (block.idstr == plan.vram_block) {
            const auto bytes = std::min(block.used_length, vram_pages_ * page_size);
            if (bytes > 0) runs.push_back({0, bytes, Fate::hold, first_vram_slot, ""});
        } else if (block.idstr == "pc.rom") {
            runs.push_back({0, std::min(block.used_length, rom_bytes), Fate::hold, rom_slot, ""});
        } else if (block.idstr == "pc.bios") {
            const auto bytes = std::min(block.used_length, rom_bytes);
            const auto target = bios_slot + frame(rom_bytes - bytes);
            runs.push_back({block.used_length - bytes, bytes, Fate::hold, target, ""});
        }
        complete(runs, block);
    }
    if (!plan.acpi_block.empty())
        ram_.push_back({frame(plan.acpi_base), frame(plan.acpi_bytes), plan.acpi_block, 0});
    if (more.frames > 0) ram_.push_back(more);
}

/// The range, without what is held or lies behind the VGA window.
void XenMemoryMap::add_ram(std::vector<Run>& runs, const RamRange& range, std::uint64_t block_bytes) {
    constexpr std::array<std::uint64_t, 5> cuts{0, frame(0xA0000), window_first, window_end, ~0ull};
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        const auto first = std::max(range.first_gfn, cuts[i]);
        const auto end = std::min(range.first_gfn + range.frames, cuts[i + 1]);
        if (first >= end) continue;
        Run run{range.block_offset + (first - range.first_gfn) * page_size, (end - first) * page_size,
                Fate::ram, first, ""};
        if (run.offset >= block_bytes) continue;
        run.bytes = std::min(run.bytes, block_bytes - run.offset);
        if (cuts[i] == window_first) {
            run.fate = Fate::hold;
            run.target = first - window_first;
        } else if (i == 1) {
            run.fate = Fate::drop;
            run.why = vga_window;
        }
        runs.push_back(run);
    }
}

/// Sorts the runs of a block and gives all between them a reason.
void XenMemoryMap::complete(std::vector<Run>& runs, const qemu::RamBlock& block) {
    std::ranges::sort(runs, {}, &Run::offset);
    const char* why = dispensable_block(block.idstr);
    if (why == nullptr) why = vga_window;  // the one gap that a plan leaves
    std::vector<Run> whole;
    std::uint64_t at = 0;
    const auto drop_until = [&](std::uint64_t end) {
        if (at < end) whole.push_back({at, end - at, Fate::drop, 0, why});
    };
    for (const auto& run : runs) {
        drop_until(run.offset);
        whole.push_back(run);
        at = run.offset + run.bytes;
    }
    drop_until(block.used_length);
    runs = std::move(whole);
}

Result<XenPagePlace> XenMemoryMap::place(std::uint32_t block, std::uint64_t offset) const {
    if (block < blocks_.size())
        for (const auto& run : blocks_[block]) {
            const auto inside = offset - run.offset;  // wraps for offsets before the run
            if (inside >= run.bytes) continue;
            const auto target = run.target + frame(inside);
            const bool held = run.fate == Fate::hold;
            return XenPagePlace{run.fate, held ? 0 : target, held ? target : 0, run.why};
        }
    return stream_error("qemu", "ram record", "offset", 0, fmt::format("{:#x} in block {}", offset, block),
                        "an offset inside a block of the list");
}

std::optional<XenMemoryMap::RamStretch> XenMemoryMap::next_ram(std::uint32_t block,
                                                               std::uint64_t offset) const {
    for (const auto& run : blocks_[block]) {
        if (run.fate != Fate::ram || run.offset + run.bytes <= offset) continue;
        const auto skipped = std::max(run.offset, offset) - run.offset;
        return RamStretch{run.offset + skipped, run.target + frame(skipped), frame(run.bytes - skipped)};
    }
    return {};
}

bool XenMemoryMap::is_free(std::uint64_t first_gfn, std::uint64_t pages) const {
    const auto touches = [&](std::uint64_t first, std::uint64_t end) {
        return first_gfn < end && first < first_gfn + pages;
    };
    return !touches(special_first, special_end) && std::ranges::none_of(ram_, [&](const RamRange& range) {
        return touches(range.first_gfn, range.first_gfn + range.frames);
    });
}

std::optional<std::uint64_t> XenMemoryMap::place_held(std::uint64_t slot, const DeviceMemory& memory) const {
    if (slot >= first_vram_slot) {
        const auto page = slot - first_vram_slot;
        // Where memory decoding is off a device model of Xen leaves video memory at its address in the
        // model's own space, behind the guest's RAM, and looks for it there when it starts.
        const auto base = memory.vga_bar != 0 ? frame(memory.vga_bar) : behind_ram_;
        // A guest can point the BAR at its own RAM, which then hides the video memory.
        if (page >= vram_pages_ || !is_free(base, vram_pages_)) return {};
        return base + page;
    }
    const bool ram = slot < rom_slot;
    const auto gfn = ram                ? window_first + slot
                     : slot < bios_slot ? window_first + (slot - rom_slot)
                                        : bios_first + (slot - bios_slot);
    if (memory.reads_dram[segment(gfn)] != ram) return {};
    return gfn;
}

const std::array<std::byte, page_size>& XenMemoryMap::identity_table() {
    static const auto table = [] {
        // present, writable, user, accessed, dirty, 4 MiB
        constexpr std::uint32_t flags = 0xE7;
        std::array<std::byte, page_size> bytes{};
        for (std::uint32_t i = 0; i < 1024; ++i) {
            const auto entry = i << 22 | flags;
            std::memcpy(bytes.data() + sizeof(entry) * i, &entry, sizeof(entry));
        }
        return bytes;
    }();
    return table;
}

}  // namespace vmferry
