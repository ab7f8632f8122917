// A TOML file whose keys are known: each has an action that stores its value.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

#include "parsers/wire/error.hpp"

namespace vmferry::cli {

/// Errors (kind usage) name file, line and key: syntax, unknown key, wrong type.
class TomlReader {
  public:
    using Action = std::function<Result<void>(const toml::node&, std::string_view key)>;
    using Keys = std::map<std::string_view, Action>;

    explicit TomlReader(std::string path) : path_(std::move(path)) {}

    /// Reads the file and lets each key's action store its value.
    Result<void> read(const Keys& keys) const;

    // ---- actions ----
    /// A string, or a number where a number stands for itself.
    [[nodiscard]] Action text_into(std::string& target) const;
    [[nodiscard]] Action bytes_into(std::uint64_t& target) const;
    /// A string or an array of strings.
    [[nodiscard]] Action words_into(std::vector<std::string>& target) const;
    /// As text_into and words_into, but `set` stores each, with the place for its errors.
    using SetOne = std::function<Result<void>(std::string_view where, std::string_view value)>;
    [[nodiscard]] Action text(SetOne set) const;
    [[nodiscard]] Action words(SetOne set) const;
    /// A table of texts.
    using SetPair =
        std::function<Result<void>(std::string_view where, std::string_view key, std::string_view value)>;
    [[nodiscard]] Action pairs(SetPair set) const;

  private:
    [[nodiscard]] std::string where(const toml::node& node, std::string_view key) const;
    [[nodiscard]] Result<std::string> text_of(const toml::node& node, std::string_view key) const;
    [[nodiscard]] Result<std::vector<std::string>> words_of(const toml::node& node,
                                                            std::string_view key) const;

    std::string path_;
};

}  // namespace vmferry::cli
