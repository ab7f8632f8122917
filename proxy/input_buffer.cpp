#include "proxy/input_buffer.hpp"

#include <algorithm>

namespace vmferry {

std::span<std::byte> InputBuffer::space(std::size_t need) {
    const auto rest = unread();
    // Room for one page that was cut at the end of the last read: so each read can be a full one.
    const auto wanted = std::max(need, size_ + page_size);
    if (data_.size() < wanted || (data_.size() > wanted && rest.size() <= page_size)) {
        // A record that is held until its end (QEMU's device state) asks for a little more each time: the
        // room grows by half of it, or it would be copied with every read.
        Buffer larger(std::max(wanted == need ? need + need / 2 : wanted, rest.size()));
        if (!rest.empty()) std::memcpy(larger.data(), rest.data(), rest.size());
        data_ = std::move(larger);
    } else if (begin_ > 0) {
        std::memmove(data_.data(), rest.data(), rest.size());
    }
    end_ = rest.size();
    begin_ = 0;
    return std::span(data_).subspan(end_);
}

}  // namespace vmferry
