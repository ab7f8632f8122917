// Named corruptions of a whole stream and of a device model's blob: each gives one error that names the
// place.
#include <array>
#include <functional>

#include <doctest/doctest.h>

#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {
namespace {

struct Corruption {
    const char* name;
    const char* part;   ///< of test::build_stream()
    std::size_t delta;  ///< bytes behind its beginning
    std::size_t erase;
    std::string insert;
    const char* record;
    const char* field;
    std::ptrdiff_t offset;  ///< of the error, relative to the part
    ErrorKind kind = ErrorKind::stream;
};

std::string bytes(std::initializer_list<int> values) {
    std::string out;
    for (const auto value : values) out.push_back(static_cast<char>(value));
    return out;
}

Buffer corrupted(const test::BuiltStream& stream, const Corruption& row) {
    const auto at = static_cast<std::ptrdiff_t>(stream.at.at(row.part) + row.delta);
    Buffer out(stream.bytes.begin(), stream.bytes.begin() + at);
    append(out, std::string_view(row.insert));
    out.insert(out.end(), stream.bytes.begin() + at + static_cast<std::ptrdiff_t>(row.erase),
               stream.bytes.end());
    return out;
}

const std::vector<Corruption>& corruptions() {
    using enum ErrorKind;
    static const std::vector<Corruption> rows = {
        {"wrong magic", "header", 0, 4, "QEVN", "file header", "magic", 0},
        {"little-endian version", "header", 4, 4, bytes({3, 0, 0, 0}), "file header", "version", 4},
        {"version 2", "header", 4, 4, bytes({0, 0, 0, 2}), "file header", "version", 4},
        {"a TLS handshake", "header", 0, 3, bytes({0x16, 3, 1}), "file header", "magic", 0, refused},
        {"a multifd channel", "header", 0, 4, bytes({0x11, 0x22, 0x33, 0x44}), "file header", "magic", 0,
         refused},
        {"no CONFIGURATION", "configuration", 0, 1, bytes({8}), "CONFIGURATION", "type", 0},
        {"machine name of 4 GiB", "configuration", 1, 4, bytes({255, 255, 255, 255}), "CONFIGURATION",
         "name length", 1},
        {"empty machine name", "configuration", 1, 4, bytes({0, 0, 0, 0}), "CONFIGURATION", "name length", 1},
        {"machine name with a NUL", "configuration", 6, 1, bytes({0}), "CONFIGURATION", "name", 5},
        {"unknown configuration subsection", "uuid", 16, 1, "x", "CONFIGURATION", "subsection", 0},
        {"uuid version 2", "uuid", 23, 1, bytes({2}), "CONFIGURATION", "subsection version", 20},
        {"unknown command", "PING", 2, 1, bytes({77}), "COMMAND", "command", 1},
        {"command 0", "PING", 2, 1, bytes({0}), "COMMAND", "command", 1},
        {"PING of 5 bytes", "PING", 4, 1, bytes({5}), "PING", "length", 3},
        {"POSTCOPY_ADVISE", "PING", 2, 3, bytes({3, 0, 16}), "POSTCOPY_ADVISE", "command", 1, refused},
        {"POSTCOPY_ADVISE for bitmaps", "OPEN_RETURN_PATH", 2, 1, bytes({3}), "POSTCOPY_ADVISE", "length", 3,
         refused},
        {"PACKAGED", "PING", 2, 1, bytes({7}), "PACKAGED", "command", 1, refused},
        {"ENABLE_COLO", "OPEN_RETURN_PATH", 2, 1, bytes({8}), "ENABLE_COLO", "command", 1, refused},
        {"dirty bitmaps", "START", 5, 4,
         "\x0c"
         "dirty-bitmap",
         "section START", "idstr", 0, refused},
        {"a VFIO device", "START", 5, 4,
         "\x09"
         "pci0/vfio",
         "section START", "idstr", 0, refused},
        {"ram instance 1", "START", 12, 1, bytes({1}), "section START", "instance_id", 9},
        {"ram version 5", "START", 16, 1, bytes({5}), "section START", "version_id", 13},
        {"PART before START", "START", 0, 1, bytes({2}), "item before ram", "type", 0},
        {"device state before ram", "START", 0, 1, bytes({4}), "section FULL", "type", 0, refused},
        {"an unknown item", "START", 0, 1, bytes({0x0b}), "item before ram", "type", 0},
        {"no block list", "MEM_SIZE", 7, 1, bytes({0x10}), "ram MEM_SIZE", "flags", 0},
        {"an empty block list", "MEM_SIZE", 0, 8, bytes({0, 0, 0, 0, 0, 0, 0, 4}), "ram MEM_SIZE", "total",
         0},
        {"total too small", "MEM_SIZE", 5, 2, bytes({0, 0x10}), "ram MEM_SIZE", "used_length", 15},
        {"total too large", "MEM_SIZE", 5, 2, bytes({1, 0x90}), "ram MEM_SIZE", "idstr", 53},
        {"block without name", "block", 0, 1, bytes({0}), "ram MEM_SIZE", "idstr", 0},
        {"block of no bytes", "block", 7, 8, bytes({0, 0, 0, 0, 0, 0, 0, 0}), "ram MEM_SIZE", "used_length",
         7},
        {"block of half a page", "block", 13, 2, bytes({8, 0}), "ram MEM_SIZE", "used_length", 7},
        {"the same block twice", "block", 15, 30, bytes({6}) + "pc.ram" + bytes({0, 0, 0, 0, 0, 0, 0x40, 0}),
         "ram MEM_SIZE", "idstr", 15},
        {"START without EOS", "START EOS", 7, 1, bytes({0x30}), "ram record", "flags", 0},
        {"footer missing", "START footer", 0, 1, bytes({2}), "ram footer", "type", 0},
        {"footer of another section", "START footer", 4, 1, bytes({3}), "ram footer", "section_id", 1},
        {"PART of a section never started", "PART", 4, 1, bytes({3}), "section PART", "section_id", 1},
        {"CONTINUE in the first page", "page", 7, 1, bytes({0x28}), "ram record", "flags", 0},
        {"page in a block that was not listed", "page", 9, 6, "pc.rom", "ram record", "idstr", 8},
        {"page beyond the block", "page", 5, 1, bytes({1}), "ram record", "offset", 0},
        {"page at the end of the block", "continued", 5, 2, bytes({1, 0}), "ram record", "offset", 0},
        {"two kinds of page at once", "continued", 7, 1, bytes({0x2a}), "ram record", "flags", 0},
        {"no kind of page", "continued", 7, 1, bytes({0x20}), "ram record", "flags", 0},
        {"an unknown flag", "continued", 6, 2, bytes({0x34, 0x28}), "ram record", "flags", 0},
        {"a second block list", "continued", 7, 1, bytes({4}), "ram record", "flags", 0},
        {"a page to be filled with ones", "zero", 30, 1, bytes({0xff}), "ram record", "fill", 30},
        {"XBZRLE", "continued", 7, 1, bytes({0x60}), "ram record", "flags", 0, refused},
        {"COMPRESS_PAGE", "continued", 6, 2, bytes({0x31, 0x20}), "ram record", "flags", 0, refused},
        {"HOOK", "continued", 7, 1, bytes({0xa0}), "ram record", "flags", 0, refused},
        {"MULTIFD_FLUSH", "PART EOS", 6, 2, bytes({2, 0}), "ram record", "flags", 0, refused},
        {"EOS with an address", "PART EOS", 6, 1, bytes({0x10}), "ram record", "flags", 0},
        {"a stray footer", "SWITCHOVER_START", 0, 1, bytes({0x7e}), "item between ram parts", "type", 0},
        {"a second CONFIGURATION", "SWITCHOVER_START", 0, 1, bytes({7}), "item between ram parts", "type", 0},
        {"EOF before the END of ram", "END", 0, 1, bytes({0}), "item between ram parts", "type", 0},
        {"no END: a background snapshot", "END", 0, 1, bytes({4}), "section FULL", "type", 0, refused},
        {"no device at all", "timer", 0, 1, bytes({0}), "item after ram", "type", 0},
        {"PART after END", "timer", 0, 1, bytes({2}), "item after ram", "type", 0},
        {"a device that is not described", "toy", 10, 1, "X", "section 0000:00:03.0/toy instance 0", "idstr",
         5},
        {"another instance", "toy", 25, 1, bytes({1}), "section 0000:00:03.0/toy instance 0", "instance_id",
         22},
        {"a device of another version", "toy", 29, 1, bytes({4}), "section 0000:00:03.0/toy instance 0",
         "version_id", 26},
        {"a subsection that is not there", "toy subsection", 0, 1, bytes({6}),
         "section 0000:00:03.0/toy instance 0", "+toy/extra|", 0},
        {"another subsection", "toy subsection", 2, 1, "T", "section 0000:00:03.0/toy instance 0",
         "+toy/extra|", 1},
        {"a payload of one byte less", "toy payload", 0, 1, "", "section 0000:00:03.0/toy instance 0",
         "+toy/extra|", 24},
        {"a payload of one byte more", "toy payload", 0, 0, "x", "section 0000:00:03.0/toy instance 0",
         "+toy/extra|", 24},
        {"footer of another device", "toy footer", 4, 1, bytes({8}), "section 0000:00:03.0/toy instance 0",
         "footer", 1},
        {"an item between devices", "slirp", 0, 1, bytes({8}), "section slirp instance 0", "type", 0},
        {"a device behind the described ones", "EOF", 0, 0, "\x04more", "device state", "EOF", 0},
        {"description without devices", "json", 21, 1, "D", "VMDESCRIPTION", "description: devices", 0},
        {"pages of 64 KiB", "json", 14, 4, "9999", "VMDESCRIPTION", "description: page_size", 0},
        {"broken JSON", "json", 100, 1, "\"", "VMDESCRIPTION", "json", 107},
    };
    return rows;
}

}  // namespace

TEST_CASE("corruptions of a stream") {
    const auto stream = test::build_stream();
    REQUIRE_FALSE(test::read_all(stream.bytes).error);
    std::size_t tried = 0;
    for (const auto& row : corruptions()) {
        CAPTURE(std::string(row.name));
        ++tried;
        for (const std::size_t chunk : {std::size_t{1}, std::size_t{1} << 20}) {
            const auto back = test::read_all(corrupted(stream, row), [chunk](std::size_t) { return chunk; });
            REQUIRE(back.error);
            CAPTURE(back.error->text());
            CHECK(back.error->kind == row.kind);
            CHECK(back.error->format == "qemu");
            CHECK(back.error->record == row.record);
            CHECK(back.error->field == row.field);
            CHECK(static_cast<std::ptrdiff_t>(back.error->offset) ==
                  static_cast<std::ptrdiff_t>(stream.at.at(row.part)) + row.offset);
            CHECK_FALSE(back.error->found.empty());
            CHECK_FALSE(back.error->expected.empty());
            if (row.kind == ErrorKind::refused) CHECK_FALSE(back.error->hint.empty());
        }
    }
    CHECK(tried >= 60);
}

}  // namespace vmferry::qemu
