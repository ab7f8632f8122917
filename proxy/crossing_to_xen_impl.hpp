// The inside of CrossingToXen, shared by its two halves: what comes in (crossing_to_xen.cpp) and how it ends
// (crossing_to_xen_finish.cpp).
#pragma once

#include <compare>
#include <optional>
#include <vector>

#include "parsers/qemu/stream_reader.hpp"
#include "proxy/crossing_to_xen.hpp"
#include "proxy/page_data_output.hpp"
#include "proxy/spill_file.hpp"
#include "translators/to_xen.hpp"
#include "translators/xen_memory_map.hpp"

namespace vmferry {

class CrossingToXen::Impl {
  public:
    Impl(const Crossing::Limits& limits, AuditReport& report, Translator translator)
        : spill(limits.spill_directory, limits.spill_bytes),
          audit(report),
          translate_source(std::move(translator)) {}

    Result<Progress> advance(Bytes in, OutputBatch& out);
    Result<void> set_destination(XenPlan plan, XenTemplate xen, OutputBatch& out);
    Result<void> finish(std::uint64_t realtime_ns, OutputBatch& out);

    State state = State::header;
    QemuSource source;
    CrossingCounters counters;
    qemu::StreamReader reader;
    SpillFile spill;
    bool return_path = false;
    Buffer replies;

  private:
    /// A place in the list of RAM blocks, in the order in which QEMU's first round goes through them.
    struct RamPlace {
        std::uint32_t block = 0;
        std::uint64_t offset = 0;
        auto operator<=>(const RamPlace&) const = default;
    };

    // ---- crossing_to_xen.cpp: commands and pages ----
    /// `offset`: of the event's first byte in the stream.
    Result<void> accept(qemu::Event& event, std::uint64_t offset, OutputBatch& out);
    Result<void> accept_command(const qemu::CommandItem& item, std::uint64_t offset);
    Result<void> accept_page(const qemu::RamPage& page, std::uint64_t offset, OutputBatch& out);
    /// All up to `place` has come or is given zeros now.
    void expect_behind(RamPlace place, RamPlace next);
    /// Zeros for what the first round left out, as far as there is room.
    void fill_gap(OutputBatch& out);
    void count_drop(const char* why);

    // ---- crossing_to_xen_finish.cpp ----
    Result<void> translate(std::uint64_t realtime_ns);
    Result<void> send_held(OutputBatch& out);
    void send_special(OutputBatch& out);
    void send_records(OutputBatch& out);
    void report_pages();

    enum class Ending { translate, held, special, records };

    AuditReport& audit;
    Translator translate_source;

    // The destination, once it is known.
    XenPlan plan;
    XenTemplate xen;
    std::optional<XenMemoryMap> map;
    PageDataOutput pages;

    // The first round: all before `expected` has been given content.
    bool end_of_ram = false;  ///< the section END has begun
    RamPlace expected, previous;
    RamPlace gap, gap_end;              ///< still to be given zeros; equal: nothing
    std::uint64_t frames_left_out = 0;  ///< by the source, zeros in the destination

    struct Dropped {
        const char* why;
        std::uint64_t pages;
    };
    std::vector<Dropped> dropped;

    // The ending.
    Ending ending = Ending::translate;
    XenImage image;
    std::uint64_t slot_next = 0;
    std::size_t special_next = 0;
};

}  // namespace vmferry
