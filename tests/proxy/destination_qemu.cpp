// The destination, against the real QEMU: a load to its end, and each way in which it fails.
#include "proxy/destination_qemu.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "proxy/qemu_facts.hpp"
#include "proxy/temporary_directory.hpp"
#include "tests/error_text.hpp"
#include "tests/proxy/machines.hpp"

using namespace vmferry;
using namespace vmferry::test;
using namespace std::chrono_literals;

namespace {

/// The stream of a machine with one empty disk, made once.
const Buffer& loadable_stream() {
    static const Buffer stream = [] {
        Loop loop;
        auto twin = capture_twin(
            loop, {qemu_binary, machine_arguments("if=ide,index=0,driver=null-co,read-zeroes=on,size=1M")},
            {});
        REQUIRE_MESSAGE(twin.has_value(), error_text(twin));
        return std::move(twin->stream);
    }();
    return stream;
}

struct Fixture {
    Loop loop;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    std::string image = directory.file("disk");
    TimeLimits limits;
    Plan plan;

    Fixture() {
        std::ofstream(image).close();
        std::filesystem::resize_file(image, 1u << 20);
        plan.qemu = qemu_binary;
        plan.arguments = machine_arguments("if=ide,index=0,format=raw,file=" + image);
    }
    Result<void> load(DestinationQemu& qemu, Bytes stream) {
        VMFERRY_TRY(qemu.open());
        const iovec piece{const_cast<std::byte*>(stream.data()), stream.size()};
        VMFERRY_TRY(qemu.write(std::span(&piece, 1)));
        return qemu.await_loaded();
    }
    std::unique_ptr<DestinationQemu> spawned() {
        auto qemu = DestinationQemu::spawn(loop, plan, directory.path(), limits);
        REQUIRE_MESSAGE(qemu.has_value(), error_text(qemu));
        return std::move(*qemu);
    }
    bool gone(pid_t pid) const { return kill(pid, 0) != 0; }
};

TEST_CASE_FIXTURE(Fixture, "loads, holds its image, runs only when told, and survives its owner") {
    CHECK(check_image_unlocked(image));
    pid_t pid = 0;
    {
        auto qemu = spawned();
        pid = qemu->pid();
        CHECK(check_image_unlocked(image));
        const auto loaded = load(*qemu, loadable_stream());
        REQUIRE_MESSAGE(loaded.has_value(), error_text(loaded));
        CHECK(qemu->check_images());
        CHECK(check_image_unlocked(image).error().found == "another QEMU uses this image");
        CHECK(qemu->release());
        const auto runs = qemu->run();
        CHECK(runs.has_value());
        qemu->announce();
    }
    CHECK(!gone(pid));
    kill(pid, SIGKILL);
}

TEST_CASE_FIXTURE(Fixture, "an image that another QEMU runs from is refused, early and late") {
    auto other = QemuProcess::start(
        loop, {"other", qemu_binary, machine_arguments("if=ide,index=0,format=raw,file=" + image),
               directory.file("o")});
    REQUIRE(other);
    for (int i = 0; i < 500 && check_image_unlocked(image); ++i)
        (void)loop.wait({"test", "a moment", 10ms}, [] { return false; });
    CHECK(check_image_unlocked(image).error().found == "another QEMU uses this image");
    auto qemu = spawned();
    REQUIRE(load(*qemu, loadable_stream()));
    const auto checked = qemu->check_images();
    REQUIRE(!checked);
    CHECK(checked.error().kind == ErrorKind::environment);
    CHECK(checked.error().found.find("Failed to get \"write\" lock") != std::string::npos);
    CHECK(qemu->destroy());
    CHECK(qemu->certainly_gone());
}

TEST_CASE_FIXTURE(Fixture, "a QEMU that has died has certainly not run") {
    auto qemu = spawned();
    REQUIRE(load(*qemu, loadable_stream()));
    REQUIRE(qemu->release());
    kill(qemu->pid(), SIGKILL);
    CHECK(qemu->await_end(5s));
    const auto runs = qemu->run();
    REQUIRE(!runs);
    CHECK(runs.error().ran == DestinationQemu::Ran::no);
    CHECK(runs.error().error.found.starts_with("was killed by signal 9"));
}

TEST_CASE_FIXTURE(Fixture, "a QEMU that does not answer may run") {
    limits.qmp_answers = 300ms;
    auto qemu = spawned();
    REQUIRE(load(*qemu, loadable_stream()));
    REQUIRE(qemu->release());
    kill(qemu->pid(), SIGSTOP);
    const auto runs = qemu->run();
    REQUIRE(!runs);
    CHECK(runs.error().ran == DestinationQemu::Ran::unknown);
    CHECK(runs.error().error.text().find("no answer within 300 ms") != std::string::npos);
    CHECK(qemu->destroy());
}

TEST_CASE_FIXTURE(Fixture, "a stream that QEMU does not take is told in its own words") {
    auto bad = loadable_stream();
    const auto at = as_text(bad).find("mc146818rtc");
    REQUIRE(at != std::string_view::npos);
    bad[at] = std::byte{'M'};
    auto qemu = spawned();
    const auto pid = qemu->pid();
    const auto loaded = load(*qemu, bad);
    REQUIRE(!loaded);
    CHECK(loaded.error().kind == ErrorKind::environment);
    CHECK(loaded.error().found.find("ended with status 1; it said:") != std::string::npos);
    CHECK(loaded.error().found.find("Mc146818rtc") != std::string::npos);
    CHECK(gone(pid));
}

TEST_CASE_FIXTURE(Fixture, "a QEMU that dies while it loads ends the wait at once") {
    auto qemu = spawned();
    REQUIRE(qemu->open());
    const auto& stream = loadable_stream();
    const iovec piece{const_cast<std::byte*>(stream.data()), stream.size() / 2};
    REQUIRE(qemu->write(std::span(&piece, 1)));
    kill(qemu->pid(), SIGKILL);
    const auto loaded = qemu->await_loaded();
    REQUIRE(!loaded);
    CHECK(loaded.error().found.starts_with("was killed by signal 9"));
}

TEST_CASE_FIXTURE(Fixture, "a stream without its end runs into the time limit") {
    limits.qemu_loads = 300ms;
    auto qemu = spawned();
    const auto pid = qemu->pid();
    const auto loaded = load(*qemu, Bytes(loadable_stream()).first(1000));
    REQUIRE(!loaded);
    CHECK(
        loaded.error().text().starts_with("QEMU waiting for the load to be completed: nothing within 0.3 s"));
    qemu.reset();
    CHECK(gone(pid));
}

TEST_CASE_FIXTURE(Fixture, "a program that is no QEMU runs into the time limit, and is gone") {
    limits.qemu_starts = 200ms;
    plan.qemu = directory.file("fake");
    std::ofstream(plan.qemu) << "#!/bin/sh\necho $$ > " << directory.file("pid") << "\nexec sleep 1000\n";
    std::filesystem::permissions(plan.qemu, std::filesystem::perms::owner_all);
    const auto qemu = DestinationQemu::spawn(loop, plan, directory.path(), limits);
    REQUIRE(!qemu);
    CHECK(qemu.error().text().find("QMP greeting at " + directory.file("qmp")) != std::string::npos);
    CHECK(qemu.error().text().find("within 200 ms") != std::string::npos);
    pid_t pid = 0;
    std::ifstream(directory.file("pid")) >> pid;
    REQUIRE(pid > 0);
    CHECK(gone(pid));
}

TEST_CASE_FIXTURE(Fixture, "an adopted QEMU is compared, loaded, and never ended") {
    auto words = machine_arguments("if=ide,index=0,format=raw,file=" + image);
    for (const auto* word : {"-S", "-incoming", "defer", "-qmp"}) words.emplace_back(word);
    words.push_back("unix:" + directory.file("theirs") + ",server=on,wait=off");
    auto theirs = QemuProcess::start(loop, {"theirs", qemu_binary, words, directory.file("log")});
    REQUIRE(theirs);
    {
        auto qemu = DestinationQemu::adopt(loop, directory.file("theirs"), limits);
        REQUIRE_MESSAGE(qemu.has_value(), error_text(qemu));
        CHECK((*qemu)->adopted());
        CHECK((*qemu)->pid() == (*theirs)->pid());
        CHECK((*qemu)->cpu_facts()->vendor == "AuthenticAMD");

        const auto twin = qemu::read_snapshot(loadable_stream());
        REQUIRE_MESSAGE(twin.has_value(), error_text(twin));
        const auto same = (*qemu)->compare(*twin);
        CHECK_MESSAGE(same.has_value(), error_text(same));
        auto other = *twin;
        other.blocks[0].used_length += page_size;
        CHECK(!(*qemu)->compare(other));
        other.blocks[0].idstr = "no.such.block";
        CHECK((*qemu)->compare(other).error().found == "it has no RAM block no.such.block");
        other = *twin;
        other.blocks.pop_back();
        CHECK((*qemu)->compare(other).error().found == "it has a RAM block " + twin->blocks.back().idstr);
        other = *twin;
        std::erase_if(other.tree.sections, [](const qemu::Section& section) {
            return section.idstr == "0000:00:02.0/cirrus_vga";
        });
        CHECK((*qemu)->compare(other).error().found == "a PCI device at 0000:00:02.0");
        other.tree = twin->tree;
        std::erase_if(other.tree.sections,
                      [](const qemu::Section& section) { return section.idstr == "cpu"; });
        CHECK((*qemu)->compare(other).error().found == "1 CPUs");

        REQUIRE(load(**qemu, loadable_stream()));
        CHECK((*qemu)->check_images());
        CHECK(!(*qemu)->destroy());
        CHECK((*qemu)->run().has_value());
    }
    CHECK(!(*theirs)->exited());
    const auto again = DestinationQemu::adopt(loop, directory.file("theirs"), limits);
    REQUIRE(!again);
    CHECK(again.error().found == "its state is running");
}

}  // namespace
