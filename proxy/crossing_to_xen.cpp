// What comes in: the head with its commands, the list of RAM blocks, the pages, the device state.
#include "proxy/crossing_to_xen.hpp"

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>
#include <variant>

#include "proxy/crossing_to_xen_impl.hpp"

namespace vmferry {

// ---- the loop ----

Result<CrossingToXen::Progress> CrossingToXen::Impl::advance(Bytes in, OutputBatch& out) {
    Progress progress;
    if (state == State::translated || state == State::done) {
        VMFERRY_ASSIGN(const auto step, reader.next(in));  // an error, if there is anything
        progress.need = step.need;
        return progress;
    }
    while (state == State::header || state == State::pages) {
        if (state == State::pages) {
            fill_gap(out);
            if (gap < gap_end || pages.full(out)) break;
        }
        const auto offset = reader.offset();
        VMFERRY_ASSIGN(auto step, reader.next(in.subspan(progress.consumed)));
        if (!step.event) {
            progress.need = step.need;
            break;
        }
        progress.consumed += step.consumed;
        counters.bytes_in += step.consumed;
        VMFERRY_TRY(accept(*step.event, offset, out));
    }
    // What is lent of `in` must be in `out` before the caller gives it up.
    pages.flush(out);
    return progress;
}

Result<void> CrossingToXen::Impl::accept(qemu::Event& event, std::uint64_t offset, OutputBatch& out) {
    return std::visit(
        [&]<typename T>(T& item) -> Result<void> {
            if constexpr (std::is_same_v<T, qemu::Configuration>) {
                source.machine = item.machine;
            } else if constexpr (std::is_same_v<T, qemu::CommandItem>) {
                return accept_command(item, offset);
            } else if constexpr (std::is_same_v<T, qemu::RamStart>) {
                source.blocks = std::move(item.blocks);
                state = State::wants_destination;
            } else if constexpr (std::is_same_v<T, qemu::RamPart>) {
                end_of_ram = item.end;
            } else if constexpr (std::is_same_v<T, qemu::RamPage>) {
                return accept_page(item, offset, out);
            } else if constexpr (std::is_same_v<T, qemu::RamTail>) {
                const RamPlace end{static_cast<std::uint32_t>(source.blocks.size()), 0};
                if (end_of_ram) expect_behind(end, end);
            } else if constexpr (std::is_same_v<T, qemu::DeviceState>) {
                source.tree = std::move(item.tree);
                state = State::translated;
            }
            return {};
        },
        event);
}

Result<void> CrossingToXen::Impl::accept_command(const qemu::CommandItem& item, std::uint64_t offset) {
    if (item.command == qemu::Command::open_return_path) return_path = true;
    if (item.command != qemu::Command::ping) return {};
    if (!return_path)
        return stream_error("qemu", "PING", "command", offset + 1, "a question without a way for the answer",
                            "OPEN_RETURN_PATH before it");
    constexpr std::uint16_t pong = 2;
    append_be(replies, pong);
    append_be(replies, static_cast<std::uint16_t>(item.payload.size()));
    append(replies, item.payload);
    return {};
}

// ---- pages ----

Result<void> CrossingToXen::Impl::accept_page(const qemu::RamPage& page, std::uint64_t offset,
                                              OutputBatch& out) {
    static constexpr std::array<std::byte, page_size> zeros{};
    auto place = map->place(page.block, page.offset);
    if (!place) {
        place.error().offset = offset;
        return std::unexpected(std::move(place).error());
    }
    const RamPlace here{page.block, page.offset};
    // Nothing in the stream marks the beginning of a round.
    if (counters.passes == 0 || here <= previous) ++counters.passes;
    previous = here;
    const bool first = here >= expected;
    if (first) {
        expect_behind(here, {page.block, page.offset + page_size});
        fill_gap(out);
    }

    const bool zero = page.data.empty();
    ++counters.pages;
    if (zero) ++counters.zero_pages;
    switch (place->fate) {
        case XenPagePlace::Fate::drop:
            ++counters.dropped_pages;
            count_drop(place->why);
            return {};
        case XenPagePlace::Fate::hold:
            ++counters.held_pages;
            return spill.store(place->slot, zero ? Bytes(zeros) : page.data);
        case XenPagePlace::Fate::firmware_area:
            // hvmloader's own pages hold something: an empty one is of the device that stood in for the area.
            if (!zero || !first) break;
            ++counters.dropped_pages;
            count_drop("the firmware's area, where it has put nothing");
            return {};
        case XenPagePlace::Fate::ram:
            if (first) ++counters.populated;
            break;
    }
    if (zero)
        pages.zero(out, place->gfn);
    else
        pages.page(out, place->gfn, page.data);
    return {};
}

void CrossingToXen::Impl::expect_behind(RamPlace place, RamPlace next) {
    gap = expected;
    gap_end = place;
    expected = next;
}

// A frame of the gap has never been sent, as all before `expected` had been and nothing behind it. So it does
// not matter whether its zeros come before or behind the page that told of the gap: they never hide anything.
void CrossingToXen::Impl::fill_gap(OutputBatch& out) {
    while (gap < gap_end) {
        const bool last_block = gap.block == gap_end.block;
        const auto ram = map->next_ram(gap.block, gap.offset);
        if (!ram || (last_block && ram->offset >= gap_end.offset)) {
            gap = last_block ? gap_end : RamPlace{gap.block + 1, 0};
            continue;
        }
        auto count = ram->pages;
        if (last_block) count = std::min(count, (gap_end.offset - ram->offset) / page_size);
        gap.offset = ram->offset;
        for (std::uint64_t i = 0; i < count; ++i) {
            if (pages.full(out, 2)) return;  // one page more may be at hand
            pages.zero(out, ram->gfn + i);
            gap.offset += page_size;
            ++frames_left_out;
        }
    }
}

void CrossingToXen::Impl::count_drop(const char* why) {
    for (auto& reason : dropped)
        if (reason.why == why) {
            ++reason.pages;
            return;
        }
    dropped.push_back({why, 1});
}

// ---- the interface ----

CrossingToXen::CrossingToXen(const Crossing::Limits& limits, AuditReport& audit, Translator translate)
    : impl_(std::make_unique<Impl>(limits, audit, std::move(translate))) {}
CrossingToXen::~CrossingToXen() = default;

CrossingToXen::State CrossingToXen::state() const {
    return impl_->state;
}
const QemuSource& CrossingToXen::source() const {
    return impl_->source;
}
const CrossingCounters& CrossingToXen::counters() const {
    return impl_->counters;
}
Error CrossingToXen::truncated(Bytes rest) const {
    return impl_->reader.truncated(rest);
}
bool CrossingToXen::return_path() const {
    return impl_->return_path;
}
Buffer CrossingToXen::take_replies() {
    return std::exchange(impl_->replies, {});
}
void CrossingToXen::set_limits(const Crossing::Limits& limits) {
    impl_->spill.use(limits.spill_directory, limits.spill_bytes);
}

Result<CrossingToXen::Progress> CrossingToXen::advance(Bytes in, OutputBatch& out) {
    return counting(out, impl_->counters.bytes_out, [&] { return impl_->advance(in, out); });
}

Result<void> CrossingToXen::set_destination(XenPlan plan, XenTemplate xen, OutputBatch& out) {
    return counting(out, impl_->counters.bytes_out,
                    [&] { return impl_->set_destination(std::move(plan), std::move(xen), out); });
}

Result<void> CrossingToXen::finish(std::uint64_t realtime_ns, OutputBatch& out) {
    return counting(out, impl_->counters.bytes_out, [&] { return impl_->finish(realtime_ns, out); });
}

}  // namespace vmferry
