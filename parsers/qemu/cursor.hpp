// Walks over bytes that may not all have arrived.
#pragma once

#include <cstddef>
#include <cstdint>

#include "parsers/wire/bytes.hpp"

namespace vmferry::qemu {

/// Ask has() before taking; if it says no, need() is the size of `in` that it would have taken.
class Cursor {
  public:
    Cursor(Bytes in, std::size_t at) : in_(in), at_(at), need_(at) {}

    [[nodiscard]] bool has(std::size_t bytes) {
        need_ = at_ + bytes;
        return need_ <= in_.size();
    }
    [[nodiscard]] std::size_t need() const { return need_; }
    [[nodiscard]] std::size_t at() const { return at_; }

    Bytes take(std::size_t bytes) {
        const auto taken = in_.subspan(at_, bytes);
        at_ += bytes;
        return taken;
    }
    std::uint8_t u8() { return std::to_integer<std::uint8_t>(take(1)[0]); }
    std::uint16_t be16() { return load_be<std::uint16_t>(take(2)); }
    std::uint32_t be32() { return load_be<std::uint32_t>(take(4)); }
    std::uint64_t be64() { return load_be<std::uint64_t>(take(8)); }

  private:
    Bytes in_;
    std::size_t at_;
    std::size_t need_;
};

}  // namespace vmferry::qemu
