// An independent judge: Xen's own verify-stream-v2 (xen-utils, installed by tools/install-deps.sh) on what
// the writers produce.
#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/parsers/xen/support.hpp"

namespace vmferry::xen::test {

namespace {

namespace fs = std::filesystem;

/// /usr/lib/xen-4.17, or whichever release is installed.
fs::path xen_directory() {
    for (const auto& entry : fs::directory_iterator("/usr/lib"))
        if (entry.path().filename().string().starts_with("xen-") &&
            fs::exists(entry.path() / "bin/verify-stream-v2"))
            return entry.path();
    return {};
}

/// Its exit code: 0 valid, 1 a stream error, 2 an error of its own.
int verify_stream(Bytes bytes, const char* format) {
    static const fs::path xen = xen_directory();
    REQUIRE_MESSAGE(!xen.empty(), "verify-stream-v2 is missing: run tools/install-deps.sh");
    const auto file = fs::temp_directory_path() / fmt::format("vmferry-verify-{}", getpid());
    std::ofstream(file, std::ios::binary) << as_text(bytes);

    const auto tool = (xen / "bin/verify-stream-v2").string();
    const auto python_path = "PYTHONPATH=" + (xen / "lib/python").string();
    const auto input = file.string();
    std::vector<const char*> arguments = {tool.c_str(), "-f", format, "-i", input.c_str(), nullptr};
    std::vector<const char*> environment = {python_path.c_str(), "PATH=/usr/bin:/bin",
                                            "PYTHONDONTWRITEBYTECODE=1", nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    const auto spawned =
        posix_spawn(&pid, tool.c_str(), &actions, nullptr, const_cast<char**>(arguments.data()),
                    const_cast<char**>(environment.data()));
    posix_spawn_file_actions_destroy(&actions);
    REQUIRE(spawned == 0);
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    fs::remove(file);
    REQUIRE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("verify-stream-v2 accepts what the writers write") {
    // Its own reading of xenstore data fails under Python 3, and it knows no optional records.
    for (const unsigned version : {2U, 3U}) {
        const auto stream = build_stream({.version = version, .xenstore_data = false, .optional = false});
        CHECK(verify_stream(stream.bytes, "xl") == 0);
        const Bytes bytes(stream.bytes);
        CHECK(verify_stream(bytes.subspan(stream.at.at("libxl")), "libxl") == 0);
        CHECK(verify_stream(bytes.subspan(stream.at.at("image")), "libxc") == 0);
    }
    const auto capture = read_all(load_capture("xen-4.17-trimmed.up.zst"));
    REQUIRE(capture.errors.empty());
    CHECK(verify_stream(capture.rewritten, "xl") == 0);
}

TEST_CASE("verify-stream-v2 refuses what we refuse") {
    const auto stream = build_stream({.xenstore_data = false, .optional = false});
    const auto refused = [&](const char* part, std::size_t at, std::uint8_t value) {
        auto bytes = stream.bytes;
        bytes[stream.at.at(part) + at] = std::byte{value};
        CHECK(read_all(bytes).errors.size() == 1);
        CHECK(verify_stream(bytes, "xl") == 1);
    };
    refused("libxl", 0, 'x');
    refused("image", 15, 4);
    refused("domain", 4, 13);
    refused("PAGE_DATA", 12, 1);
    refused("PAGE_DATA", 16 + 7, 0x50);
    refused("HVM_PARAMS", 8, 4);
    refused("EMULATOR_CONTEXT", 8 + 8 + 333 + 1, 1);
}

}  // namespace vmferry::xen::test
