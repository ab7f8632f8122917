// Pages that must wait for the device records, on disk: an unlinked file, one slot per guest frame.
//
//     file offset = gfn × 4096 (sparse)            present: one bit per frame below 4 GiB (128 KiB)
//
// Only frames of the MMIO hole wait (video RAM, the firmware area) and the few that get a patch; all of them
// lie below 4 GiB, so that no index is needed and a second copy of a frame replaces the first one in place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry {

class SpillFile {
  public:
    static constexpr std::uint64_t frames = 1u << 20;  ///< frames below 4 GiB

    /// Nothing is created before the first page. `max_bytes` bounds the pages that wait at the same time.
    SpillFile(std::string directory, std::uint64_t max_bytes);
    ~SpillFile();
    /// Another directory and limit. Precondition: nothing is stored yet.
    void use(std::string directory, std::uint64_t max_bytes);
    SpillFile(const SpillFile&) = delete;
    SpillFile& operator=(const SpillFile&) = delete;

    /// Keeps a copy, in place of an older one of the same frame. Precondition: gfn < frames.
    /// Errors (kind environment): no file can be made in the directory, disk full, more than max_bytes.
    Result<void> store(std::uint64_t gfn, Bytes page);
    /// Reads a stored page. Precondition: contains(gfn), `into` has page_size bytes.
    Result<void> load(std::uint64_t gfn, std::span<std::byte> into) const;

    [[nodiscard]] bool contains(std::uint64_t gfn) const;
    /// The first stored frame ≥ gfn.
    [[nodiscard]] std::optional<std::uint64_t> next(std::uint64_t gfn) const;
    [[nodiscard]] std::uint64_t size() const { return count_; }  ///< frames stored

  private:
    Result<void> create();

    std::string directory_;
    std::uint64_t max_pages_ = 0;
    int fd_ = -1;
    std::uint64_t count_ = 0;
    std::vector<std::uint64_t> present_;  ///< empty until the first page
};

}  // namespace vmferry
