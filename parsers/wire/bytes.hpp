// Integers in and out of byte spans, and the growing buffer that writers fill.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmferry {

using Bytes = std::span<const std::byte>;
using Buffer = std::vector<std::byte>;

inline constexpr std::size_t page_size = 4096;

static_assert(std::endian::native == std::endian::little, "vmferry runs on x86 hosts");

template <std::integral T>
[[nodiscard]] constexpr T byte_swap(T value) {
    return std::byteswap(value);
}

/// Precondition of all loads: `at + sizeof(T) <= bytes.size()`.
template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] T load_raw(Bytes bytes, std::size_t at = 0) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    return value;
}
template <std::integral T>
[[nodiscard]] T load_le(Bytes bytes, std::size_t at = 0) {
    return load_raw<T>(bytes, at);
}
template <std::integral T>
[[nodiscard]] T load_be(Bytes bytes, std::size_t at = 0) {
    return byte_swap(load_raw<T>(bytes, at));
}

template <typename T>
requires std::is_trivially_copyable_v<T>
void append_raw(Buffer& out, const T& value) {
    const auto at = out.size();
    out.resize(at + sizeof(T));
    std::memcpy(out.data() + at, &value, sizeof(T));
}
template <std::integral T>
void append_le(Buffer& out, T value) {
    append_raw(out, value);
}
template <std::integral T>
void append_be(Buffer& out, T value) {
    append_raw(out, byte_swap(value));
}
inline void append(Buffer& out, Bytes bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
}
inline void append(Buffer& out, std::string_view text) {
    append(out, std::as_bytes(std::span(text.data(), text.size())));
}

[[nodiscard]] inline std::string_view as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline Bytes as_bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace vmferry
