// Corruptions of PAGE_DATA: the count, the list of frames, and the length that has to agree with both.
#include <doctest/doctest.h>

#include "parsers/xen/page_data.hpp"
#include "tests/parsers/xen/corruption.hpp"

namespace vmferry::xen::test {

namespace {

const std::vector<Corruption>& corruptions() {
    static const std::vector<Corruption> table = {
        {"count 0", "PAGE_DATA", 8, u32(0), "libxc PAGE_DATA.count", "0", "at least 1"},
        {"count above the limit", "PAGE_DATA", 8, u32(32769), "libxc PAGE_DATA.count", "32769",
         "at most 32768 (max_batch_entries)"},
        {"count beyond the length", "PAGE_DATA", 8, u32(30000), "libxc PAGE_DATA.count", "30000",
         "8 bytes for each in a body of 16464"},
        {"count that does not fit the length", "PAGE_DATA", 8, u32(8), "libxc PAGE_DATA.length", "16464",
         "16456 (8 entries, 4 with data)", 4},
        {"reserved word", "PAGE_DATA", 12, {1}, "libxc PAGE_DATA.reserved", "0x1", "0"},
        {"length of a page more", "PAGE_DATA", 4, u32(80 + 5 * 4096), "libxc PAGE_DATA.length", "20560",
         "16464 (9 entries, 4 with data)"},
        {"length not whole pages", "PAGE_DATA", 4, u32(80 + 4 * 4096 + 8), "libxc PAGE_DATA.length", "16472",
         "16464 (9 entries, 4 with data)"},
        {"reserved bits of a pfn", "PAGE_DATA", 16 + 8 * 2, u64(0x0010000000000102), "libxc PAGE_DATA.pfn[2]",
         "0x0010000000000102", "reserved bits 52-59 zero"},
        {"frame beyond the address space", "PAGE_DATA", 16 + 8 * 3, u64(max_gfn + 1),
         "libxc PAGE_DATA.pfn[3]", "frame 0x10000000000", "at most 0xffffffffff (max_gfn)"},
        {"reserved type 5", "PAGE_DATA", 16 + 8 * 4, u64(0x5000000000000104), "libxc PAGE_DATA.pfn[4]",
         "type 0x5", "a defined page type"},
        {"reserved type 8", "PAGE_DATA", 16 + 8 * 8, u64(0x8000000000000108), "libxc PAGE_DATA.pfn[8]",
         "type 0x8", "a defined page type"},
        {"XTAB where a page follows", "PAGE_DATA", 16 + 8 * 2, u64(0xF000000000000102),
         "libxc PAGE_DATA.length", "16464", "12368 (9 entries, 3 with data)", 4},
        {"a hole that claims a page", "holes", 16, u64(0x10000), "libxc PAGE_DATA.length", "32",
         "4128 (3 entries, 1 with data)", 4},
        {"count 2^32 - 1", "PAGE_DATA", 8, u32(0xFFFFFFFF), "libxc PAGE_DATA.count", "4294967295",
         "at most 32768 (max_batch_entries)"},
        {"empty record", "PAGE_DATA", 4, u32(0), "libxc PAGE_DATA.count", "9",
         "8 bytes for each in a body of 0", 8},
        {"record of 4 GiB", "PAGE_DATA", 4, u32(0xFFFFFFFF), "libxc PAGE_DATA.length", "4294967295",
         "at most 134217728 (max_libxc_record)"},
        {"shorter than its list", "PAGE_DATA", 4, u32(8 + 9 * 8 - 1), "libxc PAGE_DATA.count", "9",
         "8 bytes for each in a body of 79", 8},
        {"list alone", "PAGE_DATA", 4, u32(8 + 9 * 8), "libxc PAGE_DATA.length", "80",
         "16464 (9 entries, 4 with data)"},
        {"reserved type 6", "PAGE_DATA", 16, u64(0x6000000000000100), "libxc PAGE_DATA.pfn[0]", "type 0x6",
         "a defined page type"},
        {"reserved type 7", "PAGE_DATA", 16 + 8 * 3, u64(0x7000000000000103), "libxc PAGE_DATA.pfn[3]",
         "type 0x7", "a defined page type"},
        {"frame 2^52 - 1", "PAGE_DATA", 16 + 8 * 2, u64(0x000FFFFFFFFFFFFF), "libxc PAGE_DATA.pfn[2]",
         "frame 0xfffffffffffff", "at most 0xffffffffff (max_gfn)"},
        {"hole at frame 2^52 - 1", "holes", 16 + 8, u64(0xF00FFFFFFFFFFFFF), "libxc PAGE_DATA.pfn[1]",
         "frame 0xfffffffffffff", "at most 0xffffffffff (max_gfn)"},
        {"entry of all ones", "PAGE_DATA", 16 + 8 * 8, u64(~0ULL), "libxc PAGE_DATA.pfn[8]",
         "0xffffffffffffffff", "reserved bits 52-59 zero"},
        {"highest reserved bit",
         "PAGE_DATA",
         16 + 8 * 2 + 7,
         {0x08},
         "libxc PAGE_DATA.pfn[2]",
         "0x0800000000000102",
         "reserved bits 52-59 zero",
         16 + 8 * 2},
        {"a page that claims to be a hole", "all data", 16, u64(0xF000000000000000 | (max_gfn - 3)),
         "libxc PAGE_DATA.length", "16424", "12328 (4 entries, 3 with data)", 4},
        {"a broken page that claims data", "PAGE_DATA", 16 + 8 * 6, u64(0x0000000000000106),
         "libxc PAGE_DATA.length", "16464", "20560 (9 entries, 5 with data)", 4},
    };
    return table;
}

}  // namespace

TEST_CASE("corruptions of page data") {
    for (const auto& corruption : corruptions()) check_corruption(corruption);
}

}  // namespace vmferry::xen::test
