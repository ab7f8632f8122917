// Inverse of StreamReader: each function appends one record exactly as Xen's own sender writes it. Bodies
// must keep the limits that stream_reader.hpp and libxc_records.hpp name.
#pragma once

#include <span>

#include "parsers/wire/bytes.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::xen {

void write(Buffer& out, const XlHeader& header);
void write(Buffer& out, const LibxlHeader& header);
void write(Buffer& out, const LibxcContext& record);
void write(Buffer& out, const ImageHeader& header);
void write(Buffer& out, const DomainHeader& header);
void write(Buffer& out, const CpuidPolicyRecord& record);
void write(Buffer& out, const MsrPolicyRecord& record);
void write(Buffer& out, const StaticDataEnd& record);
void write(Buffer& out, const TscInfo& record);
void write(Buffer& out, const HvmContextRecord& record);
void write(Buffer& out, const HvmParams& record);
void write(Buffer& out, const Verify& record);
/// The piece of the body that the record holds; the record header before the first and the padding behind the
/// last.
void write(Buffer& out, const SkippedOptional& record);
void write(Buffer& out, const LibxcEnd& record);
void write(Buffer& out, const EmulatorXenstoreData& record);
void write(Buffer& out, const EmulatorContext& record);
void write(Buffer& out, const LibxlEnd& record);
/// Head of a PAGE_DATA record (record header, count, pfn list); the pages follow in entry order, 4096 bytes
/// for each entry with data. No padding is ever needed after them.
void write_page_batch(Buffer& out, std::span<const PageEntry> entries);

/// Any record; a PageRun appends its pages.
void write_record(Buffer& out, const Record& record);

}  // namespace vmferry::xen
