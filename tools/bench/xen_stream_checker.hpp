// Reads the stream for a Xen host as it is written, keeps nothing of its pages, and says whether it is one
// that Xen takes: order and framing (the stream reader's), no record longer than Xen's own sender makes them,
// no frame twice in one record.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/xen/stream_reader.hpp"
#include "proxy/input_buffer.hpp"

namespace vmferry::bench {

class XenStreamChecker {
  public:
    /// Called for each page; its 4096 bytes are valid during the call.
    using PageSeen = std::function<void(std::uint64_t gfn, Bytes page)>;
    explicit XenStreamChecker(PageSeen seen = {}) : seen_(std::move(seen)) {}

    Result<void> take(Bytes bytes);
    /// libxl's END has come, and nothing behind it.
    [[nodiscard]] bool complete() const { return ended_ && input_.unread().empty(); }

    [[nodiscard]] std::uint64_t pages() const { return pages_; }
    [[nodiscard]] std::uint64_t batches() const { return batches_; }
    [[nodiscard]] std::uint64_t longest_batch() const { return longest_batch_; }  ///< entries
    /// The records that are not pages, in the order in which they came, each as its bytes.
    [[nodiscard]] const std::vector<Buffer>& records() const { return records_; }
    /// What the stream says of the domain, its blobs still undecoded.
    [[nodiscard]] const std::string& config() const { return config_; }
    [[nodiscard]] const xen::DomainHeader& domain() const { return domain_; }
    [[nodiscard]] const xen::TscInfo& tsc_info() const { return tsc_info_; }
    [[nodiscard]] const std::vector<xen::HvmParam>& params() const { return params_; }
    [[nodiscard]] const Buffer& context() const { return context_; }
    [[nodiscard]] const Buffer& device_model() const { return device_model_; }

  private:
    Result<void> see(const xen::Record& record);
    Result<void> see_batch(const xen::PageBatch& batch);
    void see_run(const xen::PageRun& run);

    PageSeen seen_;
    xen::StreamReader reader_;
    InputBuffer input_;
    bool ended_ = false;
    std::uint64_t pages_ = 0, batches_ = 0, longest_batch_ = 0;
    std::vector<Buffer> records_;
    std::string config_;
    xen::DomainHeader domain_;
    xen::TscInfo tsc_info_;
    std::vector<xen::HvmParam> params_;
    Buffer context_, device_model_;
};

}  // namespace vmferry::bench
