// A recorded stream on disk, plain or compressed by zstd, read from front to back with bounded memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry {

/// What the first bytes (of what is unpacked) say; the rest may still be wrong.
enum class StreamFormat {
    unknown,
    xen_xl,     ///< `xl save`, or what `xl migrate` sends: xl header, config, libxl stream
    xen_libxl,  ///< a libxl stream without xl header
    xen_libxc,  ///< a libxc stream alone
    qemu,       ///< a migration stream of QEMU
};
[[nodiscard]] const char* stream_format_name(StreamFormat format);
/// 24 bytes decide; fewer give `unknown`, unless they are enough for the format.
[[nodiscard]] StreamFormat stream_format_of(Bytes head);

class InputFile {
  public:
    /// `path` "-" is standard input. Error (kind environment): it cannot be opened or read.
    [[nodiscard]] static Result<InputFile> open(const std::string& path);
    ~InputFile();
    InputFile(InputFile&&) noexcept;
    InputFile& operator=(InputFile&&) noexcept;

    /// At least one byte, or 0 at the end. Errors: kind environment for reading, kind stream for a broken or
    /// truncated zstd frame.
    [[nodiscard]] Result<std::size_t> read(std::span<std::byte> into);

    [[nodiscard]] StreamFormat format() const;
    [[nodiscard]] bool compressed() const;
    /// Bytes of the file itself: how many there are (0 if unknown) and how many have been read.
    [[nodiscard]] std::uint64_t file_size() const;
    [[nodiscard]] std::uint64_t file_position() const;

  private:
    struct State;
    explicit InputFile(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace vmferry
