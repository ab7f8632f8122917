// One guest's way from Xen's bytes to QEMU's bytes, without I/O: the page path and the order of things.
//
//     Xen bytes → StreamReader → pages: MemoryMap → RAM records (pages lent from the input)
//                              → records: XenSource → translate_to_qemu → device sections
//
//     header ──► wants_destination ──► pages ──► translated ──► done
//        config, CPU policy     set_destination   libxl's END    finish
//
// The caller owns all buffers and sockets; a page is never copied on its way (except held ones, to the spill
// file). What is written for the destination, in this order: head, block list, the twin's ROM blocks, pages
// as they come, (from finish) held pages, ram END, device sections, EOF. A frame that comes again is sent
// again, also after VERIFY: the last copy wins, as in Xen's own receiver.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/output_batch.hpp"
#include "translators/audit.hpp"
#include "translators/plan.hpp"
#include "translators/xen_source.hpp"

namespace vmferry {

struct CrossingCounters {
    std::uint64_t bytes_in = 0, bytes_out = 0;
    std::uint64_t pages = 0;          ///< entries with or without data that give a frame content
    std::uint64_t zero_pages = 0;     ///< of these, all zero: sent as nine bytes
    std::uint64_t held_pages = 0;     ///< of these, kept until the device records (each copy counts)
    std::uint64_t dropped_pages = 0;  ///< of these, without a counterpart in the destination
    std::uint64_t populated = 0;      ///< frames that the first pass gave content, of those in plain RAM
    unsigned passes = 0;              ///< times that the frame numbers started again
};

class Crossing {
  public:
    enum class State { header, wants_destination, pages, translated, done };

    struct Limits {
        std::uint64_t spill_bytes = 1u << 30;  ///< held pages, on disk, unlinked
        std::string spill_directory = "/var/tmp";
    };
    /// `audit` must outlive the crossing; what the page path finds is reported there.
    Crossing(const Limits& limits, AuditReport& audit);
    ~Crossing();
    Crossing(const Crossing&) = delete;
    Crossing& operator=(const Crossing&) = delete;

    [[nodiscard]] State state() const;
    [[nodiscard]] const XenSource& source() const;
    [[nodiscard]] const CrossingCounters& counters() const;

    /// Consumes what it can of `in` (from the first unread byte) and adds QEMU's bytes to `out`. Returns the
    /// number of bytes consumed and the least total of unread bytes that brings it further (0 = it stopped
    /// because `out` is full, or because the state wants something of the caller). `out` lends from `in`.
    /// In the states wants_destination, translated and done it consumes nothing.
    struct Progress {
        std::size_t consumed = 0, need = 0;
    };
    [[nodiscard]] Result<Progress> advance(Bytes in, OutputBatch& out);

    /// In state wants_destination: the limits that hold for this guest, instead of the constructor's.
    void set_limits(const Limits& limits);
    /// In state wants_destination (configuration and CPU policy are known): fixes the destination, writes the
    /// head. Error of kind environment if the twin's RAM blocks are not those of the plan.
    Result<void> set_destination(Plan plan, qemu::Snapshot twin, OutputBatch& out);

    /// In state translated (libxl's END read): device state is translated and audited; held pages, the reset
    /// stub, ram END, device sections, EOF and description go out in as many calls as it takes (with `out`
    /// written and cleared in between); state is then done. Error of kind refused if the audit refuses:
    /// nothing that would complete a load has been written by then.
    Result<void> finish(std::uint64_t realtime_ns, OutputBatch& out);

    /// The input ended: the error that names what is missing.
    [[nodiscard]] Error truncated(std::size_t have) const;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry
