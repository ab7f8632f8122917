// A private directory that goes away with its owner.
#pragma once

#include <filesystem>
#include <string>

#include "parsers/wire/error.hpp"

namespace vmferry {

class TemporaryDirectory {
  public:
    /// A fresh directory with mode 0700 under $TMPDIR or /tmp.
    [[nodiscard]] static Result<TemporaryDirectory> create();
    TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::move(other.path_)) {
        other.path_.clear();
    }
    TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
    ~TemporaryDirectory();

    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

}  // namespace vmferry
