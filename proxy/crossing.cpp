// What comes in: the records before the pages, the pages, the records after them.
#include "proxy/crossing.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "parsers/xen/page_data.hpp"
#include "proxy/crossing_impl.hpp"
#include "proxy/zero_page.hpp"

namespace vmferry {

namespace {

constexpr std::uint8_t type_of(xen::PageType type) {
    return static_cast<std::uint8_t>(type);
}

}  // namespace

// ---- the loop ----

Result<Crossing::Progress> Crossing::Impl::advance(Bytes in, OutputBatch& out) {
    Progress progress;
    while (state == State::header || state == State::pages) {
        if (state == State::pages) {
            if (roms_sent < roms.size()) send_roms(out);
            VMFERRY_TRY(skip_dataless(out));
            if (out.full()) return progress;
        }
        auto view = in.subspan(progress.consumed);
        // Inside a batch the reader must not find more pages than there is room for: what it has given out
        // cannot be given back.
        if (pages_awaited > 0) view = view.first(std::min(view.size(), out.room() * page_size));

        const auto offset = reader.offset();
        VMFERRY_ASSIGN(const auto step, reader.next(view));
        if (!step.event) {
            progress.need = step.need;
            return progress;
        }
        progress.consumed += step.consumed;
        counters.bytes_in += step.consumed;
        VMFERRY_TRY(accept(*step.event, view, offset, out));
    }
    return progress;
}

// ---- records ----

Result<void> Crossing::Impl::accept(const xen::Record& record, Bytes view, std::uint64_t offset,
                                    OutputBatch& out) {
    VMFERRY_TRY(collected.collect(record, view, offset));
    return std::visit(
        [&]<typename T>(const T& event) -> Result<void> {
            if constexpr (std::is_same_v<T, xen::StaticDataEnd>) {
                if (state == State::header) state = State::wants_destination;
            } else if constexpr (std::is_same_v<T, xen::PageBatch>) {
                // A v2 stream has no STATIC_DATA_END: its first page says that the static part is over.
                if (state == State::header) state = State::wants_destination;
                batch_offset = offset;
                begin_batch(*event.entries);
            } else if constexpr (std::is_same_v<T, xen::PageRun>) {
                return accept_run(event, out);
            } else if constexpr (std::is_same_v<T, xen::LibxlEnd>) {
                return accept_end();
            }
            // The others only frame the stream; their order is the reader's business.
            return {};
        },
        record);
}

Result<void> Crossing::Impl::accept_end() {
    if (state != State::pages)
        return stream_error("libxl", "END", "", reader.offset(), "no STATIC_DATA_END before it",
                            "the STATIC_DATA_END of the guest");
    VMFERRY_TRY(collected.complete(reader.offset()));
    // The first pass names every frame once, so that counting is enough: no bitmap that grows with the guest.
    std::uint64_t frames = 0;
    for (const auto& range : plan.ram) frames += range.frames;
    if (counters.populated + ram_holes != frames)
        return stream_error("libxc", "PAGE_DATA", "pfn", reader.offset(),
                            fmt::format("{} frames of RAM in the first pass", counters.populated + ram_holes),
                            fmt::format("each of the guest's {} once", frames));
    state = State::translated;
    return {};
}

// ---- pages ----

void Crossing::Impl::begin_batch(const std::vector<xen::PageEntry>& batch) {
    entries = &batch;
    cursor = 0;
    pages_awaited = static_cast<std::size_t>(
        std::ranges::count_if(batch, [](const xen::PageEntry& entry) { return entry.has_data(); }));
    if (batch.empty()) return;
    // Each pass goes upwards through the frames; nothing in the stream marks its beginning.
    if (counters.passes == 0 || batch.front().gfn <= previous_gfn) ++counters.passes;
    previous_gfn = batch.front().gfn;
}

Result<void> Crossing::Impl::skip_dataless(OutputBatch& out) {
    if (entries == nullptr) return {};
    while (cursor < entries->size() && !(*entries)[cursor].has_data()) {
        if (out.full()) return {};
        VMFERRY_TRY(dataless((*entries)[cursor], out));
        ++cursor;
    }
    if (cursor == entries->size()) entries = nullptr;
    return {};
}

Result<void> Crossing::Impl::dataless(const xen::PageEntry& entry, OutputBatch& out) {
    if (entry.type == type_of(xen::PageType::xalloc)) return give(entry.gfn, {}, out);

    const bool broken = entry.type == type_of(xen::PageType::broken);
    if (!broken) {
        // A hole. Where the destination has RAM it would read as zeros instead of as nothing.
        if (!in_plain_ram(entry.gfn)) return {};
        if (counters.passes == 1) ++ram_holes;
        if (std::exchange(hole_reported, true)) return {};
    }
    audit.violated(broken ? "broken-page" : "ram-hole",
                   fmt::format("frame {:#x} has no content in the stream", entry.gfn));
    if (!audit.refused()) return {};
    return std::unexpected(in_page_data(audit.error(), entry.gfn));
}

bool Crossing::Impl::in_plain_ram(std::uint64_t gfn) const {
    return std::ranges::any_of(plan.ram,
                               [gfn](const RamRange& range) { return gfn - range.first_gfn < range.frames; });
}

Result<void> Crossing::Impl::accept_run(const xen::PageRun& run, OutputBatch& out) {
    for (std::size_t at = 0; at < run.pages.size(); at += page_size) {
        // Entries without data between two pages: few, and small on the wire; they may use the spare room.
        while (cursor < entries->size() && !(*entries)[cursor].has_data()) {
            VMFERRY_TRY(dataless((*entries)[cursor], out));
            ++cursor;
        }
        VMFERRY_TRY(give((*entries)[cursor].gfn, run.pages.subspan(at, page_size), out));
        ++cursor;
        --pages_awaited;
    }
    return {};
}

Result<void> Crossing::Impl::give(std::uint64_t gfn, Bytes page, OutputBatch& out) {
    static constexpr std::byte zeros[page_size]{};
    const bool zero = page.empty() || is_zero_page(page);
    ++counters.pages;
    if (zero) ++counters.zero_pages;

    const auto place = map->place(gfn);
    if (!place) return std::unexpected(in_page_data(place.error(), gfn));
    switch (place->fate) {
        case FrameFate::drop:
            ++counters.dropped_pages;
            count_drop(place->why);
            return {};
        case FrameFate::hold:
            ++counters.held_pages;
            return spill.store(gfn, page.empty() ? Bytes(zeros) : page);
        case FrameFate::ram:
            break;
    }
    if (counters.passes == 1 && in_plain_ram(gfn)) ++counters.populated;
    // The frames that the reset stub patches are needed once more at the end.
    if (plan.reset_stub && is_reset_stub_frame(gfn))
        VMFERRY_TRY(spill.store(gfn, page.empty() ? Bytes(zeros) : page));
    const auto& block = map->blocks()[place->block];
    if (zero)
        ram.zero(out, block, place->offset);
    else
        ram.page(out, block, place->offset, page);
    return {};
}

void Crossing::Impl::count_drop(const char* why) {
    for (auto& reason : dropped)
        if (reason.why == why) {
            ++reason.pages;
            return;
        }
    dropped.push_back({why, 1});
}

Error Crossing::Impl::in_page_data(Error error, std::uint64_t gfn) const {
    if (error.format.empty()) error.format = "libxc";
    if (error.record.empty()) error.record = "PAGE_DATA";
    if (error.found.empty()) error.found = fmt::format("{:#x}", gfn);
    // A held page is looked at long after its batch has gone by.
    const bool in_batch = entries != nullptr && cursor < entries->size();
    error.field = in_batch ? fmt::format("pfn[{}]", cursor) : "pfn";
    error.offset = in_batch ? batch_offset + xen::PageDataReader::head_size + sizeof(std::uint64_t) * cursor
                            : reader.offset();
    return error;
}

// ---- the interface ----

Crossing::Crossing(const Limits& limits, AuditReport& audit) : impl_(std::make_unique<Impl>(limits, audit)) {}
Crossing::~Crossing() = default;

Crossing::State Crossing::state() const {
    return impl_->state;
}
const XenSource& Crossing::source() const {
    return impl_->collected.source;
}
const CrossingCounters& Crossing::counters() const {
    return impl_->counters;
}
Error Crossing::truncated(std::size_t have) const {
    return impl_->reader.truncated(have);
}

Result<Crossing::Progress> Crossing::advance(Bytes in, OutputBatch& out) {
    return counting(out, impl_->counters.bytes_out, [&] { return impl_->advance(in, out); });
}

void Crossing::set_limits(const Limits& limits) {
    impl_->spill.use(limits.spill_directory, limits.spill_bytes);
}

Result<void> Crossing::set_destination(Plan plan, qemu::Snapshot twin, OutputBatch& out) {
    return counting(out, impl_->counters.bytes_out,
                    [&] { return impl_->set_destination(std::move(plan), std::move(twin), out); });
}

Result<void> Crossing::finish(std::uint64_t realtime_ns, OutputBatch& out) {
    return counting(out, impl_->counters.bytes_out, [&] { return impl_->finish(realtime_ns, out); });
}

}  // namespace vmferry
