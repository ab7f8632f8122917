// `vmferry inspect` of QEMU's own migration stream. Pages are summed up for each PART of the ram section.
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/qemu/stream_reader.hpp"
#include "parsers/xen/stream_reader.hpp"
#include "tools/vmferry/inspect.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

struct PageCount {
    std::uint64_t normal = 0, zero = 0;
};

class QemuListing {
  public:
    explicit QemuListing(Listing& listing) : listing_(listing) {}

    /// `offset`, `length`: of the bytes that were consumed for this event.
    void add(const qemu::Event& event, std::uint64_t offset, std::uint64_t length) {
        offset_ = offset;
        length_ = length;
        std::visit([this](const auto& body) { show(body); }, event);
    }

    /// The stream broke off: what of a PART had come.
    void end() {
        if (part_open_) close_part(offset_ + length_, true);
    }

    [[nodiscard]] Json totals() const {
        Json blocks = Json::object();
        for (std::size_t index = 0; index < blocks_.size(); ++index) {
            const auto& count = all_.at(index);
            blocks[blocks_.at(index).idstr] = {{"bytes", blocks_.at(index).used_length},
                                               {"pages_with_data", count.normal},
                                               {"zero_pages", count.zero}};
        }
        return {{"parts", parts_}, {"blocks", std::move(blocks)}};
    }

  private:
    void show(const qemu::FileHeader&) {
        listing_.entry(0, offset_, length_, "header", {{"version", qemu::file_version}});
    }
    void show(const qemu::Configuration& configuration) {
        Json fields{{"machine", configuration.machine}};
        if (!configuration.subsections.empty()) fields["subsection_bytes"] = configuration.subsections.size();
        listing_.entry(0, offset_, length_, "CONFIGURATION", fields);
    }
    void show(const qemu::RamStart& start) {
        blocks_ = start.blocks;
        part_.assign(blocks_.size(), {});
        all_.assign(blocks_.size(), {});
        auto blocks = Json::array();
        for (const auto& block : blocks_)
            blocks.push_back({{"idstr", block.idstr}, {"bytes", block.used_length}});
        listing_.entry(0, offset_, length_, "START ram",
                       {{"section_id", start.section_id}, {"blocks", blocks}});
    }
    void show(const qemu::RamPart& part) {
        part_open_ = true;
        part_end_ = part.end;
        part_begin_ = offset_;
        part_.assign(blocks_.size(), {});
    }
    void show(const qemu::RamPage& page) {
        auto& count = page.data.empty() ? part_.at(page.block).zero : part_.at(page.block).normal;
        ++count;
    }
    void show(const qemu::RamTail&) {
        if (part_open_) close_part(offset_ + length_, false);
    }
    void show(const qemu::CommandItem& item) {
        listing_.entry(
            0, offset_, length_, "COMMAND",
            {{"command", std::to_underlying(item.command)}, {"payload_bytes", item.payload.size()}});
    }
    void show(const qemu::DeviceState& state) {
        for (const auto& section : state.tree.sections) show_section(listing_, 0, section);
        const auto after = offset_ + state.raw.size();
        listing_.entry(0, after, 1, "EOF", Json::object());
        listing_.entry(0, after + 1, length_ - state.raw.size() - 1, "VMDESCRIPTION",
                       {{"json_bytes", state.description.size()}});
    }

    void close_part(std::uint64_t end, bool cut) {
        part_open_ = false;
        ++parts_;
        Json blocks = Json::object();
        for (std::size_t index = 0; index < part_.size(); ++index) {
            const auto& count = part_.at(index);
            if (count.normal + count.zero == 0) continue;
            blocks[blocks_.at(index).idstr] = {{"pages_with_data", count.normal}, {"zero_pages", count.zero}};
            all_.at(index).normal += count.normal;
            all_.at(index).zero += count.zero;
        }
        Json fields = Json::object();
        if (cut) fields["cut"] = true;
        if (!blocks.empty()) fields["blocks"] = std::move(blocks);
        listing_.entry(0, part_begin_, end - part_begin_, part_end_ ? "END ram" : "PART ram", fields);
    }

    Listing& listing_;
    std::uint64_t offset_ = 0, length_ = 0;
    std::vector<qemu::RamBlock> blocks_;
    std::vector<PageCount> part_, all_;  // by block
    bool part_open_ = false, part_end_ = false;
    std::uint64_t part_begin_ = 0, parts_ = 0;
};

Result<void> read_events(InputWindow& input, qemu::StreamReader& reader, QemuListing& events) {
    while (true) {
        const auto offset = reader.offset();
        VMFERRY_ASSIGN(auto step, reader.next(input.unread()));
        if (step.event) {
            events.add(*step.event, offset, step.consumed);
            input.consume(step.consumed);
            continue;
        }
        VMFERRY_ASSIGN(const bool enough, input.fill(step.need));
        if (!enough) {
            if (reader.finished() && input.unread().empty()) return {};
            return std::unexpected(reader.truncated(input.unread()));
        }
    }
}

constexpr std::size_t file_header = 8;  // magic and version

/// What `xen-save-devices-state` writes, and what Xen's streams contain: device sections right behind the
/// header.
Result<bool> is_device_model(InputWindow& input) {
    VMFERRY_TRY(input.fill(file_header + 1));
    return input.unread().size() > file_header &&
           input.unread()[file_header] == static_cast<std::byte>(qemu::ItemType::section_full);
}

Result<void> inspect_device_model(InputWindow& input, Listing& listing, Json& summary) {
    // The first byte more than the limit is asked for, to know that there is none.
    VMFERRY_ASSIGN(const bool more, input.fill(xen::max_emulator_context + 1));
    if (more)
        return stream_error("qemu", "device model", "length", 0, "more than 64 MiB",
                            fmt::format("at most {} bytes", xen::max_emulator_context));
    summary["bytes"] = input.unread().size();
    VMFERRY_ASSIGN(const auto tree, qemu::read_device_model(input.unread(), 0));
    show_device_model(listing, 0, tree, input.unread().size());
    return {};
}

Result<void> inspect_stream(InputWindow& input, Listing& listing, Json& summary) {
    qemu::StreamReader reader;
    QemuListing events(listing);
    const auto result = read_events(input, reader, events);
    events.end();
    summary["bytes"] = reader.offset();
    summary["pages"] = events.totals();
    return result;
}

}  // namespace

Result<void> inspect_qemu(InputWindow& input, Listing& listing, Json& summary) {
    VMFERRY_ASSIGN(const bool device_model, is_device_model(input));
    auto result = device_model ? inspect_device_model(input, listing, summary)
                               : inspect_stream(input, listing, summary);
    if (!result) listing.entry(0, result.error().offset, 0, "error", {{"text", result.error().text()}});
    return result;
}

}  // namespace vmferry::cli
