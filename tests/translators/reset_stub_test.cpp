#include "translators/reset_stub.hpp"

#include <algorithm>
#include <string>

#include <doctest/doctest.h>

using namespace vmferry;

namespace {

Buffer seabios_entry_page() {
    Buffer page(page_size);
    // entry_post of SeaBIOS 1.16.2
    const unsigned char entry[] = {0x2e, 0x66, 0x83, 0x3e, 0xc8, 0x61, 0x00, 0x0f, 0x85, 0x36, 0xf0};
    std::ranges::copy(std::as_bytes(std::span(entry)), page.begin() + 0x5b);
    return page;
}

bool only_warning(const AuditReport& audit) {
    return !audit.refused() && audit.findings().size() == 1 &&
           audit.findings()[0].text.find("will not come up again") != std::string::npos;
}

}  // namespace

TEST_CASE("reset stub: placed at the end of its page, and the entry leads to it") {
    Buffer stub_page(page_size);
    auto entry_page = seabios_entry_page();
    AuditReport audit;
    const auto patches = place_reset_stub(stub_page, entry_page, audit);
    REQUIRE(patches.size() == 2);
    CHECK(patches[0].gfn == 0xDF);
    CHECK(patches[1].gfn == 0xFE);
    CHECK(patches[1].offset == 0x5B);
    CHECK(patches[1].bytes.size() == 5);
    REQUIRE(audit.findings().size() == 1);
    CHECK(audit.findings()[0].verdict == Verdict::adapted);
    CHECK(audit.findings()[0].text.find("0xfe05b") != std::string::npos);

    for (const auto& patch : patches) {
        CHECK(is_reset_stub_frame(patch.gfn));
        CHECK(patch.offset + patch.bytes.size() <= page_size);
        apply_patch(patch, patch.gfn == 0xDF ? std::span(stub_page) : std::span(entry_page));
    }
    // The far jump's target is the stub's first byte.
    CHECK(entry_page[0x5b] == std::byte{0xea});
    const auto offset = load_le<std::uint16_t>(entry_page, 0x5c),
               segment = load_le<std::uint16_t>(entry_page, 0x5e);
    const auto target = segment * 16u + offset;
    CHECK(target == 0xDF000 + patches[0].offset);
    CHECK(stub_page[target & 0xFFF] == std::byte{0xfa});
    // The stub's last instruction: jmp 0xf000:0xe05b.
    const auto end = patches[0].offset + patches[0].bytes.size();
    CHECK(load_le<std::uint8_t>(stub_page, end - 5) == 0xea);
    CHECK(load_le<std::uint32_t>(stub_page, end - 4) == 0xf000e05b);
    // Bytes around the patches are what they were.
    CHECK(entry_page[0x60] == std::byte{0x61});
    CHECK(std::all_of(stub_page.begin(), stub_page.begin() + patches[0].offset,
                      [](std::byte b) { return b == std::byte{0}; }));
}

TEST_CASE("reset stub: moves out of the way of what is in the page") {
    Buffer stub_page(page_size);
    stub_page[0xFFF] = std::byte{1};
    stub_page[0x800] = std::byte{1};
    AuditReport audit;
    const auto patches = place_reset_stub(stub_page, seabios_entry_page(), audit);
    REQUIRE(patches.size() == 2);
    CHECK(patches[0].offset % 16 == 0);
    for (std::size_t i = 0; i < patches[0].bytes.size(); ++i)
        CHECK(stub_page[patches[0].offset + i] == std::byte{0});
}

TEST_CASE("reset stub: a page that was never sent is zeros") {
    AuditReport audit;
    CHECK(place_reset_stub({}, seabios_entry_page(), audit).size() == 2);
    AuditReport other;
    CHECK(place_reset_stub({}, {}, other).empty());
    CHECK(only_warning(other));
}

TEST_CASE("reset stub: nothing is changed in firmware that is not known") {
    auto entry_page = seabios_entry_page();
    entry_page[0x5b] = std::byte{0xea};
    AuditReport audit;
    CHECK(place_reset_stub(Buffer(page_size), entry_page, audit).empty());
    CHECK(only_warning(audit));

    Buffer full(page_size, std::byte{0x90});
    AuditReport no_room;
    CHECK(place_reset_stub(full, seabios_entry_page(), no_room).empty());
    CHECK(only_warning(no_room));
}
