#include "parsers/qemu/description_search.hpp"

#include <algorithm>

#include "parsers/qemu/described_state.hpp"
#include "parsers/qemu/format.hpp"
#include "parsers/qemu/stream_reader.hpp"

namespace vmferry::qemu {
namespace {

constexpr std::size_t head_size = 1 + 1 + 4;  // EOF, type, length
constexpr std::string_view opening = "{\"";   // QEMU's first key follows without a space
constexpr std::size_t max_candidates =
    64;  // a guest can put fakes into its devices, but not make us try for ever

}  // namespace

Result<std::optional<DescriptionSearch::Found>> DescriptionSearch::next(Bytes in, std::uint64_t offset) {
    const auto text = as_text(in);
    constexpr std::string_view mark("\x00\x06", 2);
    while (true) {
        const auto eof = text.find(mark, scanned_);
        if (eof == std::string_view::npos) {
            scanned_ = std::max(scanned_, in.empty() ? 0 : in.size() - 1);  // a mark may be cut in two
            break;
        }
        if (in.size() < eof + head_size + opening.size()) {
            scanned_ = eof;
            break;
        }
        scanned_ = eof + 1;
        const auto length = load_be<std::uint32_t>(in, eof + 2);
        if (length > max_description || !text.substr(eof + head_size).starts_with(opening)) continue;
        if (++attempts_ > max_candidates)
            return stream_error(
                std::string(format_name), "VMDESCRIPTION", "json", offset + eof,
                fmt::format("more than {} places that look like a description", max_candidates), "one");
        pending_.push_back(eof);
    }
    for (auto candidate = pending_.begin(); candidate != pending_.end();) {
        if (in.size() < *candidate + head_size + load_be<std::uint32_t>(in, *candidate + 2)) {
            ++candidate;
            continue;
        }
        VMFERRY_ASSIGN(auto found, attempt(in, offset, *candidate));
        if (found) return found;
        candidate = pending_.erase(candidate);
    }
    // What is held is bounded by what the state and one description may have.
    if (pending_.empty() ? in.size() > max_device_state : in.size() > max_device_state + max_description)
        return stream_error(std::string(format_name), "device state", "size", offset,
                            fmt::format("{} bytes without a description", in.size()),
                            fmt::format("at most {}", max_device_state));
    return std::nullopt;
}

Result<std::optional<DescriptionSearch::Found>> DescriptionSearch::attempt(Bytes in, std::uint64_t offset,
                                                                           std::size_t eof) {
    const auto start = eof + head_size;
    const auto json = as_text(in.subspan(start, load_be<std::uint32_t>(in, eof + 2)));
    auto tree = decode_device_state(in.first(eof), offset, json, offset + start);
    if (!tree) {
        why_not_ = std::move(tree).error();
        return std::nullopt;
    }
    return Found{start + json.size(), std::move(*tree), in.first(eof), json};
}

Error DescriptionSearch::missing(Bytes in, std::uint64_t offset) const {
    if (why_not_) return *why_not_;
    const auto error = [&](std::string record, std::size_t at, std::string found, std::string expected) {
        return stream_error(std::string(format_name), std::move(record), "", offset + at, std::move(found),
                            std::move(expected))
            .error();
    };
    if (!pending_.empty())
        return error("VMDESCRIPTION", pending_.front(),
                     fmt::format("the end of the stream after {} bytes of JSON",
                                 in.size() - pending_.front() - head_size),
                     fmt::format("{} bytes", load_be<std::uint32_t>(in, pending_.front() + 2)));
    auto none = error("VMDESCRIPTION", in.size(), "the end of the stream", "EOF and a description");
    none.hint = "if the source sends no description, start it with -machine suppress-vmdesc=off";
    return none;
}

}  // namespace vmferry::qemu
