// SHA-256, for keys and checksums of what lies in a cache.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry {

class Sha256 {
  public:
    Sha256();
    ~Sha256();
    void add(Bytes bytes);
    /// Text with its length in front, so that ("ab", "c") and ("a", "bc") differ.
    void add_text(std::string_view text);
    /// The content of a file with its length in front.
    Result<void> add_file(const std::string& path);
    /// 64 hex digits. The object is spent.
    [[nodiscard]] std::string hex();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace vmferry
