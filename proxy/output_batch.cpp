#include "proxy/output_batch.hpp"

namespace vmferry {

OutputBatch::OutputBatch() {
    pieces_.reserve(max_pieces);
    chunks_.emplace_back(chunk_size);
}

void OutputBatch::clear() {
    pieces_.clear();
    large_.clear();
    chunk_ = used_ = copied_ = bytes_ = 0;
}

std::byte* OutputBatch::reserve(std::size_t size) {
    if (size > chunk_size) return large_.emplace_back(size).data();
    if (used_ + size > chunk_size) {
        if (++chunk_ == chunks_.size()) chunks_.emplace_back(chunk_size);
        used_ = 0;
    }
    auto* at = chunks_[chunk_].data() + used_;
    used_ += size;
    return at;
}

void OutputBatch::add(const std::byte* data, std::size_t size) {
    bytes_ += size;
    if (!pieces_.empty()) {
        auto& last = pieces_.back();
        if (static_cast<const std::byte*>(last.iov_base) + last.iov_len == data) {
            last.iov_len += size;
            return;
        }
    }
    // iovec serves reading and writing alike and knows no const; these pieces are only ever written out.
    pieces_.push_back({const_cast<std::byte*>(data), size});
}

void OutputBatch::copy(Bytes bytes) {
    if (bytes.empty()) return;
    auto* at = reserve(bytes.size());
    std::memcpy(at, bytes.data(), bytes.size());
    copied_ += bytes.size();
    add(at, bytes.size());
}

void OutputBatch::lend(Bytes bytes) {
    if (!bytes.empty()) add(bytes.data(), bytes.size());
}

std::size_t OutputBatch::room() const {
    if (copied_ >= max_copied || pieces_.size() + spare_pieces >= max_pieces) return 0;
    return (max_pieces - spare_pieces - pieces_.size() + 1) / 2;
}

}  // namespace vmferry
