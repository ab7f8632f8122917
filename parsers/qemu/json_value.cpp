#include "parsers/qemu/json_value.hpp"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "parsers/qemu/format.hpp"

namespace vmferry::qemu {
namespace {

/// Builds the value from nlohmann's events, because its own value type drops duplicate keys, and to stop
/// before a hostile text has grown into something large.
class Builder {
  public:
    using number_integer_t = nlohmann::json::number_integer_t;
    using number_unsigned_t = nlohmann::json::number_unsigned_t;
    using number_float_t = nlohmann::json::number_float_t;
    using string_t = nlohmann::json::string_t;
    using binary_t = nlohmann::json::binary_t;

    bool null() { return add(JsonValue{}) != nullptr; }
    bool boolean(bool value) { return scalar(JsonValue::Kind::boolean, value ? 1 : 0); }
    bool number_integer(number_integer_t) { return scalar(JsonValue::Kind::other, 0); }
    bool number_unsigned(number_unsigned_t value) { return scalar(JsonValue::Kind::number, value); }
    bool number_float(number_float_t, const string_t&) { return scalar(JsonValue::Kind::other, 0); }
    bool binary(binary_t&) { return scalar(JsonValue::Kind::other, 0); }
    bool string(string_t& value) {
        if (value.size() > max_json_text) return stop("a string of more than 255 bytes");
        auto* added = add(JsonValue{});
        if (!added) return false;
        added->kind = JsonValue::Kind::text;
        added->text = std::move(value);
        return true;
    }
    bool key(string_t& value) {
        if (value.size() > max_json_text) return stop("a key of more than 255 bytes");
        key_ = std::move(value);
        return true;
    }
    bool start_object(std::size_t) { return open(JsonValue::Kind::object); }
    bool start_array(std::size_t) { return open(JsonValue::Kind::array); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
        position_ = position;
        return stop("no JSON");
    }

    Result<JsonValue> take(std::uint64_t offset) {
        if (!problem_.empty())
            return stream_error(std::string(format_name), "VMDESCRIPTION", "json", offset + position_,
                                std::string(problem_), "a description as QEMU writes it");
        return std::move(root_);
    }

  private:
    bool stop(std::string_view problem) {
        problem_ = problem;
        return false;
    }

    JsonValue* add(JsonValue value) {
        if (++values_ > max_json_values) {
            stop("more than 500000 values");
            return nullptr;
        }
        if (open_.empty()) {
            root_ = std::move(value);
            return &root_;
        }
        auto& owner = *open_.back();
        if (owner.kind == JsonValue::Kind::array) return &owner.items.emplace_back(std::move(value));
        return &owner.members.emplace_back(std::move(key_), std::move(value)).value;
    }

    bool scalar(JsonValue::Kind kind, std::uint64_t number) {
        auto* added = add(JsonValue{});
        if (!added) return false;
        added->kind = kind;
        added->number = number;
        return true;
    }

    bool open(JsonValue::Kind kind) {
        if (open_.size() == max_json_depth) return stop("more than 64 levels");
        auto* added = add(JsonValue{});
        if (!added) return false;
        added->kind = kind;
        // Only the innermost open value grows, so the pointers to the outer ones stay valid.
        open_.push_back(added);
        return true;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    JsonValue root_;
    std::vector<JsonValue*> open_;
    std::string key_;
    std::size_t values_ = 0;
    std::size_t position_ = 0;
    std::string_view problem_;
};

}  // namespace

const JsonValue* JsonValue::find(std::string_view key) const {
    const auto found =
        std::ranges::find_if(members, [key](const Member& member) { return member.key == key; });
    return found == members.end() ? nullptr : &found->value;
}

std::size_t JsonValue::count(std::string_view key) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(members, [key](const Member& member) { return member.key == key; }));
}

Result<JsonValue> parse_json(std::string_view text, std::uint64_t offset) {
    Builder builder;
    nlohmann::json::sax_parse(text, &builder);
    return builder.take(offset);
}

}  // namespace vmferry::qemu
