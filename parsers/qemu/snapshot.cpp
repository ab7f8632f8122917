#include "parsers/qemu/snapshot.hpp"

#include <algorithm>

#include "parsers/qemu/format.hpp"

namespace vmferry::qemu {
namespace {

class Collector {
  public:
    Collector(Snapshot& out, std::size_t max_pages_bytes) : out_(out), left_(max_pages_bytes) {}

    Result<void> operator()(const FileHeader&) { return {}; }
    Result<void> operator()(const Configuration& configuration) {
        out_.machine = configuration.machine;
        out_.configuration_subsections.assign(configuration.subsections.begin(),
                                              configuration.subsections.end());
        return {};
    }
    Result<void> operator()(RamStart& start) {
        out_.blocks = std::move(start.blocks);
        return {};
    }
    Result<void> operator()(const RamPart&) { return {}; }
    Result<void> operator()(const RamTail&) { return {}; }
    Result<void> operator()(const CommandItem&) { return {}; }
    Result<void> operator()(const RamPage& page) {
        auto& pages = out_.pages[out_.blocks[page.block].idstr];
        const bool zero = std::ranges::all_of(page.data, [](std::byte byte) { return byte == std::byte{0}; });
        if (zero) {
            if (pages.erase(page.offset) != 0) left_ += page_size;
            return {};
        }
        auto& copy = pages[page.offset];
        if (copy.empty()) {
            if (left_ < page_size)
                return stream_error(std::string(format_name), "ram record", "pages", 0,
                                    "more pages with content than may be held", "a smaller machine");
            left_ -= page_size;
        }
        copy.assign(page.data.begin(), page.data.end());
        return {};
    }
    Result<void> operator()(DeviceState& state) {
        out_.tree = std::move(state.tree);
        out_.description = state.description;
        return {};
    }

  private:
    Snapshot& out_;
    std::size_t left_;
};

}  // namespace

Result<Snapshot> read_snapshot(Bytes stream, std::size_t max_pages_bytes) {
    Snapshot out;
    Collector collect(out, max_pages_bytes);
    StreamReader reader;
    while (true) {
        VMFERRY_ASSIGN(auto step, reader.next(stream));
        if (!step.event) {
            if (reader.finished()) return out;
            return std::unexpected(reader.truncated(stream));
        }
        VMFERRY_TRY(std::visit(collect, *step.event));
        stream = stream.subspan(step.consumed);
    }
}

}  // namespace vmferry::qemu
