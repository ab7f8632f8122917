// The destination's side of a crossing: its head, its ROM blocks, and how the stream ends.
//
//     set_destination:  QEVM · CONFIGURATION · START ram
//     finish:           translate, audit │ held pages │ END ram │ device sections · EOF · VMDESC
//                       nothing written  └ nothing of this completes a load before EOF is written
#include <algorithm>
#include <array>
#include <utility>

#include "proxy/compare_blocks.hpp"
#include "proxy/crossing_impl.hpp"
#include "proxy/zero_page.hpp"

namespace vmferry {

// ---- the head ----

Result<void> Crossing::Impl::set_destination(Plan new_plan, qemu::Snapshot new_twin, OutputBatch& out) {
    plan = std::move(new_plan);
    twin = std::move(new_twin);
    VMFERRY_TRY(compare_blocks("destination", twin.blocks, plan.ram,
                               {{plan.vram_block, plan.vram_bytes}, {plan.acpi_block, plan.acpi_bytes}}));
    map.emplace(plan);

    Buffer head;
    qemu::write_file_header(head);
    qemu::write_configuration(head, twin.machine, twin.configuration_subsections);
    qemu::write_ram_start(head, twin.blocks);
    out.copy(head);

    // QEMU loads no firmware into a machine that waits for a migration, so the ROM blocks have to come from
    // the twin; without pc.bios a reboot would run zeros. Their zero pages are zero there already.
    for (const auto& block : twin.blocks) {
        if (std::ranges::find(map->blocks(), block.idstr) != map->blocks().end()) {
            twin.pages.erase(block.idstr);
            continue;
        }
        const auto pages = twin.pages.find(block.idstr);
        if (pages == twin.pages.end()) continue;
        for (const auto& [offset, page] : pages->second) roms.push_back({&pages->first, offset, page});
    }
    state = State::pages;
    return {};
}

void Crossing::Impl::send_roms(OutputBatch& out) {
    while (roms_sent < roms.size() && !out.full()) {
        const auto& rom = roms[roms_sent++];
        ram.page(out, *rom.block, rom.offset, rom.page);
    }
}

// ---- the ending ----

Result<void> Crossing::Impl::finish(std::uint64_t realtime_ns, OutputBatch& out) {
    if (ending == Ending::translate) {
        VMFERRY_TRY(translate(realtime_ns));
        ending = Ending::held;
    }
    if (ending == Ending::held) {
        if (roms_sent < roms.size()) send_roms(out);
        VMFERRY_TRY(send_held(out));
        if (out.full()) return {};
        report_pages();
        ending = Ending::ram_end;
    }
    if (ending == Ending::ram_end) {
        ram.end(out);
        ending = Ending::devices;
    }
    send_devices(out);
    return {};
}

Result<void> Crossing::Impl::translate(std::uint64_t realtime_ns) {
    VMFERRY_ASSIGN(image, translate_to_qemu(collected.source, plan, twin, realtime_ns, audit));
    VMFERRY_TRY(plan_reset_stub());
    if (audit.refused()) return std::unexpected(audit.error());
    for (const auto& section : image.tree.sections)
        if (twin.tree.find(section.idstr, section.instance) == nullptr)
            return environment_error("destination", "comparing device sections with the twin",
                                     fmt::format("no {} instance {}", section.idstr, section.instance),
                                     "every section that the guest needs");
    return {};
}

Result<void> Crossing::Impl::plan_reset_stub() {
    if (!plan.reset_stub) return {};
    std::array<std::byte, page_size> stub{}, entry{};
    if (spill.contains(reset_stub_frame)) VMFERRY_TRY(spill.load(reset_stub_frame, stub));
    if (spill.contains(reset_entry_frame)) VMFERRY_TRY(spill.load(reset_entry_frame, entry));
    patches = place_reset_stub(stub, entry, audit);
    // A frame that never came reads as zeros in the destination; to be patched it has to be sent.
    for (const auto& patch : patches)
        if (!spill.contains(patch.gfn))
            VMFERRY_TRY(spill.store(patch.gfn, patch.gfn == reset_stub_frame ? stub : entry));
    return {};
}

void Crossing::Impl::report_pages() {
    for (const auto& reason : dropped)
        audit.adapted("memory", fmt::format("{} pages dropped: {}", reason.pages, reason.why));
    if (ram_holes > 0)
        audit.adapted("memory", fmt::format("{} frames of RAM had no page; they read as zeros", ram_holes));
}

Result<void> Crossing::Impl::send_held(OutputBatch& out) {
    while (!out.full()) {
        const auto gfn = spill.next(held_next);
        if (!gfn) return {};
        VMFERRY_TRY(send_held_page(*gfn, out));
        held_next = *gfn + 1;
    }
    return {};
}

Result<void> Crossing::Impl::send_held_page(std::uint64_t gfn, OutputBatch& out) {
    std::array<std::byte, page_size> page;
    VMFERRY_TRY(spill.load(gfn, page));
    for (const auto& patch : patches)
        if (patch.gfn == gfn) apply_patch(patch, page);
    auto place = map->place(gfn);
    if (place && place->fate == FrameFate::hold) place = map->place_held(gfn, image.vga_bar);
    if (!place) return std::unexpected(in_page_data(place.error(), gfn));
    if (place->fate != FrameFate::ram) {
        ++counters.dropped_pages;
        count_drop(place->why);
        return {};
    }
    const auto& block = map->blocks()[place->block];
    if (is_zero_page(page))
        ram.zero(out, block, place->offset);
    else
        ram.page_copy(out, block, place->offset, page);
    return {};
}

void Crossing::Impl::send_devices(OutputBatch& out) {
    Buffer section;
    while (section_next < image.tree.sections.size()) {
        if (out.full()) return;
        section.clear();
        qemu::write_section(section, image.tree.sections[section_next++]);
        out.copy(section);
    }
    section.clear();
    qemu::write_eof(section);
    // The loader reads the description and throws it away; without one it complains on its log.
    qemu::write_description(section, "{}");
    out.copy(section);
    state = State::done;
}

}  // namespace vmferry
