// One guest's way from QEMU's bytes to Xen's bytes, without I/O: the page path and the order of things.
//
//     QEMU bytes → StreamReader → pages: XenMemoryMap → PAGE_DATA (pages lent from the input)
//                               → sections: QemuSource → translate_to_xen → HVM_CONTEXT, EMULATOR_CONTEXT, …
//
//     header ──► wants_destination ──► pages ──► translated ──► done
//        machine, RAM blocks    set_destination   description    finish
//
// The caller owns all buffers and sockets; a page is never copied on its way (except held ones, to the spill
// file). Memory does not grow with the guest. A PAGE_DATA record ends where the input ends: with some MiB of
// it at a time Xen gets records that hold whole superpages.
//
// Written for the destination, in this order: xl header with the configuration, libxl and libxc headers,
// CPUID and MSR policy, pages as they come, (from finish) held pages, special pages, X86_TSC_INFO,
// HVM_CONTEXT, HVM_PARAMS, END, the device model's blob, libxl's END.
//
// Every frame of plain RAM is given a content: QEMU's first round goes through each block upwards, and where
// it leaves a page out (free page hints) zeros are sent; pages come again in any order, the last copy wins.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/crossing.hpp"
#include "proxy/output_batch.hpp"
#include "translators/audit.hpp"
#include "translators/qemu_source.hpp"
#include "translators/to_xen.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

class CrossingToXen {
  public:
    enum class State { header, wants_destination, pages, translated, done };

    /// Makes Xen's records from what is not a page; tests of the page path have one of their own.
    using Translator =
        std::function<Result<XenImage>(const QemuSource& source, const XenPlan& plan, const XenTemplate& xen,
                                       std::uint64_t realtime_ns, AuditReport& audit)>;
    /// `audit` must outlive the crossing.
    CrossingToXen(const Crossing::Limits& limits, AuditReport& audit,
                  Translator translate = translate_to_xen);
    ~CrossingToXen();
    CrossingToXen(const CrossingToXen&) = delete;
    CrossingToXen& operator=(const CrossingToXen&) = delete;

    [[nodiscard]] State state() const;
    [[nodiscard]] const QemuSource& source() const;
    [[nodiscard]] const CrossingCounters& counters() const;

    /// As Crossing::advance. After the description has been read (states translated and done) any further
    /// byte of the source is an error.
    using Progress = Crossing::Progress;
    [[nodiscard]] Result<Progress> advance(Bytes in, OutputBatch& out);

    /// The source opened a return path.
    [[nodiscard]] bool return_path() const;
    /// What is to be written to the return path now (PONGs); empty most of the time. Clears it.
    [[nodiscard]] Buffer take_replies();

    void set_limits(const Crossing::Limits& limits);
    /// In state wants_destination (machine type and RAM blocks are known): fixes the domain, writes the head
    /// (xl header with the configuration … STATIC_DATA_END). Error of kind environment if the stream's RAM
    /// blocks are not those of the plan, of kind refused if there are others that may hold guest memory.
    Result<void> set_destination(XenPlan plan, XenTemplate xen, OutputBatch& out);

    /// In state translated: device state is translated and audited; held pages, special pages, the records
    /// behind them, the device model's blob and libxl's END go out in as many calls as it takes. State is
    /// then done. Error of kind refused if the audit refuses: nothing that would complete a load has been
    /// written by then.
    Result<void> finish(std::uint64_t realtime_ns, OutputBatch& out);

    /// The input ended: the error that names what is missing.
    [[nodiscard]] Error truncated(Bytes rest) const;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry
