// The inside of Crossing, shared by its two halves: what comes in (crossing.cpp) and how it ends
// (crossing_finish.cpp).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "parsers/xen/stream_reader.hpp"
#include "proxy/collect_source.hpp"
#include "proxy/crossing.hpp"
#include "proxy/ram_output.hpp"
#include "proxy/spill_file.hpp"
#include "translators/memory_map.hpp"
#include "translators/reset_stub.hpp"
#include "translators/to_qemu.hpp"

namespace vmferry {

class Crossing::Impl {
  public:
    Impl(const Limits& limits, AuditReport& report)
        : spill(limits.spill_directory, limits.spill_bytes), audit(report) {}

    Result<Progress> advance(Bytes in, OutputBatch& out);
    Result<void> set_destination(Plan plan, qemu::Snapshot twin, OutputBatch& out);
    Result<void> finish(std::uint64_t realtime_ns, OutputBatch& out);

    State state = State::header;
    CollectedXen collected;
    CrossingCounters counters;
    xen::StreamReader reader;
    SpillFile spill;

  private:
    // ---- crossing.cpp: records and pages ----
    Result<void> accept(const xen::Record& record, Bytes view, std::uint64_t offset, OutputBatch& out);
    Result<void> accept_run(const xen::PageRun& run, OutputBatch& out);
    Result<void> accept_end();
    void begin_batch(const std::vector<xen::PageEntry>& entries);
    /// Handles entries without data up to the next one with data, as far as `out` has room.
    Result<void> skip_dataless(OutputBatch& out);
    Result<void> dataless(const xen::PageEntry& entry, OutputBatch& out);
    /// `page` empty: all zero, and not from the input.
    Result<void> give(std::uint64_t gfn, Bytes page, OutputBatch& out);
    [[nodiscard]] bool in_plain_ram(std::uint64_t gfn) const;
    void count_drop(const char* why);
    [[nodiscard]] Error in_page_data(Error error, std::uint64_t gfn) const;
    void send_roms(OutputBatch& out);

    // ---- crossing_finish.cpp ----
    Result<void> translate(std::uint64_t realtime_ns);
    Result<void> plan_reset_stub();
    void report_pages();
    Result<void> send_held(OutputBatch& out);
    Result<void> send_held_page(std::uint64_t gfn, OutputBatch& out);
    void send_devices(OutputBatch& out);

    enum class Ending { translate, held, ram_end, devices };

    AuditReport& audit;

    // The destination, once it is known.
    Plan plan;
    qemu::Snapshot twin;
    std::optional<MemoryMap> map;
    RamOutput ram;
    /// ROM pages of the twin that are still to be sent; their pages stay in `twin`.
    struct RomPage {
        const std::string* block;
        std::uint64_t offset;
        Bytes page;
    };
    std::vector<RomPage> roms;
    std::size_t roms_sent = 0;

    // The batch that is being read; the list is the reader's.
    const std::vector<xen::PageEntry>* entries = nullptr;
    std::uint64_t batch_offset = 0;  ///< of their PAGE_DATA in the stream
    std::size_t cursor = 0;          ///< first entry not handled
    std::size_t pages_awaited = 0;   ///< entries with data that have not come
    std::uint64_t previous_gfn = 0;  ///< first frame of the batch before

    struct Dropped {
        const char* why;
        std::uint64_t pages;
    };
    std::vector<Dropped> dropped;
    std::uint64_t ram_holes = 0;  ///< frames of plain RAM that the first pass named as absent
    bool hole_reported = false;

    // The ending.
    Ending ending = Ending::translate;
    QemuImage image;
    std::vector<PagePatch> patches;
    std::uint64_t held_next = 0;
    std::size_t section_next = 0;
};

}  // namespace vmferry
