// The template of a Xen destination: what `xl save` of a paused domain wrote there, without its pages.
//
//     xl header · libxl header · LIBXC_CONTEXT · libxc headers · X86_CPUID_POLICY · X86_MSR_POLICY ·
//     STATIC_DATA_END · [PAGE_DATA … left out] · X86_TSC_INFO · HVM_CONTEXT · HVM_PARAMS · END ·
//     EMULATOR_CONTEXT · END
//
// It tells which Xen this is, what CPU its guests may be shown, and the form of its records and of its device
// model's state. A whole stream serves as well.
#pragma once

#include <string>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

/// `path`: a recorded xl stream, with or without pages, plain or zstd. Errors: environment (it cannot be
/// read), usage (a file of another kind), stream (it is damaged, or a record is missing).
[[nodiscard]] Result<XenTemplate> read_xen_template(const std::string& path);

/// The same stream up to libxl's END with PAGE_DATA left out and all other records unchanged.
struct StrippedStream {
    XenTemplate contents;
    Buffer bytes;
};
[[nodiscard]] Result<StrippedStream> strip_pages(const std::string& path);

/// Writes a file, compressed by zstd if its name ends in ".zst". Error of kind environment.
Result<void> write_stream_file(const std::string& path, Bytes bytes);

}  // namespace vmferry
