// Descriptions as QEMU's releases write them, and hostile ones.
#include "parsers/qemu/described_state.hpp"

#include <fstream>

#include <doctest/doctest.h>

#include "parsers/qemu/stream_writer.hpp"
#include "tests/error_text.hpp"
#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {
namespace {

/// One section "dev" version 1 with this payload.
Buffer state_of(Bytes payload) {
    Section section;
    section.section_id = 3;
    section.idstr = "dev";
    section.version = 1;
    Field data;
    data.name = "data";
    data.data.assign(payload.begin(), payload.end());
    section.root.fields = {std::move(data)};
    Buffer out;
    write_section(out, section);
    return out;
}

std::string describing(std::string_view fields, std::string_view more = {}) {
    return fmt::format(R"({{"configuration": {{}}, "page_size": 4096, "devices": [{{"name": "dev", )"
                       R"("instance_id": 0, "vmsd_name": "dev", "version": 1, "fields": [{}]{}}}]}})",
                       fields, more);
}

Result<DeviceTree> decode(std::string_view payload, std::string_view fields, std::string_view more = {}) {
    return decode_device_state(state_of(as_bytes(payload)), 0x1000, describing(fields, more), 0x2000);
}

/// High-water mark of resident memory in bytes since the last call.
std::size_t peak_memory() {
    std::size_t peak = 0;
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmHWM:")) peak = std::stoul(line.substr(6)) * 1024;
    std::ofstream("/proc/self/clear_refs") << '5';
    return peak;
}

}  // namespace

TEST_CASE("elements that are listed one by one become one array, with or without an index") {
    constexpr std::string_view element =
        R"("type": "struct", "struct": {"vmsd_name": "e", "version": 1, "fields": [)"
        R"({"name": "a", "type": "uint8", "size": 1}]}, "size": 1})";
    const auto tree = decode("\x01\x02\x03", fmt::format(R"({{"name": "e", "index": 0, {0}, {{"name": "e", )"
                                                         R"("index": 1, {0}, {{"name": "e", {0})",
                                                         element));
    REQUIRE_MESSAGE(tree, vmferry::test::error_text(tree));
    CHECK(tree->sections[0].find("e")->count == 3);
    CHECK(tree->sections[0].get("e|2|a") == 3);
}

TEST_CASE("null and non-null elements of a pointer array stay apart") {
    const auto tree =
        decode("0AB0", R"({"name": "p", "index": 0, "type": "nullptr", "size": 1}, )"
                       R"({"name": "p", "index": 1, "array_len": 2, "type": "uint8", "size": 1}, )"
                       R"({"name": "p", "index": 3, "type": "nullptr", "size": 1})");
    REQUIRE_MESSAGE(tree, vmferry::test::error_text(tree));
    CHECK(tree->sections[0].root.fields.size() == 3);
    CHECK(encode_payload(tree->sections[0]).size() == 4);
}

TEST_CASE("names with an occurrence number are names") {
    const auto tree = decode("\x01\x02", R"({"name": "unused[0]", "type": "unused_buffer", "size": 1}, )"
                                         R"({"name": "unused[1]", "type": "unused_buffer", "size": 1})");
    REQUIRE(tree);
    CHECK(tree->sections[0].get("unused[0]") == 1);
    CHECK(tree->sections[0].get("unused[1]") == 2);
}

TEST_CASE("a list has its elements as duplicate keys and stays raw") {
    constexpr std::string_view element =
        R"("vmsd_name": "q", "version": 1, "fields": [{"name": "a", "type": "uint8", "size": 1}])";
    for (const auto* type : {"qtailq", "tmp"}) {
        const auto tree = decode(
            std::string_view("\x01\x41\x01\x42\x00", 5),
            fmt::format(R"({{"name": "list", "type": "{}", {}, {}, "size": 5}})", type, element, element));
        REQUIRE_MESSAGE(tree, vmferry::test::error_text(tree));
        CHECK(tree->sections[0].bytes("list")->size() == 5);
    }
}

TEST_CASE("tmp has its description in the field's own object") {
    const auto tree =
        decode("\x07", R"({"name": "tmp", "type": "tmp", "vmsd_name": "t", "version": 1, "fields": [)"
                       R"({"name": "a", "type": "uint8", "size": 1}], "size": 1})");
    REQUIRE(tree);
    CHECK(tree->sections[0].get("tmp|a") == 7);
}

TEST_CASE("what a description may not say") {
    struct Row {
        std::string fields;
        const char* field;
    };
    const Row rows[] = {
        {R"({"type": "uint8", "size": 1})", "description: name"},
        {R"({"name": "", "type": "uint8", "size": 1})", "description: name"},
        {R"({"name": "a", "size": 1})", "description: type"},
        {R"({"name": "a", "type": "uint8"})", "description: a|size"},
        {R"({"name": "a", "type": "uint8", "size": -1})", "description: a|size"},
        {R"({"name": "a", "type": "uint8", "size": 1.5})", "description: a|size"},
        {R"({"name": "a", "type": "uint8", "size": "1"})", "description: a|size"},
        {R"({"name": "a", "type": "uint8", "size": 18446744073709551615})", "description: a|size"},
        {R"({"name": "a", "type": "uint8", "size": 4294967295})", "a|"},
        {R"({"name": "a", "type": "uint8", "array_len": 4294967295, "size": 4294967295})", "a|"},
        {R"({"name": "a", "type": "uint8", "array_len": 0, "size": 1})", "description: a|array_len"},
        {R"({"name": "a", "type": "x", "array_len": 4294967295, "size": 0})", "description: a|array_len"},
        {R"({"name": "a", "type": "uint32", "size": 100})", "a|"},
        {R"({"name": "a", "type": "struct", "struct": 7, "size": 1})", "description: a|vmsd_name"},
        {R"({"name": "a", "type": "struct", "struct": {"vmsd_name": "s", "version": 1}, "size": 1})",
         "description: a|fields"},
        {R"({"name": "a", "type": "struct", "struct": {"vmsd_name": "s", "version": 1, "fields": [)"
         R"({"name": "b", "type": "uint8", "size": 1}]}, "size": 2})",
         "a|"},
        {R"({"name": "a", "type": "uint8", "size": 1})", "footer"},
        {"7", "description: name"},
        {"", "footer"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.fields);
        const auto tree = decode("\x01\x02\x03", row.fields);
        REQUIRE_FALSE(tree);
        CAPTURE(tree.error().text());
        CHECK(tree.error().kind == ErrorKind::stream);
        CHECK(tree.error().record == "section dev instance 0");
        CHECK(tree.error().field == row.field);
    }
    for (const auto* json : {"", "{", "[]", "{}", "7", R"({"devices": {}})", R"({"devices": [7]})",
                             R"({"devices": [{"name": "dev"}]})"}) {
        CAPTURE(std::string(json));
        CHECK_FALSE(decode_device_state(state_of(as_bytes("x")), 0, json, 0));
    }
}

TEST_CASE("subsections of a description must be there") {
    const auto sub = [](std::string_view name, int version) {
        return fmt::format(R"(, "subsections": [{{"vmsd_name": "{}", "version": {}, "fields": []}}])", name,
                           version);
    };
    constexpr std::string_view payload(
        "\x05\x05"
        "dev/x\x00\x00\x00\x02",
        11);
    CHECK(decode(payload, "", sub("dev/x", 2)));
    CHECK_FALSE(decode(payload, "", sub("dev/x", 1)));
    CHECK_FALSE(decode(payload, "", sub("dev/y", 2)));
    CHECK_FALSE(decode(payload, "", R"(, "subsections": {})"));
    CHECK_FALSE(decode("", "", sub("dev/x", 2)));
}

TEST_CASE("hostile descriptions are refused before they have grown") {
    std::string deep;
    for (int i = 0; i < 100'000; ++i)
        deep +=
            R"({"name": "a", "type": "struct", "size": 1, "struct": {"vmsd_name": "s", "version": 1, "fields": [)";
    std::string wide = R"({"name": "a", "type": "x", "size": 0})";
    for (int i = 0; i < 130'000; ++i) wide += R"(,{"name": "a", "type": "x", "size": 0})";
    // Few values, many elements of many fields without bytes.
    std::string empty = R"({"name": "b", "type": "uint8", "size": 1})";
    for (int i = 0; i < 10'000; ++i) empty += fmt::format(R"(,{{"name": "a{}", "type": "x", "size": 0}})", i);
    const auto product =
        fmt::format(R"({{"name": "a", "type": "struct", "array_len": 100000, "size": 1, "struct": )"
                    R"({{"vmsd_name": "s", "version": 1, "fields": [{}]}}}})",
                    empty);
    const auto long_name =
        fmt::format(R"({{"name": "{}", "type": "x", "size": 1}})", std::string(1 << 20, 'n'));

    const auto before = peak_memory();
    for (const std::string& fields : {deep, wide, product, long_name}) {
        const auto tree = decode(std::string(100'000, 'x'), fields);
        REQUIRE_FALSE(tree);
        CHECK(tree.error().kind == ErrorKind::stream);
    }
    const auto after = peak_memory();
    // The largest that QEMU writes for a machine of 255 vCPUs takes about as much as the limits allow here.
    CHECK(after - std::min(before, after) < (std::size_t{512} << 20));

    const std::string huge(max_description + 1, ' ');
    const auto tree = decode_device_state({}, 0, huge, 0);
    REQUIRE_FALSE(tree);
    CHECK(tree.error().field == "length");
}

TEST_CASE("lengths of a hostile stream are refused without memory for them") {
    const auto stream = test::build_stream();
    const auto before = peak_memory();
    // A description of 4 GiB is announced: the reader waits for a real one and does not believe it.
    auto bytes = stream.bytes;
    for (int i = 0; i < 4; ++i)
        bytes[stream.at.at("VMDESCRIPTION") + 1 + static_cast<std::size_t>(i)] = std::byte{255};
    CHECK(test::read_all(bytes).error->record == "VMDESCRIPTION");
    // A block list that never ends.
    Buffer list(stream.bytes.begin(),
                stream.bytes.begin() + static_cast<std::ptrdiff_t>(stream.at.at("MEM_SIZE")));
    append_be(list, (std::uint64_t{1} << 51) | 4);
    for (int i = 0; i < 10'000; ++i) {
        const auto name = fmt::format("block{}", i);
        append_be(list, static_cast<std::uint8_t>(name.size()));
        append(list, name);
        append_be(list, std::uint64_t{4096});
    }
    const auto back = test::read_all(list, [](std::size_t) { return 1000; });
    REQUIRE(back.error);
    CHECK(back.error->record == "ram MEM_SIZE");
    CHECK(back.error->field == "count");
    const auto after = peak_memory();
    CHECK(after - std::min(before, after) < (std::size_t{64} << 20));
}

}  // namespace vmferry::qemu
