#include "parsers/qemu/device_tree.hpp"

#include <doctest/doctest.h>

#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {
namespace {

Section toy() {
    const auto stream = test::build_stream();
    const auto snapshot = read_snapshot(stream.bytes);
    REQUIRE(snapshot);
    return *snapshot->tree.find("0000:00:03.0/toy");
}

}  // namespace

TEST_CASE("a path leads to fields, elements and subsections") {
    const auto section = toy();
    CHECK(section.get("mode") == 0x7f);
    CHECK(section.get("regs|0") == 0x20212223);
    CHECK(section.get("regs|3") == 0x2c2d2e2f);
    CHECK(section.get("drive|0|head") == 0x6061);
    CHECK(section.get("drive|1|head") == 0x6263);
    CHECK(section.get("+toy/extra|level") == 1);
    CHECK(section.bytes("drive|1|data")->size() == 3);
    CHECK(section.bytes("regs")->size() == 16);
    CHECK(section.bytes("regs|1")->size() == 4);
    REQUIRE(section.find("drive"));
    CHECK(section.find("drive")->count == 2);
    REQUIRE(section.subsection("toy/extra"));
    CHECK(section.subsection("toy/extra")->version == 1);
}

TEST_CASE("a path that leads nowhere is an error that names section and path") {
    const auto section = toy();
    for (const auto* path :
         {"", "nothing", "regs", "regs|4", "regs|x", "regs|0|0", "drive", "drive|2|head", "drive|head",
          "drive|0|data", "+toy/none|level", "+toy/extra", "mode|1", "0", "|"}) {
        CAPTURE(path);
        const auto value = section.get(path);
        REQUIRE_FALSE(value);
        CHECK(value.error().kind == ErrorKind::stream);
        CHECK(value.error().record == "0000:00:03.0/toy 0");
        CHECK(value.error().field == path);
    }
    CHECK_FALSE(section.get("drive|1|data"));  // three bytes are no integer
    CHECK_FALSE(section.bytes("drive"));
    CHECK(section.find("nothing") == nullptr);
    CHECK(section.subsection("toy/none") == nullptr);
}

TEST_CASE("set stores what fits, as unsigned or as negative signed, and nothing else") {
    auto section = toy();
    CHECK(section.set("drive|0|head", 0xffff));
    CHECK(section.get("drive|0|head") == 0xffff);
    CHECK(section.get_signed("drive|0|head") == -1);
    CHECK(section.set("drive|0|head", static_cast<std::uint64_t>(-2)));
    CHECK(section.get_signed("drive|0|head") == -2);
    CHECK_FALSE(section.set("drive|0|head", 0x10000));
    CHECK_FALSE(section.set("drive|0|head", static_cast<std::uint64_t>(-0x8001)));
    CHECK(section.set("regs|2", 0x01020304));
    CHECK(section.get("regs|2") == 0x01020304);
    CHECK(section.get("regs|1") == 0x24252627);
    CHECK(section.get_signed("mode") == 0x7f);
    CHECK_FALSE(section.set("regs", 0));
    CHECK_FALSE(section.set("no", 0));
}

TEST_CASE("set_bytes replaces a buffer of the same size") {
    auto section = toy();
    CHECK(section.set_bytes("drive|1|data", as_bytes("abc")));
    CHECK(as_text(*section.bytes("drive|1|data")) == "abc");
    CHECK_FALSE(section.set_bytes("drive|1|data", as_bytes("abcd")));
    CHECK(section.set_bytes("regs|1", as_bytes("wxyz")));
    CHECK(section.get("regs|1") == 0x7778797a);
    CHECK(section.get("regs|2") == 0x28292a2b);
    CHECK_FALSE(section.set_bytes("drive", as_bytes("x")));
}

TEST_CASE("encode_payload is the inverse of decoding") {
    const auto stream = test::build_stream();
    const auto section = toy();
    const auto payload = encode_payload(section);
    REQUIRE(payload.size() == section.length);
    const Bytes original = Bytes(stream.bytes).subspan(stream.at.at("toy payload"), section.length);
    CHECK(std::ranges::equal(payload, original));
}

TEST_CASE("sections are found by name, instance and PCI device") {
    const auto snapshot = read_snapshot(test::build_stream().bytes);
    REQUIRE(snapshot);
    CHECK(snapshot->tree.find("timer") != nullptr);
    CHECK(snapshot->tree.find("timer", 1) == nullptr);
    CHECK(snapshot->tree.find("toy") == nullptr);
    CHECK(snapshot->tree.find_pci("toy").size() == 1);
    CHECK(snapshot->tree.find_pci("timer").empty());
    const auto* slirp = snapshot->tree.find("slirp");
    REQUIRE(slirp);
    CHECK_FALSE(slirp->described);
    CHECK(slirp->bytes("data")->size() == 5);
}

}  // namespace vmferry::qemu
