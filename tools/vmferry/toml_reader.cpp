#include "tools/vmferry/toml_reader.hpp"

#include <fmt/format.h>

namespace vmferry::cli {

namespace {

std::unexpected<Error> usage(const std::string& where, std::string found, std::string expected) {
    return std::unexpected(Error{ErrorKind::usage, where, {}, {}, 0, std::move(found), std::move(expected)});
}

}  // namespace

Result<void> TomlReader::read(const Keys& keys) const {
    toml::table root;
    try {
        root = toml::parse_file(path_);
    } catch (const toml::parse_error& error) {
        const auto line = error.source().begin.line;
        return usage(line > 0 ? fmt::format("{}:{}", path_, line) : path_, std::string(error.description()),
                     {});
    }
    for (const auto& [key, node] : root) {
        const auto known = keys.find(key.str());
        if (known == keys.end()) {
            std::string all;
            for (const auto& [name, unused] : keys) all += (all.empty() ? "" : ", ") + std::string(name);
            return usage(where(node, {}), fmt::format("unknown key '{}'", key.str()), "one of: " + all);
        }
        VMFERRY_TRY(known->second(node, key.str()));
    }
    return {};
}

std::string TomlReader::where(const toml::node& node, std::string_view key) const {
    return fmt::format("{}:{}{}{}", path_, node.source().begin.line, key.empty() ? "" : ": ", key);
}

Result<std::string> TomlReader::text_of(const toml::node& node, std::string_view key) const {
    if (const auto* string = node.as_string()) return string->get();
    if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
    return usage(where(node, key), "a value of another type", "a string");
}

Result<std::vector<std::string>> TomlReader::words_of(const toml::node& node, std::string_view key) const {
    std::vector<std::string> read;
    if (const auto* array = node.as_array()) {
        for (const auto& element : *array) {
            VMFERRY_ASSIGN(read.emplace_back(), text_of(element, key));
        }
    } else {
        VMFERRY_ASSIGN(read.emplace_back(), text_of(node, key));
    }
    return read;
}

TomlReader::Action TomlReader::text_into(std::string& target) const {
    return [this, &target](const toml::node& node, std::string_view key) -> Result<void> {
        VMFERRY_ASSIGN(target, text_of(node, key));
        return {};
    };
}

TomlReader::Action TomlReader::bytes_into(std::uint64_t& target) const {
    return [this, &target](const toml::node& node, std::string_view key) -> Result<void> {
        const auto* integer = node.as_integer();
        if (integer == nullptr || integer->get() < 0)
            return usage(where(node, key), "another type", "a number of bytes");
        target = static_cast<std::uint64_t>(integer->get());
        return {};
    };
}

TomlReader::Action TomlReader::words_into(std::vector<std::string>& target) const {
    return [this, &target](const toml::node& node, std::string_view key) -> Result<void> {
        VMFERRY_ASSIGN(target, words_of(node, key));
        return {};
    };
}

TomlReader::Action TomlReader::text(SetOne set) const {
    return [this, set = std::move(set)](const toml::node& node, std::string_view key) -> Result<void> {
        VMFERRY_ASSIGN(const auto value, text_of(node, key));
        return set(where(node, key), value);
    };
}

TomlReader::Action TomlReader::words(SetOne set) const {
    return [this, set = std::move(set)](const toml::node& node, std::string_view key) -> Result<void> {
        VMFERRY_ASSIGN(const auto values, words_of(node, key));
        for (const auto& value : values) VMFERRY_TRY(set(where(node, key), value));
        return {};
    };
}

TomlReader::Action TomlReader::pairs(SetPair set) const {
    return [this, set = std::move(set)](const toml::node& node, std::string_view key) -> Result<void> {
        const auto* table = node.as_table();
        if (table == nullptr)
            return usage(where(node, key), "a single value", fmt::format("a table [{}]", key));
        for (const auto& [name, value] : *table) {
            const auto place = fmt::format("{}.{}", key, name.str());
            VMFERRY_ASSIGN(const auto written, text_of(value, place));
            VMFERRY_TRY(set(where(value, place), name.str(), written));
        }
        return {};
    };
}

}  // namespace vmferry::cli
