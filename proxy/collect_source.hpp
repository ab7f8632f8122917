// The records of a Xen stream that are not pages, gathered as the reader finds them.
#pragma once

#include <cstdint>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/xen/records.hpp"
#include "translators/xen_source.hpp"

namespace vmferry {

struct CollectedXen {
    XenSource source;
    bool have_context = false, have_device_model = false;

    /// `view`: the bytes that were given to the reader, `offset`: the place of its first byte in the stream.
    /// Records that only frame the stream and pages change nothing.
    Result<void> collect(const xen::Record& record, Bytes view, std::uint64_t offset);
    /// Error (kind stream) that names a record without which a guest cannot be described.
    [[nodiscard]] Result<void> complete(std::uint64_t offset) const;
};

}  // namespace vmferry
