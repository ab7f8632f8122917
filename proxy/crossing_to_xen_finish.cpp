// The destination's side of a crossing to Xen: its head, and how the stream ends.
//
//     set_destination:  xl header · libxl header · LIBXC_CONTEXT · image and domain header · CPUID and MSR
//     policy
//                       · STATIC_DATA_END
//     finish:           translate, audit │ held pages · special pages │ X86_TSC_INFO · HVM_CONTEXT ·
//     HVM_PARAMS
//                       nothing written  │                            │ · END · EMULATOR_CONTEXT · END of
//                       libxl
#include <algorithm>
#include <array>
#include <utility>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/xen/stream_writer.hpp"
#include "proxy/compare_blocks.hpp"
#include "proxy/crossing_to_xen_impl.hpp"

namespace vmferry {

// ---- the head ----

Result<void> CrossingToXen::Impl::set_destination(XenPlan new_plan, XenTemplate new_xen, OutputBatch& out) {
    plan = std::move(new_plan);
    xen = std::move(new_xen);
    VMFERRY_TRY(compare_blocks("source", source.blocks, plan.ram,
                               {{plan.vram_block, plan.vram_bytes}, {plan.acpi_block, plan.acpi_bytes}}));
    map.emplace(plan, source.blocks);

    Buffer head;
    xen::XlHeader header;
    header.config = plan.config;
    write(head, header);
    write(head, xen::LibxlHeader{});
    write(head, xen::LibxcContext{});
    write(head, xen::ImageHeader{});
    write(head, xen::DomainHeader{.xen_major = plan.xen_major, .xen_minor = plan.xen_minor});
    if (!plan.cpuid.empty()) write(head, xen::CpuidPolicyRecord{plan.cpuid});
    if (!plan.msrs.empty()) write(head, xen::MsrPolicyRecord{plan.msrs});
    write(head, xen::StaticDataEnd{});
    out.copy(head);
    state = State::pages;
    return {};
}

// ---- the ending ----

Result<void> CrossingToXen::Impl::finish(std::uint64_t realtime_ns, OutputBatch& out) {
    if (ending == Ending::translate) {
        VMFERRY_TRY(translate(realtime_ns));
        ending = Ending::held;
    }
    if (ending == Ending::held) {
        VMFERRY_TRY(send_held(out));
        if (slot_next < map->held_slots()) return {};
        report_pages();
        ending = Ending::special;
    }
    if (ending == Ending::special) {
        send_special(out);
        if (special_next < map->special_pages().size()) return {};
        ending = Ending::records;
    }
    if (!out.full()) send_records(out);
    return {};
}

Result<void> CrossingToXen::Impl::translate(std::uint64_t realtime_ns) {
    VMFERRY_ASSIGN(image, translate_source(source, plan, xen, realtime_ns, audit));
    if (audit.refused()) return std::unexpected(audit.error());
    return {};
}

// Every frame that a held page could be for is sent, whether its page came or not.
Result<void> CrossingToXen::Impl::send_held(OutputBatch& out) {
    std::array<std::byte, page_size> page;
    for (; slot_next < map->held_slots() && !pages.full(out); ++slot_next) {
        const bool known = spill.contains(slot_next);
        const auto gfn = map->place_held(slot_next, image.memory);
        if (!gfn) {
            if (!known) continue;
            ++counters.dropped_pages;
            count_drop(slot_next < XenMemoryMap::first_vram_slot
                           ? "RAM behind ROM, or ROM behind RAM, at 0xC0000 to 0xFFFFF"
                           : "video memory, which the guest has mapped where its RAM is");
        } else if (known) {
            VMFERRY_TRY(spill.load(slot_next, page));
            pages.page_copy(out, *gfn, page);
        } else {
            pages.zero(out, *gfn);
            ++frames_left_out;
        }
    }
    pages.flush(out);
    return {};
}

void CrossingToXen::Impl::send_special(OutputBatch& out) {
    const auto& all = map->special_pages();
    for (; special_next < all.size() && !pages.full(out); ++special_next) {
        const auto& special = all[special_next];
        if (special.identity_table)
            pages.page(out, special.gfn, XenMemoryMap::identity_table());
        else
            pages.zero(out, special.gfn);
    }
    pages.flush(out);
}

void CrossingToXen::Impl::send_records(OutputBatch& out) {
    const auto context = xen::write_hvm_context(image.context);
    const auto blob = qemu::write_device_model(image.device_model);
    Buffer records;
    records.reserve(context.size() + blob.size() + page_size);
    write(records, image.tsc_info);
    write(records, xen::HvmContextRecord{context});
    write(records, xen::HvmParams{image.params});
    write(records, xen::LibxcEnd{});
    write(records, xen::EmulatorContext{.blob = blob});
    write(records, xen::LibxlEnd{});
    out.copy(records);
    state = State::done;
}

void CrossingToXen::Impl::report_pages() {
    for (const auto& reason : dropped)
        audit.adapted("memory", fmt::format("{} pages dropped: {}", reason.pages, reason.why));
    if (frames_left_out > 0)
        audit.adapted("memory", fmt::format("{} frames of RAM had no page in the stream (the guest said that "
                                            "they are free); they read as zeros",
                                            frames_left_out));
}

}  // namespace vmferry
