// The ram section on its way out: page records over lent pages, cut into PARTs.
//
//     PART head · [page head · page]… · EOS, footer · PART head · …
//
// A PART ends after 4096 pages (16 MiB): QEMU takes any length, a reader that holds a section at a time (a
// recorder, a proxy) should not have to hold more. Within a PART a record names its block only when it
// changes. A zero page is always sent, as nine bytes: to leave it out one would have to know which frames
// the destination already holds, and a bitmap for that would grow with the guest. (QEMU looks before it
// clears a page, so that an untouched page stays unallocated.)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parsers/qemu/stream_writer.hpp"
#include "proxy/output_batch.hpp"

namespace vmferry {

class RamOutput {
  public:
    static constexpr unsigned pages_per_part = 4096;

    /// `name` must be the same object for the same block (it is compared by address) and outlive the use.
    /// The page is lent to `out`.
    void page(OutputBatch& out, const std::string& name, std::uint64_t offset, Bytes page);
    /// The same for a page that does not live long enough: copied.
    void page_copy(OutputBatch& out, const std::string& name, std::uint64_t offset, Bytes page);
    void zero(OutputBatch& out, const std::string& name, std::uint64_t offset);
    /// Closes the PART, if one is open, and writes the END section.
    void end(OutputBatch& out);

  private:
    void open(OutputBatch& out);
    void close(OutputBatch& out);
    [[nodiscard]] std::string_view mention(const std::string& name);

    Buffer head_;  ///< scratch
    const std::string* block_ = nullptr;
    unsigned pages_ = 0;
    bool open_ = false;
};

}  // namespace vmferry
