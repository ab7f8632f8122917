// The bytes that have arrived and are not consumed yet, for a pull parser that reads from a stream.
//
//     … consumed │ unread() │ space() …
//
// One buffer of a fixed size; it grows only when a parser needs a longer record in one piece (bounded by the
// parser's own limits) and shrinks back afterwards.
#pragma once

#include <cstddef>
#include <span>

#include "parsers/wire/bytes.hpp"

namespace vmferry {

class InputBuffer {
  public:
    explicit InputBuffer(std::size_t size = 1u << 20) : size_(size) {}

    [[nodiscard]] Bytes unread() const { return Bytes(data_).subspan(begin_, end_ - begin_); }
    void consume(std::size_t bytes) { begin_ += bytes; }

    /// Room behind unread() for at least as much as is missing to `need` unread bytes, and for `size` bytes
    /// in the ordinary case. Moves the unread rest: what was lent from it must have been written out.
    [[nodiscard]] std::span<std::byte> space(std::size_t need);
    /// The first `bytes` of space() have been filled.
    void arrived(std::size_t bytes) { end_ += bytes; }

  private:
    std::size_t size_;
    Buffer data_;
    std::size_t begin_ = 0, end_ = 0;
};

}  // namespace vmferry
