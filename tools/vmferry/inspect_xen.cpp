// `vmferry inspect` of what `xl migrate` or `xl save` writes.
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/xen/handshake.hpp"
#include "parsers/xen/hvm_context.hpp"
#include "tools/vmferry/inspect.hpp"
#include "tools/vmferry/page_totals.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

constexpr std::uint64_t record_header = 8;     // type and length, both layers
constexpr std::uint64_t emulator_header = 8;   // id and index before the blob
constexpr std::uint64_t page_head = 8;         // count and reserved, before the pfn list

Json hex(std::uint64_t value) {
    return fmt::format("{:#x}", value);
}

/// Lists the records of one stream. Errors inside a record's body (HVM context, device model) do not end the
/// listing: the framing around them is sound. The first one becomes the result.
class XenListing {
  public:
    XenListing(Listing& listing, PageTotals& pages) : listing_(listing), pages_(pages) {}

    void record(const xen::Record& record, std::uint64_t offset, std::uint64_t consumed) {
        offset_ = offset;
        length_ = consumed;
        std::visit([this](const auto& body) { show(body); }, record);
    }
    [[nodiscard]] std::optional<Error>& first_error() { return first_error_; }

  private:
    void entry(std::string_view name, const Json& fields) { listing_.entry(0, offset_, length_, name, fields); }

    void nested_error(const Error& error) {
        listing_.entry(1, error.offset, 0, "error", {{"text", error.text()}});
        if (!first_error_) first_error_ = error;
    }

    void show(const xen::XlHeader& header) {
        Json fields{{"mandatory_flags", hex(header.mandatory_flags)}, {"optional_flags", hex(header.optional_flags)}};
        auto config = Json::parse(header.config, nullptr, false);
        const bool parsed = !config.is_discarded();
        if (listing_.json()) fields["config"] = parsed ? std::move(config) : Json(header.config);
        else fields["config_bytes"] = header.config.size();
        entry("xl header", fields);
        if (listing_.json()) return;
        // Through the JSON writer either way: it escapes what a terminal would obey.
        listing_.text(0, parsed ? config.dump(2, ' ', true, Json::error_handler_t::replace)
                                : Json(header.config).dump(-1, ' ', true, Json::error_handler_t::replace));
    }
    void show(const xen::LibxlHeader& header) {
        entry("libxl header", {{"version", header.version}, {"options", hex(header.options)}});
    }
    void show(const xen::LibxcContext&) { entry("LIBXC_CONTEXT", Json::object()); }
    void show(const xen::EmulatorXenstoreData& data) {
        Json fields{{"emulator", data.emulator}, {"index", data.index}};
        for (const auto& [key, value] : data.entries) fields[key] = value;
        entry("EMULATOR_XENSTORE_DATA", fields);
    }
    void show(const xen::EmulatorContext& context) {
        entry("EMULATOR_CONTEXT",
              {{"emulator", context.emulator}, {"index", context.index}, {"blob_bytes", context.blob.size()}});
        auto tree = qemu::read_device_model(context.blob, offset_ + record_header + emulator_header);
        if (!tree) return nested_error(tree.error());
        for (const auto& section : tree->sections) show_section(listing_, 1, section);
    }
    void show(const xen::LibxlEnd&) { entry("END (libxl)", Json::object()); }
    void show(const xen::ImageHeader& header) {
        entry("libxc image header", {{"version", header.version}, {"options", hex(header.options)}});
    }
    void show(const xen::DomainHeader& header) {
        entry("domain header", {{"type", header.type},
                                {"page_shift", header.page_shift},
                                {"xen", fmt::format("{}.{}", header.xen_major, header.xen_minor)}});
    }
    void show(const xen::CpuidPolicyRecord& policy) {
        entry("X86_CPUID_POLICY", {{"leaves", policy.leaves.size()}});
        std::uint64_t at = offset_ + record_header;
        constexpr std::uint64_t size = 24;
        for (const auto& leaf : policy.leaves) {
            Json fields{{"leaf", hex(leaf.leaf)}};
            if (leaf.subleaf != xen::CpuidLeaf::no_subleaf) fields["subleaf"] = hex(leaf.subleaf);
            fields.update({{"eax", hex(leaf.eax)}, {"ebx", hex(leaf.ebx)}, {"ecx", hex(leaf.ecx)}, {"edx", hex(leaf.edx)}});
            listing_.entry(1, std::exchange(at, at + size), size, "leaf", fields);
        }
    }
    void show(const xen::MsrPolicyRecord& policy) {
        entry("X86_MSR_POLICY", {{"entries", policy.entries.size()}});
        std::uint64_t at = offset_ + record_header;
        constexpr std::uint64_t size = 16;
        for (const auto& msr : policy.entries)
            listing_.entry(1, std::exchange(at, at + size), size, "msr",
                           {{"index", hex(msr.index)}, {"value", hex(msr.value)}});
    }
    void show(const xen::StaticDataEnd&) { entry("STATIC_DATA_END", Json::object()); }
    void show(const xen::PageBatch& batch) {
        const auto fields = pages_.batch(*batch.entries);
        std::uint64_t data = 0;
        for (const auto& page : *batch.entries) data += page.has_data() ? 1 : 0;
        length_ = record_header + page_head + batch.entries->size() * sizeof(std::uint64_t) + data * page_size;
        entry("PAGE_DATA", fields);
    }
    void show(const xen::PageRun& run) { pages_.run(run.pages); }
    void show(const xen::TscInfo& tsc) {
        entry("X86_TSC_INFO",
              {{"mode", tsc.mode}, {"khz", tsc.khz}, {"nsec", tsc.nsec}, {"incarnation", tsc.incarnation}});
    }
    void show(const xen::HvmContextRecord& record) {
        entry("HVM_CONTEXT", {{"blob_bytes", record.blob.size()}});
        auto context = xen::read_hvm_context(record.blob, offset_ + record_header);
        if (!context) return nested_error(context.error());
        for (const auto& body : *context) show_hvm_record(listing_, 1, body);
    }
    void show(const xen::HvmParams& record) {
        entry("HVM_PARAMS", {{"count", record.params.size()}});
        std::uint64_t at = offset_ + record_header + 8;
        constexpr std::uint64_t size = 16;
        for (const auto& param : record.params)
            listing_.entry(1, std::exchange(at, at + size), size, "param",
                           {{"index", param.index}, {"value", hex(param.value)}});
    }
    void show(const xen::Verify&) { entry("VERIFY", Json::object()); }
    void show(const xen::SkippedOptional& record) {
        entry("unknown, optional", {{"type", hex(record.type)}, {"body_bytes", record.length}});
    }
    void show(const xen::LibxcEnd&) { entry("END (libxc)", Json::object()); }
    void show(const xen::StreamEnd&) {}

    Listing& listing_;
    PageTotals& pages_;
    std::uint64_t offset_ = 0, length_ = 0;
    std::optional<Error> first_error_;
};

/// What follows libxl's END: nothing in a save file, xl's permission in a recorded migration.
Result<void> inspect_tail(InputWindow& input, std::uint64_t offset, Listing& listing) {
    VMFERRY_TRY(input.fill(1));
    if (input.unread().empty()) return {};
    VMFERRY_TRY(input.fill(xen::go.size() + 1));
    const auto tail = as_text(input.unread());
    if (tail == xen::go) {
        listing.entry(0, offset, tail.size(), "xl: go", {{"text", tail.substr(0, tail.size() - 1)}});
        return {};
    }
    return stream_error("xl", "handshake", {}, offset, fmt::format("{} or more bytes", tail.size()),
                        "the end of the file, or xl's 44-byte permission");
}

}  // namespace

Result<void> inspect_xen(InputWindow& input, xen::StreamReader::Start start, Listing& listing, Json& summary) {
    xen::StreamReader reader(start);
    PageTotals pages;
    XenListing xen_listing(listing, pages);
    std::uint64_t offset = 0;

    const auto read = [&]() -> Result<void> {
        while (true) {
            VMFERRY_ASSIGN(auto step, reader.next(input.unread()));
            if (!step.event) {
                VMFERRY_ASSIGN(const bool enough, input.fill(step.need));
                if (!enough) {
                    // A reader that can use less than it asked for gets its chance through the next call only
                    // if something arrived since; here nothing will.
                    return std::unexpected(reader.truncated(input.unread().size()));
                }
                continue;
            }
            xen_listing.record(*step.event, offset, step.consumed);
            const bool end = std::holds_alternative<xen::StreamEnd>(*step.event);
            input.consume(step.consumed);
            offset += step.consumed;
            if (end) return inspect_tail(input, offset, listing);
        }
    };
    auto result = read();
    summary["bytes"] = offset;
    summary["pages"] = pages.totals();
    if (xen_listing.first_error()) return std::unexpected(*xen_listing.first_error());
    return result;
}

}  // namespace vmferry::cli
