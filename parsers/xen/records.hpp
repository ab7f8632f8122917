// The typed records of what `xl migrate` sends, layer by layer. See stream_reader.hpp for the framing.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/xen/policy.hpp"

namespace vmferry::xen {

// ---- xl ----
struct XlHeader {
    std::uint32_t mandatory_flags = 3;  ///< bit 0 JSON, bit 1 libxl stream v2
    std::uint32_t optional_flags = 0;
    std::string config;        ///< JSON text, without the trailing NUL
    std::string further_data;  ///< optional data after the configuration; Xen's receiver ignores it
};
// ---- libxl stream v2 ----
struct LibxlHeader {
    std::uint32_t version = 2;
    std::uint32_t options = 0;  ///< bit 1: made by the converter for streams of Xen before 4.6
};
struct LibxcContext {};  ///< record LIBXC_CONTEXT: a libxc stream follows
struct EmulatorXenstoreData {
    std::uint32_t emulator = 2, index = 0;
    std::vector<std::pair<std::string, std::string>> entries;
};
struct EmulatorContext {
    std::uint32_t emulator = 2, index = 0;
    Bytes blob;  ///< lent: the device model's own migration stream
};
struct LibxlEnd {};
// ---- libxc stream v2 and v3 ----
struct ImageHeader {
    std::uint32_t version = 3;
    std::uint16_t options = 0;
};
struct DomainHeader {
    std::uint32_t type = 2;  ///< 1 x86 PV, 2 x86 HVM
    std::uint16_t page_shift = 12;
    std::uint32_t xen_major = 0, xen_minor = 0;
};
struct CpuidPolicyRecord {
    CpuidPolicy leaves;
};
struct MsrPolicyRecord {
    MsrPolicy entries;
};
struct StaticDataEnd {
    bool inferred = false;  ///< version 2 has no such record: the reader supplies it before the first pages
};

enum class PageType : std::uint8_t {
    normal = 0x0,
    broken = 0xD,
    xalloc = 0xE,
    xtab = 0xF  ///< page-table types carry data like `normal`
};
/// One entry of a PAGE_DATA record.
struct PageEntry {
    std::uint64_t gfn = 0;
    std::uint8_t type = 0;  ///< bits 63–60
    [[nodiscard]] bool has_data() const { return type < 0xD; }
    [[nodiscard]] bool populates() const { return type != 0xD && type != 0xF; }
};
/// Head of a PAGE_DATA record. `entries` is owned by the reader and valid until its next record.
struct PageBatch {
    const std::vector<PageEntry>* entries = nullptr;
};
/// As many whole pages of the current batch as have arrived, ≥ 1.
/// `first` is the position in batch->entries of the first page; entries without data in between are skipped
/// by the consumer (they have no bytes). pages.size() is a multiple of 4096; lent.
struct PageRun {
    const std::vector<PageEntry>* entries = nullptr;
    std::size_t first = 0;
    Bytes pages;
};
struct TscInfo {
    std::uint32_t mode = 0, khz = 0;
    std::uint64_t nsec = 0;
    std::uint32_t incarnation = 0;
};
struct HvmContextRecord {
    Bytes blob;  ///< lent; see read_hvm_context
};
struct HvmParam {
    std::uint64_t index = 0, value = 0;
};
struct HvmParams {
    std::vector<HvmParam> params;
};
struct Verify {};  ///< a second full copy of memory follows (--debug)
/// Unknown record with bit 31 (optional), in pieces of its body as they arrive; the one with `at` = 0 stands
/// for the record header too. `part` is lent, and empty only if the record is.
struct SkippedOptional {
    std::uint32_t type = 0, length = 0;
    std::uint32_t at = 0;  ///< place of `part` in the body
    Bytes part;
};
struct LibxcEnd {};

struct StreamEnd {};  ///< after libxl's END: what follows belongs to the xl handshake

using Record = std::variant<XlHeader, LibxlHeader, LibxcContext, ImageHeader, DomainHeader, CpuidPolicyRecord,
                            MsrPolicyRecord, StaticDataEnd, PageBatch, PageRun, TscInfo, HvmContextRecord,
                            HvmParams, Verify, SkippedOptional, LibxcEnd, EmulatorXenstoreData,
                            EmulatorContext, LibxlEnd, StreamEnd>;

}  // namespace vmferry::xen
