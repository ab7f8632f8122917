// PAGE_DATA, the record that carries memory, read as its parts arrive.
//
//     0   u32 type 1 · u32 length
//     8   u32 count C · u32 reserved 0
//     16  u64 pfn[C]       bits 51–0 frame number, 59–52 reserved 0, 63–60 type
//     …   the 4096 bytes of each entry whose type carries data, in the order of pfn[]
#pragma once

#include <cstdint>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/xen/record_header.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::xen {

/// The frame numbers that an x86 guest can have: 52 bits of physical address.
inline constexpr std::uint64_t max_gfn = (std::uint64_t{1} << 40) - 1;

class PageDataReader {
  public:
    static constexpr std::size_t head_size = 16;

    /// Size of the record up to its pages. Precondition: in.size() >= head_size, a PAGE_DATA header.
    /// Errors: count 0, above max_batch_entries or larger than the length allows.
    [[nodiscard]] static Result<std::size_t> list_end(Bytes in, std::uint64_t offset);

    /// Reads the list. Precondition: in.size() >= list_end(in).
    /// Errors: reserved bits or types, frame numbers above max_gfn, a length that does not fit the types.
    [[nodiscard]] Result<PageBatch> begin(Bytes in, std::uint64_t offset);

    /// Pages of the batch that have not been lent yet.
    [[nodiscard]] std::size_t left() const { return left_; }
    /// The entry whose page comes next. Precondition: left() > 0.
    [[nodiscard]] const PageEntry& next_entry() const { return entries_[at_]; }
    /// The whole pages at the beginning of `in`. Preconditions: left() > 0, in.size() >= page_size.
    [[nodiscard]] PageRun take(Bytes in);

  private:
    void skip_without_data();

    std::vector<PageEntry> entries_;
    std::size_t at_ = 0, left_ = 0;
    bool all_with_data_ = false;
};

}  // namespace vmferry::xen
