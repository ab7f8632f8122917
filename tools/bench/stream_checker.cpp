#include "tools/bench/stream_checker.hpp"

#include <algorithm>
#include <utility>

namespace vmferry::bench {

namespace {

constexpr std::uint64_t zero_flag = 0x2, list_flag = 0x4, page_flag = 0x8, eos_flag = 0x10, same_flag = 0x20;
constexpr std::uint8_t start_type = 1, part_type = 2, end_type = 3, footer_type = 0x7E;
constexpr std::string_view ram_head{"\3ram\0\0\0\0\0\0\0\4", 12};  // name, instance 0, version 4
constexpr std::string_view ending{"\0\6\0\0\0\2{}", 8};

}  // namespace

std::unexpected<Error> StreamChecker::wrong(std::string_view record, std::string found,
                                            std::string expected) const {
    return stream_error("qemu", std::string(record), "", offset_, std::move(found), std::move(expected));
}

void StreamChecker::want(State state, std::size_t size) {
    state_ = state;
    wanted_ = size;
}

Result<void> StreamChecker::take(Bytes bytes) {
    while (!bytes.empty()) {
        if (state_ == State::devices) {
            const auto end = bytes.last(std::min(bytes.size(), ending.size()));
            append(last_, end);
            if (last_.size() > ending.size())
                last_.erase(last_.begin(), last_.end() - static_cast<std::ptrdiff_t>(ending.size()));
            offset_ += bytes.size();
            return {};
        }
        const auto n = std::min(bytes.size(), wanted_ - partial_.size());
        if (n < wanted_) append(partial_, bytes.first(n));
        if (partial_.empty() || partial_.size() == wanted_) {
            const auto size = wanted_;
            VMFERRY_TRY(step(partial_.empty() ? bytes.first(n) : Bytes(partial_)));
            partial_.clear();
            offset_ += size;
        }
        bytes = bytes.subspan(n);
    }
    return {};
}

Result<void> StreamChecker::finish() const {
    if (state_ != State::devices) return wrong("stream", "its end", "END of ram");
    if (as_text(last_) != ending) return wrong("EOF", "other bytes", "EOF and an empty description");
    return {};
}

Result<void> StreamChecker::step(Bytes bytes) {
    switch (state_) {
        case State::head:
            if (as_text(bytes) != std::string_view("QEVM\0\0\0\3", 8)) return wrong("head", "no", "QEVM 3");
            want(State::configuration, 5);
            return {};
        case State::configuration:
            if (bytes[0] != std::byte{7}) return wrong("CONFIGURATION", "another type", "7");
            want(State::machine, load_be<std::uint32_t>(bytes, 1));
            return {};
        case State::machine:
            want(State::section, 5);
            return {};
        case State::section:
            section_type_ = static_cast<std::uint8_t>(bytes[0]);
            section_id_ = load_be<std::uint32_t>(bytes, 1);
            if (section_type_ == start_type) {
                want(State::start_head, ram_head.size());
                return {};
            }
            if ((section_type_ != part_type && section_type_ != end_type) || section_id_ != ram_id_)
                return wrong("section", fmt::format("type {} id {}", section_type_, section_id_),
                             "PART or END of ram");
            if (section_type_ == part_type) ++parts_;
            in_part_ = 0;
            want(State::record, 8);
            return {};
        case State::start_head:
            if (as_text(bytes) != ram_head) return wrong("START", "another section", "ram");
            ram_id_ = section_id_;
            want(State::record, 8);
            return {};
        case State::record:
            return begin_record(load_be<std::uint64_t>(bytes));
        case State::list_length:
            want(State::list_entry, static_cast<std::size_t>(bytes[0]) + 8);
            return {};
        case State::list_entry: {
            const auto length = load_be<std::uint64_t>(bytes, bytes.size() - 8);
            blocks_.emplace(as_text(bytes.first(bytes.size() - 8)), length);
            listed_ += length;
            if (listed_ > total_) return wrong("block list", "more than the total", "the total");
            listed_ == total_ ? want(State::record, 8) : want(State::list_length, 1);
            return {};
        }
        case State::block_length:
            want(State::block, static_cast<std::size_t>(bytes[0]));
            return {};
        case State::block: {
            const auto found = blocks_.find(as_text(bytes));
            if (found == blocks_.end()) return wrong("page", std::string(as_text(bytes)), "a listed block");
            current_ = &*found;
            return place();
        }
        case State::fill:
            if (bytes[0] != std::byte{0}) return wrong("zero page", "another fill byte", "0");
            if (seen_) seen_(current_->first, word_ & ~0xFFFull, {});
            want(State::record, 8);
            return {};
        case State::page:
            if (seen_) seen_(current_->first, word_ & ~0xFFFull, bytes);
            want(State::record, 8);
            return {};
        case State::footer:
            if (bytes[0] != std::byte{footer_type} || load_be<std::uint32_t>(bytes, 1) != section_id_)
                return wrong("footer", "something else", fmt::format("footer of {}", section_id_));
            longest_part_ = std::max(longest_part_, in_part_);
            section_type_ == end_type ? want(State::devices, 0) : want(State::section, 5);
            return {};
        case State::devices:
            break;
    }
    return {};
}

Result<void> StreamChecker::begin_record(std::uint64_t word) {
    word_ = word;
    const auto flags = word & 0xFFF;
    if (flags == eos_flag) {
        want(State::footer, 5);
        return {};
    }
    if (flags == list_flag && section_type_ == start_type) {
        total_ = word & ~0xFFFull;
        want(State::list_length, 1);
        return {};
    }
    const auto kind = flags & ~same_flag;
    if (kind != zero_flag && kind != page_flag)
        return wrong("record", fmt::format("flags {:#x}", flags), "ZERO, PAGE or EOS");
    if ((flags & same_flag) == 0) {
        want(State::block_length, 1);
        return {};
    }
    if (current_ == nullptr) return wrong("record", "CONTINUE", "a block's name first");
    return place();
}

Result<void> StreamChecker::place() {
    const bool zero = (word_ & zero_flag) != 0;
    if ((word_ & ~0xFFFull) + page_size > current_->second)
        return wrong("page", fmt::format("offset {:#x}", word_ & ~0xFFFull), "an offset inside the block");
    ++pages_;
    ++in_part_;
    if (zero) ++zero_pages_;
    zero ? want(State::fill, 1) : want(State::page, page_size);
    return {};
}

}  // namespace vmferry::bench
