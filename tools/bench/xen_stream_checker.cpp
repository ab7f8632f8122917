#include "tools/bench/xen_stream_checker.hpp"

#include <algorithm>
#include <type_traits>
#include <variant>

#include "parsers/xen/record_header.hpp"
#include "proxy/page_data_output.hpp"

namespace vmferry::bench {

Result<void> XenStreamChecker::take(Bytes bytes) {
    // In pieces, so that a zero page that is lent a thousand times is not a thousand pages here.
    constexpr std::size_t piece = 256u << 10;
    while (!bytes.empty()) {
        const auto n = std::min(bytes.size(), piece);
        std::memcpy(input_.space(input_.unread().size() + n).data(), bytes.data(), n);
        input_.arrived(n);
        bytes = bytes.subspan(n);
        while (true) {
            const auto view = input_.unread();
            VMFERRY_ASSIGN(const auto step, reader_.next(view));
            if (!step.event) break;
            VMFERRY_TRY(see(*step.event));
            const bool paged = std::holds_alternative<xen::PageBatch>(*step.event) ||
                               std::holds_alternative<xen::PageRun>(*step.event);
            if (!paged && step.consumed > 0)
                records_.emplace_back(view.begin(),
                                      view.begin() + static_cast<std::ptrdiff_t>(step.consumed));
            input_.consume(step.consumed);
            if (ended_) break;
        }
        if (ended_ && !bytes.empty())
            return stream_error("libxl", "END", "", reader_.offset(), "bytes behind it", "the end");
    }
    return {};
}

Result<void> XenStreamChecker::see(const xen::Record& record) {
    return std::visit(
        [&]<typename T>(const T& event) -> Result<void> {
            if constexpr (std::is_same_v<T, xen::XlHeader>) {
                config_ = event.config;
            } else if constexpr (std::is_same_v<T, xen::DomainHeader>) {
                domain_ = event;
            } else if constexpr (std::is_same_v<T, xen::PageBatch>) {
                return see_batch(event);
            } else if constexpr (std::is_same_v<T, xen::PageRun>) {
                see_run(event);
            } else if constexpr (std::is_same_v<T, xen::TscInfo>) {
                tsc_info_ = event;
            } else if constexpr (std::is_same_v<T, xen::HvmParams>) {
                params_ = event.params;
            } else if constexpr (std::is_same_v<T, xen::HvmContextRecord>) {
                context_.assign(event.blob.begin(), event.blob.end());
            } else if constexpr (std::is_same_v<T, xen::EmulatorContext>) {
                device_model_.assign(event.blob.begin(), event.blob.end());
            } else if constexpr (std::is_same_v<T, xen::LibxlEnd>) {
                ended_ = true;
            }
            return {};
        },
        record);
}

Result<void> XenStreamChecker::see_batch(const xen::PageBatch& batch) {
    const auto& entries = *batch.entries;
    ++batches_;
    longest_batch_ = std::max<std::uint64_t>(longest_batch_, entries.size());
    const auto wrong = [&](std::string found, std::string expected) {
        return stream_error("libxc", "PAGE_DATA", "pfn", reader_.offset(), std::move(found),
                            std::move(expected));
    };
    if (entries.size() > PageDataOutput::max_entries)
        return wrong(fmt::format("{} entries", entries.size()), "at most 1024");
    for (std::size_t i = 1; i < entries.size(); ++i)
        if (entries[i].gfn <= entries[i - 1].gfn)
            return wrong(fmt::format("{:#x} behind {:#x}", entries[i].gfn, entries[i - 1].gfn),
                         "frames upwards, each once");
    return {};
}

void XenStreamChecker::see_run(const xen::PageRun& run) {
    const auto count = run.pages.size() / page_size;
    pages_ += count;
    if (!seen_) return;
    for (std::size_t i = 0; i < count; ++i)
        seen_((*run.entries)[run.first + i].gfn, run.pages.subspan(i * page_size, page_size));
}

}  // namespace vmferry::bench
