// A recorded stream as the sliding window that a pull parser reads from.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/input_buffer.hpp"
#include "proxy/input_file.hpp"

namespace vmferry::cli {

class InputWindow {
  public:
    [[nodiscard]] static Result<InputWindow> open(const std::string& path);

    /// Valid until the next fill() or consume().
    [[nodiscard]] Bytes unread() const { return buffer_.unread(); }
    /// Reads until unread() holds `need` bytes; false: the file ends before that.
    [[nodiscard]] Result<bool> fill(std::size_t need);
    void consume(std::size_t bytes) { buffer_.consume(bytes); }

    [[nodiscard]] const InputFile& file() const { return file_; }

  private:
    explicit InputWindow(InputFile file) : file_(std::move(file)) {}

    InputFile file_;
    InputBuffer buffer_;
};

}  // namespace vmferry::cli
