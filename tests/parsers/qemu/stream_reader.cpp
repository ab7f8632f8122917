#include "parsers/qemu/stream_reader.hpp"

#include <random>

#include <doctest/doctest.h>

#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {

using test::load_capture;
using test::read_all;

TEST_CASE("writer(reader(bytes)) = bytes for every recorded stream that is read") {
    for (const auto& name : test::good_captures()) {
        CAPTURE(name);
        const auto bytes = load_capture(name);
        const auto back = read_all(bytes);
        REQUIRE_MESSAGE(!back.error, back.error->text());
        CHECK(back.rewritten == bytes);
        CHECK(back.pages > 0);
        CHECK(back.zero_pages > 0);
        CHECK(back.largest_need <= 64 * 264);
    }
}

TEST_CASE("a stream reads the same in pieces of any size") {
    const auto stream = test::build_stream();
    for (const std::size_t size : {1, 2, 7, 13, 4096, 5000}) {
        CAPTURE(size);
        const auto back = read_all(stream.bytes, [size](std::size_t) { return size; });
        REQUIRE_MESSAGE(!back.error, back.error->text());
        CHECK(back.rewritten == stream.bytes);
    }
    const auto recorded = load_capture("qemu-10.0/kvm-split.bin.zst");
    for (const std::size_t size : {1, 7, 1 << 20}) {
        CAPTURE(size);
        const auto back = read_all(recorded, [size](std::size_t) { return size; });
        REQUIRE_MESSAGE(!back.error, back.error->text());
        CHECK(back.rewritten == recorded);
    }
}

TEST_CASE("a stream that needs two QEMUs is refused with what to switch off") {
    struct Row {
        const char* capture;
        const char* record;
        const char* hint;
    };
    constexpr Row rows[] = {
        {"qemu-7.2/m3-multifd2.c0.s2d.zst", "section END", "capability multifd off"},
        {"qemu-7.2/m3-multifd2.c1.s2d.zst", "file header", "capability multifd off"},
        {"qemu-7.2/m4b-postcopy-run.c0.s2d.zst", "POSTCOPY_ADVISE", "capability postcopy-ram off"},
        {"qemu-7.2/m5b-xbzrle-rounds.c0.s2d.zst", "ram record", "capability xbzrle off"},
        {"qemu-7.2/m6-compress.c0.s2d.zst", "ram record", "capability compress off"},
        {"qemu-7.2/m7-ignore-shared.c0.s2d.zst", "configuration/capabilities",
         "capability x-ignore-shared off"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.capture);
        const auto back = read_all(load_capture(row.capture));
        REQUIRE(back.error);
        CHECK(back.error->kind == ErrorKind::refused);
        CHECK(back.error->record == row.record);
        CHECK(back.error->hint.find(row.hint) != std::string::npos);
    }
}

TEST_CASE("a cancelled migration is a truncated stream") {
    const auto bytes = load_capture("qemu-7.2/m14-cancel.c0.s2d.zst");
    const auto back = read_all(bytes);
    REQUIRE(back.error);
    CHECK(back.error->kind == ErrorKind::stream);
    CHECK(back.error->record == "ram");
    CHECK(back.error->offset == bytes.size());
}

TEST_CASE("a cut at any byte is an error that names what was being read") {
    const auto stream = test::build_stream();
    for (std::size_t size = 0; size < stream.bytes.size(); ++size) {
        // Inside the three pages of content every place is like the next.
        if (size % page_size > 600 && size < stream.at.at("END EOS") && size % 97 != 0) continue;
        const auto back = read_all(Bytes(stream.bytes).first(size));
        CAPTURE(size);
        REQUIRE(back.error);
        CHECK(back.error->kind == ErrorKind::stream);
        CHECK(back.error->format == "qemu");
        CHECK_FALSE(back.error->record.empty());
        CHECK(back.error->offset <= size);
    }
}

TEST_CASE("cuts of recorded streams at 1000 seeded places") {
    std::mt19937 random(20240214);
    for (const auto* name : {"qemu-10.0/kvm-split.bin.zst", "qemu-7.2/m1-tcp-plain-events.c0.s2d.zst"}) {
        const auto bytes = test::load_trimmed(name);
        REQUIRE_FALSE(read_all(bytes).error);
        // Half of them in the device state and the description, where most of the structure is.
        for (int i = 0; i < 500; ++i) {
            const auto span = i % 2 == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 60'000);
            const auto size = bytes.size() - 1 - random() % (span - 1);
            CAPTURE(size);
            const auto back = read_all(Bytes(bytes).first(size));
            REQUIRE(back.error);
            CHECK(back.error->kind == ErrorKind::stream);
        }
    }
}

TEST_CASE("device state without a description is an error with the remedy") {
    const auto stream = test::build_stream();
    const auto back = read_all(Bytes(stream.bytes).first(stream.at.at("VMDESCRIPTION")));
    REQUIRE(back.error);
    CHECK(back.error->record == "VMDESCRIPTION");
    CHECK(back.error->hint.find("suppress-vmdesc=off") != std::string::npos);
}

TEST_CASE("a description that a guest put into its devices does not end the stream") {
    auto stream = test::build_stream();
    const std::string fake = R"({"page_size": 4096, "devices": []})";
    Buffer planted;
    write_eof(planted);
    write_description(planted, fake);

    // A device whose payload is the fake, in front of the others.
    Buffer bytes(stream.bytes.begin(),
                 stream.bytes.begin() + static_cast<std::ptrdiff_t>(stream.at.at("timer")));
    Section disk;
    disk.section_id = 20;
    disk.idstr = "disk";
    Field data;
    data.name = "data";
    data.type = "buffer";
    data.size = static_cast<std::uint32_t>(planted.size());
    data.data = planted;
    disk.root.fields = {data};
    write_section(bytes, disk);
    const auto rest = Bytes(stream.bytes).subspan(stream.at.at("timer"));
    append(bytes, rest.first(stream.at.at("VMDESCRIPTION") - stream.at.at("timer")));
    auto json = test::build_description();
    const std::string head = R"("devices": [)";
    json.insert(
        json.find(head) + head.size(),
        fmt::format(R"({{"name": "disk", "instance_id": 0, "vmsd_name": "disk", "version": 0, "fields": [)"
                    R"({{"name": "data", "type": "buffer", "size": {}}}]}}, )",
                    planted.size()));
    write_description(bytes, json);
    for (const std::size_t size : {std::size_t{1}, bytes.size()}) {
        const auto back = read_all(bytes, [size](std::size_t) { return size; });
        REQUIRE_MESSAGE(!back.error, back.error->text());
        CHECK(back.rewritten == bytes);
    }
}

TEST_CASE("read_snapshot keeps the last copy of every page with content") {
    auto stream = test::build_stream();
    const auto snapshot = read_snapshot(stream.bytes);
    REQUIRE(snapshot);
    CHECK(snapshot->machine == "pc-i440fx-7.2");
    CHECK(snapshot->configuration_subsections.size() ==
          stream.at.at("OPEN_RETURN_PATH") - stream.at.at("uuid"));
    REQUIRE(snapshot->blocks.size() == 2);
    CHECK(snapshot->blocks[1].idstr == "0000:00:02.0/vga.vram");
    CHECK(snapshot->blocks[1].used_length == 4 * page_size);
    CHECK(snapshot->pages.at("pc.ram").size() == 3);
    CHECK(snapshot->pages.at("pc.ram").contains(3 * page_size));
    CHECK(snapshot->pages.at("0000:00:02.0/vga.vram").empty());
    CHECK(snapshot->description == test::build_description());
    CHECK(snapshot->tree.sections.size() == 3);

    const auto little = read_snapshot(stream.bytes, 2 * page_size);
    REQUIRE_FALSE(little);
    CHECK(little.error().field == "pages");
}

}  // namespace vmferry::qemu
