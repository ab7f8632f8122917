// One guest's way from Xen's bytes to QEMU's bytes, without I/O: the page path and the order of things.
//
//     Xen bytes → StreamReader → pages: MemoryMap → RAM records (pages lent from the input)
//                              → records: XenSource → translate_to_qemu → device sections
//
//     header → (wants_destination) → pages … → END → (finish) → done
//
// The caller owns all buffers and sockets; a page is never copied on its way (except held ones, to the spill
// file).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <sys/uio.h>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "translators/audit.hpp"
#include "translators/plan.hpp"
#include "translators/xen_source.hpp"

namespace vmferry {

/// A piece list for writev: heads live in an arena of the batch, pages point into the input of advance().
/// Valid until the next clear(); the caller must have written all of it before it gives the input bytes up.
class OutputBatch {
  public:
    static constexpr std::size_t max_pieces = 1024;  ///< IOV_MAX; advance() stops before it is exceeded
    void clear();
    [[nodiscard]] const std::vector<iovec>& pieces() const { return pieces_; }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    /// Appends a head (copied into the arena) or lent bytes.
    void copy(Bytes bytes);
    void lend(Bytes bytes);

  private:
    std::vector<iovec> pieces_;
    std::vector<Buffer> arena_;
    std::size_t arena_used_ = 0, bytes_ = 0;
};

struct CrossingCounters {
    std::uint64_t bytes_in = 0, bytes_out = 0;
    std::uint64_t pages = 0, zero_pages = 0, held_pages = 0, dropped_pages = 0;
    std::uint64_t populated = 0;  ///< distinct frames so far
    unsigned passes = 0;          ///< times that the frame numbers started again
};

class Crossing {
  public:
    enum class State { header, wants_destination, pages, translated, done };

    struct Limits {
        std::uint64_t spill_bytes = 1u << 30;  ///< held pages, on disk, unlinked
        std::string spill_directory = "/var/tmp";
    };
    Crossing(Limits limits, AuditReport& audit);
    ~Crossing();

    [[nodiscard]] State state() const;
    [[nodiscard]] const XenSource& source() const;
    [[nodiscard]] const CrossingCounters& counters() const;

    /// Consumes what it can of `in` (from the first unread byte) and adds QEMU's bytes to `out`. Returns the
    /// number of bytes consumed and how many are needed at least to go on (0 = it stopped because `out` is
    /// full, or because the state wants something of the caller).
    struct Progress {
        std::size_t consumed = 0, need = 0;
    };
    [[nodiscard]] Result<Progress> advance(Bytes in, OutputBatch& out);

    /// In state wants_destination (configuration and CPU policy are known): fixes the destination, writes the
    /// head.
    Result<void> set_destination(Plan plan, qemu::Snapshot twin, OutputBatch& out);

    /// In state translated (libxl's END read): device state is translated and audited; held pages, the reset
    /// stub, ram END, device sections, EOF and description go out in as many calls as it takes; state is then
    /// done. Error of kind refused if the audit refuses: nothing that would complete a load has been written
    /// by then.
    Result<void> finish(std::uint64_t realtime_ns, OutputBatch& out);

    /// The input ended: the error that names what is missing.
    [[nodiscard]] Error truncated(std::size_t have) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry
