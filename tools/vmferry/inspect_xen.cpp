// `vmferry inspect` of what `xl migrate` or `xl save` writes.
#include <optional>
#include <string>
#include <variant>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/xen/describe.hpp"
#include "parsers/xen/handshake.hpp"
#include "parsers/xen/hvm_context.hpp"
#include "tools/vmferry/describe_json.hpp"
#include "tools/vmferry/inspect.hpp"
#include "tools/vmferry/page_totals.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::uint64_t record_header = 8;    // type and length, both layers
constexpr std::uint64_t emulator_header = 8;  // id and index before the blob
constexpr std::uint64_t page_head = 8;        // count and reserved, before the pfn list

/// Lists the records of one stream. Errors inside a record's body (HVM context, device model) do not end the
/// listing: the framing around them is sound. The first one becomes the result.
class XenListing {
  public:
    explicit XenListing(Listing& listing) : listing_(listing) {}

    /// `offset`, `length`: of the bytes that were consumed for this record.
    void add(const xen::Record& record, std::uint64_t offset, std::uint64_t length) {
        if (const auto* run = std::get_if<xen::PageRun>(&record)) return pages_.run(run->pages);
        if (std::holds_alternative<xen::StreamEnd>(record)) return;
        if (const auto* batch = std::get_if<xen::PageBatch>(&record)) return add_batch(*batch, offset);

        auto description = xen::describe(record);
        auto fields = to_json(description.fields, !listing_.json());
        std::string config;
        if (const auto* header = std::get_if<xen::XlHeader>(&record))
            config = take_config(header->config, fields);
        listing_.entry(0, offset, length, fmt::format("{} {}", description.layer, description.name), fields);
        listing_.text(0, config);

        if (const auto* context = std::get_if<xen::HvmContextRecord>(&record))
            add_context(context->blob, offset + record_header);
        if (const auto* context = std::get_if<xen::EmulatorContext>(&record))
            add_device_model(context->blob, offset + record_header + emulator_header);
    }

    void add_error(const Error& error) {
        listing_.entry(0, error.offset, 0, "error", {{"text", error.text()}});
        if (!first_error_) first_error_ = error;
    }
    [[nodiscard]] const std::optional<Error>& first_error() const { return first_error_; }
    [[nodiscard]] const PageTotals& pages() const { return pages_; }

  private:
    void add_batch(const xen::PageBatch& batch, std::uint64_t offset) {
        std::uint64_t data = 0;
        for (const auto& page : *batch.entries) data += page.has_data() ? 1 : 0;
        listing_.entry(
            0, offset,
            record_header + page_head + batch.entries->size() * sizeof(std::uint64_t) + data * page_size,
            "libxc PAGE_DATA", pages_.batch(*batch.entries));
    }

    /// The configuration as an object for JSON, indented text for people.
    [[nodiscard]] std::string take_config(const std::string& text, Json& fields) const {
        auto config = Json::parse(text, nullptr, false);
        if (config.is_discarded()) config = text;  // the JSON writer escapes what a terminal would obey
        if (listing_.json()) {
            fields["config"] = std::move(config);
            return {};
        }
        fields["config"] = fmt::format("{} bytes", text.size());
        return config.dump(2, ' ', true, Json::error_handler_t::replace);
    }

    void add_context(Bytes blob, std::uint64_t offset) {
        const auto context = xen::read_hvm_context(blob, offset);
        if (!context) return add_error(context.error());
        for (const auto& record : *context) {
            const auto description = xen::describe(record);
            Json fields{{"instance", record.instance}};
            fields.update(to_json(description.fields, !listing_.json()));
            listing_.entry(1, record.offset, record.length, description.name, fields);
        }
    }

    void add_device_model(Bytes blob, std::uint64_t offset) {
        const auto tree = qemu::read_device_model(blob, offset);
        if (!tree) return add_error(tree.error());
        show_device_model(listing_, 1, *tree, offset + blob.size());
    }

    Listing& listing_;
    PageTotals pages_;
    std::optional<Error> first_error_;
};

/// What follows libxl's END: nothing in a save file, xl's permission in a recorded migration.
Result<void> inspect_tail(InputWindow& input, std::uint64_t offset, Listing& listing) {
    VMFERRY_TRY(input.fill(xen::go.size() + 1));
    const auto tail = as_text(input.unread());
    if (tail.empty()) return {};
    if (tail == xen::go) {
        listing.entry(0, offset, tail.size(), "xl go", {{"text", tail.substr(0, tail.size() - 1)}});
        return {};
    }
    return stream_error(
        "xl", "handshake", {}, offset,
        fmt::format("{} bytes{}", tail.size(), tail.size() > xen::go.size() ? " or more" : ""),
        "the end of the file, or xl's 44-byte permission");
}

Result<void> read_records(InputWindow& input, xen::StreamReader& reader, XenListing& records,
                          Listing& listing) {
    while (true) {
        const auto offset = reader.offset();
        VMFERRY_ASSIGN(auto step, reader.next(input.unread()));
        if (!step.event) {
            VMFERRY_ASSIGN(const bool enough, input.fill(step.need));
            if (!enough) return std::unexpected(reader.truncated(input.unread().size()));
            continue;
        }
        records.add(*step.event, offset, step.consumed);
        input.consume(step.consumed);
        if (std::holds_alternative<xen::StreamEnd>(*step.event))
            return inspect_tail(input, reader.offset(), listing);
    }
}

}  // namespace

Result<void> inspect_xen(InputWindow& input, xen::StreamReader::Start start, Listing& listing,
                         Json& summary) {
    xen::StreamReader reader(start);
    XenListing records(listing);
    const auto result = read_records(input, reader, records, listing);
    if (!result) records.add_error(result.error());
    summary["bytes"] = reader.offset();
    summary["pages"] = records.pages().totals();
    if (records.first_error()) return std::unexpected(*records.first_error());
    return {};
}

}  // namespace vmferry::cli
