// PAGE_DATA records on their way to Xen: QEMU sends page by page, Xen wants the list of a record first.
//
//     from QEMU:  [head][page][head][page] …         pages wait, lent, until the record is closed
//     to Xen:     [record head, list of frames] · page · page · …
//
// A record is closed when it is full, when a frame number does not go upwards (so that no frame stands twice
// in one record), and before a superpage that it would not hold whole: Xen from 4.21 on allocates 2 MiB at
// once where all 512 frames of it stand in one record. Whoever gives the lent pages up must have called
// flush().
//
// Xen's stream has no page of zeros ("allocate only" entries are not promised to read as zeros), so zeros are
// sent in full, out of one static area. It is as long as many pages, as lent neighbours become one piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/xen/records.hpp"
#include "proxy/output_batch.hpp"

namespace vmferry {

class PageDataOutput {
  public:
    static constexpr std::size_t max_entries = 1024;  ///< as Xen's own sender

    PageDataOutput();

    /// No room for so many more pages in what goes out next, or at a superpage that would not fit whole.
    [[nodiscard]] bool full(const OutputBatch& out, std::size_t pages = 1) const;

    // Precondition: there was room when full() was asked last, counting all pages since.
    void page(OutputBatch& out, std::uint64_t gfn, Bytes page);  ///< lent
    void zero(OutputBatch& out, std::uint64_t gfn);
    /// For a page that does not live long enough: copied.
    void page_copy(OutputBatch& out, std::uint64_t gfn, Bytes page);
    /// Closes the record, if one is open.
    void flush(OutputBatch& out);

  private:
    void begin(OutputBatch& out, std::uint64_t gfn);
    void add(std::uint64_t gfn, const std::byte* page, bool copied);

    struct Page {
        const std::byte* data;
        bool copied;  ///< in copies_
    };
    std::vector<xen::PageEntry> entries_;
    std::vector<Page> pages_;  ///< of the entries
    std::size_t pieces_ = 0;   ///< that the pages will be
    Buffer copies_;            ///< empty until the first copy, then of a fixed size
    std::size_t copied_ = 0;   ///< bytes of it in use
    Buffer head_;              ///< scratch
};

}  // namespace vmferry
