#include "proxy/ram_output.hpp"

#include <map>

#include <doctest/doctest.h>

#include "tools/bench/stream_checker.hpp"

using namespace vmferry;

namespace {

void drain(OutputBatch& batch, bench::StreamChecker& checker) {
    for (const auto& piece : batch.pieces())
        REQUIRE(checker.take({static_cast<const std::byte*>(piece.iov_base), piece.iov_len}).has_value());
    batch.clear();
}

}  // namespace

TEST_CASE("ram output: pages of several blocks, cut into parts, are read back by an independent reader") {
    const std::string low = "pc.ram", high = "hi";
    constexpr std::uint64_t pages = 10'000;
    std::map<std::pair<std::string, std::uint64_t>, Buffer> seen;
    bench::StreamChecker checker([&](std::string_view block, std::uint64_t offset, Bytes page) {
        seen[{std::string(block), offset}].assign(page.begin(), page.end());
    });

    OutputBatch out;
    Buffer head;
    qemu::write_file_header(head);
    qemu::write_configuration(head, "pc-i440fx-7.2");
    const std::vector<qemu::RamBlock> blocks{{low, pages * page_size}, {high, pages * page_size}};
    qemu::write_ram_start(head, blocks);
    out.copy(head);

    RamOutput ram;
    const Buffer content(page_size, std::byte{0x5A});
    for (std::uint64_t i = 0; i < pages; ++i) {
        const auto& block = i % 100 < 60 ? low : high;
        if (i % 3 == 0)
            ram.zero(out, block, i * page_size);
        else if (i % 3 == 1)
            ram.page(out, block, i * page_size, content);
        else
            ram.page_copy(out, block, i * page_size, content);
        if (out.full()) drain(out, checker);
    }
    ram.end(out);
    head.clear();
    qemu::write_eof(head);
    qemu::write_description(head, "{}");
    out.copy(head);
    drain(out, checker);

    REQUIRE(checker.finish().has_value());
    CHECK(checker.pages() == pages);
    CHECK(checker.zero_pages() == (pages + 2) / 3);
    CHECK(checker.longest_part() == RamOutput::pages_per_part);
    CHECK(checker.parts() == 3);
    REQUIRE(seen.size() == pages);
    for (std::uint64_t i = 0; i < pages; ++i)
        REQUIRE(seen.at({i % 100 < 60 ? low : high, i * page_size}) == (i % 3 == 0 ? Buffer{} : content));
}
