// Templates of Xen destinations: from whole streams, and from what is left of them without pages.
#include "proxy/xen_template.hpp"

#include <algorithm>
#include <fstream>

#include <doctest/doctest.h>

#include "proxy/temporary_directory.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/recorded.hpp"

using namespace vmferry;
using vmferry::test::error_text;

namespace {

std::string capture(const std::string& name) {
    return VMFERRY_SOURCE_DIR "/captures/" + name;
}

void write_file(const std::string& path, Bytes bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

TEST_CASE("a template is the stream without its pages") {
    const auto directory = std::move(*TemporaryDirectory::create());
    const auto path = directory.file("template");
    for (const auto* name :
         {"xen-4.17-linux-2vcpu-e1000-ide.up.zst", "xen-4.20-linux-2vcpu-e1000-ide.up.zst"}) {
        const auto whole = strip_pages(capture(name));
        REQUIRE_MESSAGE(whole.has_value(), error_text(whole));
        CHECK(whole->bytes.size() < 300'000);
        write_file(path, whole->bytes);

        const auto again = strip_pages(path);
        REQUIRE_MESSAGE(again.has_value(), error_text(again));
        CHECK(again->bytes == whole->bytes);
        const auto read = read_xen_template(path);
        REQUIRE_MESSAGE(read.has_value(), error_text(read));
        CHECK(read->xen_major == 4);
        CHECK(read->xen_minor == (std::string(name).starts_with("xen-4.17") ? 17 : 20));
        CHECK(read->cpuid.size() == 52);
        CHECK(read->msrs.size() == 2);
        CHECK(read->params.size() == whole->contents.params.size());
        CHECK(read->context.size() == whole->contents.context.size());
        CHECK(read->device_model.sections.size() == whole->contents.device_model.sections.size());
        CHECK(read->config.name == "g2");
    }
}

TEST_CASE("the templates that are shipped are what is left of the recorded streams") {
    for (const auto* release : {"4.17", "4.20"}) {
        const auto shipped = test::load_capture(fmt::format("templates/xen-{}.zst", release));
        const auto stripped =
            strip_pages(capture(fmt::format("xen-{}-linux-2vcpu-e1000-ide.up.zst", release)));
        REQUIRE(stripped.has_value());
        CHECK(shipped == stripped->bytes);
    }
}

TEST_CASE("what is no template says so") {
    const auto directory = std::move(*TemporaryDirectory::create());
    const auto path = directory.file("template");
    const auto missing = read_xen_template(directory.file("nothing"));
    REQUIRE(!missing);
    CHECK(missing.error().kind == ErrorKind::environment);

    const auto qemu = read_xen_template(capture("qemu-7.2/q1-i440fx-S.bin.zst"));
    REQUIRE(!qemu);
    CHECK(qemu.error().kind == ErrorKind::usage);
    CHECK(qemu.error().found == "a stream of the kind QEMU migration stream");

    const auto whole = strip_pages(capture("xen-4.17-linux-2vcpu-e1000-ide.up.zst"));
    REQUIRE(whole);
    const Bytes bytes = whole->bytes;
    write_file(path, Buffer(bytes.begin(), bytes.end() - 1));
    const auto cut = read_xen_template(path);
    REQUIRE(!cut);
    CHECK(cut.error().kind == ErrorKind::stream);
}

}  // namespace
