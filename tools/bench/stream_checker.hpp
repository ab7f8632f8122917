// Reads QEMU's stream as it is written, keeps nothing of it, and says whether it is framed right: an
// independent reader of its own, so that the page path is not judged by its own parser.
//
//     head · CONFIGURATION · START ram · PART ram … · END ram · (device sections, not looked into) · end
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry::bench {

class StreamChecker {
  public:
    /// Called for each page record; `page` is empty for a zero page, else 4096 bytes valid during the call.
    using PageSeen = std::function<void(std::string_view block, std::uint64_t offset, Bytes page)>;
    explicit StreamChecker(PageSeen seen = {}) : seen_(std::move(seen)) {}

    Result<void> take(Bytes bytes);
    /// The stream ended: it must have ended with EOF and a description, at the end of a section.
    [[nodiscard]] Result<void> finish() const;
    /// True when END of ram has been read (device sections follow).
    [[nodiscard]] bool ram_ended() const { return state_ == State::devices; }

    [[nodiscard]] const std::map<std::string, std::uint64_t, std::less<>>& blocks() const { return blocks_; }
    [[nodiscard]] std::uint64_t pages() const { return pages_; }
    [[nodiscard]] std::uint64_t zero_pages() const { return zero_pages_; }
    [[nodiscard]] std::uint64_t parts() const { return parts_; }
    [[nodiscard]] std::uint64_t longest_part() const { return longest_part_; }  ///< pages

  private:
    enum class State {
        head,
        configuration,
        machine,
        section,
        start_head,
        record,
        list_length,
        list_entry,
        block_length,
        block,
        fill,
        page,
        footer,
        devices,
    };
    /// `bytes` are exactly as many as wanted_.
    Result<void> step(Bytes bytes);
    Result<void> begin_record(std::uint64_t word);
    Result<void> place();
    void want(State state, std::size_t size);
    [[nodiscard]] std::unexpected<Error> wrong(std::string_view record, std::string found,
                                               std::string expected) const;

    PageSeen seen_;
    State state_ = State::head;
    std::size_t wanted_ = 8;
    Buffer partial_;  ///< a field that is cut by the end of a piece
    std::uint64_t offset_ = 0;

    std::uint8_t section_type_ = 0;
    std::uint32_t section_id_ = 0, ram_id_ = 0;
    std::uint64_t word_ = 0, listed_ = 0, total_ = 0;
    std::map<std::string, std::uint64_t, std::less<>> blocks_;
    std::string listing_;
    const std::pair<const std::string, std::uint64_t>* current_ = nullptr;
    std::uint64_t pages_ = 0, zero_pages_ = 0, parts_ = 0, in_part_ = 0, longest_part_ = 0;
    Buffer last_;  ///< last 8 bytes of the device part
};

}  // namespace vmferry::bench
