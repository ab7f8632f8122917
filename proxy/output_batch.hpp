// What goes out next, as a list of pieces for writev: small heads copied into an arena, pages lent.
//
//     arena:   [head][head]…            input buffer:   …[page][page]…
//     pieces:  head · page · head · page · …            neighbours that touch become one piece
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <sys/uio.h>

#include "parsers/wire/bytes.hpp"

namespace vmferry {

/// Valid until the next clear(): the owner must have written all of it before he gives the lent bytes up.
/// Memory is bounded: a producer stops when full() and goes on after clear(); the arena is used again.
class OutputBatch {
  public:
    static constexpr std::size_t max_pieces = 1024;  ///< IOV_MAX of Linux
    static constexpr std::size_t max_copied = 512u
                                              << 10;  ///< bytes in the arena after which the batch is full

    OutputBatch();
    void clear();
    [[nodiscard]] const std::vector<iovec>& pieces() const { return pieces_; }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    [[nodiscard]] bool empty() const { return pieces_.empty(); }

    /// Appends bytes that are copied into the arena.
    void copy(Bytes bytes);
    /// Appends bytes that stay where they are.
    void lend(Bytes bytes);

    /// How many records of a copied head and a lent page surely fit before the batch is full.
    [[nodiscard]] std::size_t room() const;
    [[nodiscard]] bool full() const { return room() == 0; }

  private:
    static constexpr std::size_t chunk_size = 64u << 10;
    static constexpr std::size_t spare_pieces = 16;  ///< for section heads and ends, and where a chunk ends

    [[nodiscard]] std::byte* reserve(std::size_t size);
    void add(const std::byte* data, std::size_t size);

    std::vector<iovec> pieces_;
    std::vector<Buffer> chunks_;  ///< kept over clear()
    std::vector<Buffer> large_;   ///< copies that exceed a chunk; given back by clear()
    std::size_t chunk_ = 0;       ///< index of the chunk in use
    std::size_t used_ = 0;        ///< bytes of it
    std::size_t copied_ = 0;
    std::size_t bytes_ = 0;
};

/// What `action` returns; `total` grows by the bytes that it has appended to `out`.
template <typename Action>
auto counting(OutputBatch& out, std::uint64_t& total, Action&& action) {
    const auto before = out.bytes();
    auto result = std::forward<Action>(action)();
    total += out.bytes() - before;
    return result;
}

}  // namespace vmferry
