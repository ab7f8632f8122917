// Corruptions of the libxl stream: its header, the order of its records, the device model's records.
#include <doctest/doctest.h>

#include "tests/parsers/xen/corruption.hpp"

namespace vmferry::xen::test {

namespace {

const std::vector<Corruption>& corruptions() {
    static const std::vector<Corruption> table = {
        {"wrong ident", "libxl", 0, {'X'}, "libxl header.ident", "0x586962786c466d74", "\"LibxlFmt\""},
        {"version 3", "libxl", 11, {3}, "libxl header.version", "3", "2", 8},
        {"big-endian", "libxl", 15, {1}, "libxl header.options", "big-endian", "little-endian (x86)", 12},
        {"reserved option", "libxl", 15, {4}, "libxl header.options", "0x4", "reserved bits zero", 12},
        {"unknown record", "LIBXC_CONTEXT", 0, u32(6), "libxl record.type", "0x6",
         "a record that libxl defines (0 to 5)"},
        {"optional records do not exist", "LIBXC_CONTEXT", 0, u32(0x80000006), "libxl record.type",
         "0x80000006", "a record that libxl defines (0 to 5)"},
        {"LIBXC_CONTEXT with a body", "LIBXC_CONTEXT", 4, u32(8), "libxl LIBXC_CONTEXT.length", "8", "0"},
        {"END before memory", "LIBXC_CONTEXT", 0, u32(0), "libxl END.type", "END before LIBXC_CONTEXT",
         "the guest's memory"},
        {"second LIBXC_CONTEXT", "END", 0, u32(1), "libxl LIBXC_CONTEXT.type", "a second one",
         "one in a stream"},
        {"END with a body", "END", 4, u32(1), "libxl END.length", "1", "0"},
        {"CHECKPOINT_END", "EMULATOR_CONTEXT", 0, u32(4), "libxl CHECKPOINT_END.type", "CHECKPOINT_END",
         "a record of a plain migration"},
        {"CHECKPOINT_STATE", "EMULATOR_CONTEXT", 0, u32(5), "libxl CHECKPOINT_STATE.type", "CHECKPOINT_STATE",
         "a record of a plain migration"},
        {"EMULATOR_CONTEXT too short", "EMULATOR_CONTEXT", 4, u32(7), "libxl EMULATOR_CONTEXT.length", "7",
         "8 to 67108864"},
        {"EMULATOR_CONTEXT of 1 GiB", "EMULATOR_CONTEXT", 4, u32(1U << 30), "libxl EMULATOR_CONTEXT.length",
         "1073741824", "8 to 67108864"},
        {"padding",
         "EMULATOR_CONTEXT",
         8 + 8 + 333 + 1,
         {1},
         "libxl EMULATOR_CONTEXT.padding",
         "0x1",
         "zeros"},
        {"xenstore key leaves its directory",
         "EMULATOR_XENSTORE_DATA",
         16,
         {'/'},
         "libxl EMULATOR_XENSTORE_DATA.key",
         "\"/hysmap/f0000000/name\"",
         "a relative path"},
        {"empty xenstore key",
         "EMULATOR_XENSTORE_DATA",
         16,
         {0},
         "libxl EMULATOR_XENSTORE_DATA.key",
         "\"\"",
         "a relative path"},
        {"xenstore value without NUL", "EMULATOR_XENSTORE_DATA", 4, u32(8 + 22 + 4),
         "libxl EMULATOR_XENSTORE_DATA.padding", "0x76", "zeros", 8 + 8 + 22 + 4},
        {"version 1, the legacy stream", "libxl", 11, {1}, "libxl header.version", "1", "2", 8},
        {"version in the other byte order",
         "libxl",
         8,
         {2, 0, 0, 0},
         "libxl header.version",
         "33554432",
         "2"},
        {"record of type 2^32 - 1", "LIBXC_CONTEXT", 0, u32(0xFFFFFFFF), "libxl record.type", "0xffffffff",
         "a record that libxl defines (0 to 5)"},
        {"second EMULATOR_XENSTORE_DATA", "EMULATOR_CONTEXT", 0, u32(2), "libxl EMULATOR_XENSTORE_DATA.type",
         "a second one", "one in a stream"},
        {"second EMULATOR_CONTEXT", "END", 0, u32(3), "libxl EMULATOR_CONTEXT.type", "a second one",
         "one in a stream"},
        {"EMULATOR_CONTEXT of 4 GiB", "EMULATOR_CONTEXT", 4, u32(0xFFFFFFFF), "libxl EMULATOR_CONTEXT.length",
         "4294967295", "8 to 67108864"},
        {"EMULATOR_XENSTORE_DATA of 4 GiB", "EMULATOR_XENSTORE_DATA", 4, u32(0xFFFFFFFF),
         "libxl EMULATOR_XENSTORE_DATA.length", "4294967295", "8 to 1048576"},
        {"EMULATOR_XENSTORE_DATA too short", "EMULATOR_XENSTORE_DATA", 4, u32(7),
         "libxl EMULATOR_XENSTORE_DATA.length", "7", "8 to 1048576"},
        {"xenstore data that ends in a key", "EMULATOR_XENSTORE_DATA", 4, u32(8 + 16),
         "libxl EMULATOR_XENSTORE_DATA.key", "no NUL", "a NUL after each string", 8 + 8},
        {"xenstore data that ends in a value", "EMULATOR_XENSTORE_DATA", 4, u32(8 + 24),
         "libxl EMULATOR_XENSTORE_DATA.value", "no NUL", "a NUL after each string", 8 + 8 + 22},
        {"LIBXC_CONTEXT of 4 GiB", "LIBXC_CONTEXT", 4, u32(0xFFFFFFFF), "libxl LIBXC_CONTEXT.length",
         "4294967295", "0"},
    };
    return table;
}

}  // namespace

TEST_CASE("corruptions of the libxl stream") {
    for (const auto& corruption : corruptions()) check_corruption(corruption);
}

}  // namespace vmferry::xen::test
