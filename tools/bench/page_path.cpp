// The page path by itself: how fast, and in how much memory. See run.sh for the comparison.
//
//     page_path memory  --gib 64        generator → Crossing → checker, in one process; prints VmHWM
//     page_path relay   --listen A --connect B     Xen bytes from A, QEMU bytes to B, as a proxy does
//     page_path send    --connect A --mib N        a generated stream
//     page_path receive --listen B                 reads and throws away; prints what came, and how fast
//     page_path generate --mib N                   the stream on standard output
//
// With --to xen all of it is the other way: QEMU bytes in, Xen bytes out.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/convert.hpp"
#include "tools/bench/page_path_run.hpp"
#include "tools/bench/page_path_to_xen.hpp"
#include "tools/bench/xen_stream_frame.hpp"
#include "tools/bench/xen_stream_generator.hpp"

namespace vmferry::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

Result<int> accept_one(std::uint16_t port) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) return environment_error("socket", "making one", "no");
    const int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const auto address = loopback(port);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, 1) != 0)
        return environment_error("socket", fmt::format("listening on port {}", port), "no");
    const int fd = ::accept(listener, nullptr, nullptr);
    ::close(listener);
    if (fd < 0) return environment_error("socket", "accepting", "no");
    return fd;
}

// The other end may still be starting: tried for ten seconds.
Result<int> connect_to(std::uint16_t port) {
    const auto address = loopback(port);
    for (int attempt = 0; attempt < 1000; ++attempt) {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return environment_error("socket", "making one", "no");
        if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
        ::close(fd);
        ::usleep(10'000);
    }
    return environment_error("socket", fmt::format("connecting to port {}", port), "no");
}

Result<void> write_all(int fd, Bytes bytes) {
    while (!bytes.empty()) {
        const auto n = ::write(fd, bytes.data(), bytes.size());
        if (n <= 0) return environment_error("output", "writing", "no");
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

Result<void> run_memory(const GuestLayout& layout) {
    const auto start = Clock::now();
    VMFERRY_ASSIGN(const auto counters, carry_generated_guest(layout));
    fmt::print(
        "guest_mib={} passes={} bytes_in={} bytes_out={} pages={} zero={} held={} seconds={:.2f} "
        "peak_kib={}\n",
        layout.ram_bytes >> 20, counters.passes, counters.bytes_in, counters.bytes_out, counters.pages,
        counters.zero_pages, counters.held_pages, seconds_since(start), peak_resident_kib());
    return {};
}

QemuGuestLayout to_xen(const GuestLayout& layout) {
    QemuGuestLayout result;
    result.ram_bytes = layout.ram_bytes;
    result.vram_bytes = layout.vram_bytes;
    result.used_of_eight = layout.used_of_eight;
    result.rounds = layout.passes;
    return result;
}

Result<void> run_memory_to_xen(const QemuGuestLayout& layout) {
    const auto start = Clock::now();
    VMFERRY_ASSIGN(const auto counters, carry_generated_guest_to_xen(layout));
    fmt::print(
        "guest_mib={} rounds={} bytes_in={} bytes_out={} pages={} zero={} held={} seconds={:.2f} "
        "peak_kib={}\n",
        layout.ram_bytes >> 20, counters.passes, counters.bytes_in, counters.bytes_out, counters.pages,
        counters.zero_pages, counters.held_pages, seconds_since(start), peak_resident_kib());
    return {};
}

Result<CrossingCounters> relay_to_xen(int in, int out, const QemuGuestLayout& layout, std::size_t read_size) {
    AuditReport audit;
    ToXenRun run{.plan = [&](const QemuSource&) { return Result<XenPlan>(xen_plan_for(layout)); },
                 .translate = bare_translator(),
                 .read_size = read_size};
    return carry_to_xen(source_from_fd(in), sink_to_fd(out), run, audit);
}

Result<void> run_relay(std::uint16_t listen, std::uint16_t connect, const GuestLayout& layout, bool xen,
                       std::size_t read_size) {
    VMFERRY_ASSIGN(const int in, accept_one(listen));
    VMFERRY_ASSIGN(const int out, connect_to(connect));
    VMFERRY_ASSIGN(const auto counters,
                   xen ? relay_to_xen(in, out, to_xen(layout), read_size)
                       : carry_pages(source_from_fd(in), sink_to_fd(out), layout, read_size));
    fmt::print(stderr, "relayed {} pages ({} zero), {} bytes in, {} out, peak {} KiB\n", counters.pages,
               counters.zero_pages, counters.bytes_in, counters.bytes_out, peak_resident_kib());
    ::close(out);
    ::close(in);
    return {};
}

Result<void> run_generate_for_xen(int fd, const QemuGuestLayout& layout) {
    QemuStreamGenerator generator(layout);
    for (auto piece = generator.next(); !piece.empty(); piece = generator.next())
        VMFERRY_TRY(write_all(fd, piece));
    return {};
}

Result<void> run_generate(int fd, const GuestLayout& layout) {
    const auto frame = bare_frame();
    XenStreamGenerator generator(layout, frame.prelude, frame.tail);
    for (auto piece = generator.next(); !piece.empty(); piece = generator.next())
        VMFERRY_TRY(write_all(fd, piece));
    return {};
}

Result<void> run_receive(std::uint16_t port) {
    VMFERRY_ASSIGN(const int fd, accept_one(port));
    Buffer buffer(1u << 20);
    std::uint64_t bytes = 0;
    Clock::time_point start;
    for (;;) {
        const auto n = ::read(fd, buffer.data(), buffer.size());
        if (n <= 0) break;
        if (bytes == 0) start = Clock::now();
        bytes += static_cast<std::uint64_t>(n);
    }
    fmt::print("{} {:.3f}\n", bytes, seconds_since(start));
    return {};
}

int run(int argc, char** argv) {
    GuestLayout layout;
    std::uint64_t gib = 0, mib = 2048;
    std::uint16_t listen = 0, connect = 0;
    std::size_t read_size = 1u << 20;
    std::string to = "qemu";

    CLI::App app("the page path by itself");
    app.require_subcommand(1);
    const auto guest = [&](CLI::App* command) {
        command->add_option("--mib", mib, "RAM of the guest");
        command->add_option("--gib", gib, "the same in GiB");
        command->add_option("--used", layout.used_of_eight, "of eight pages so many are not zero")
            ->check(CLI::Range(0, 8));
        command->add_option("--passes", layout.passes);
        command->add_option("--to", to, "the destination")->check(CLI::IsMember({"qemu", "xen"}));
        return command;
    };
    auto* memory = guest(app.add_subcommand("memory"));
    auto* relaying = guest(app.add_subcommand("relay"));
    relaying->add_option("--listen", listen)->required();
    relaying->add_option("--connect", connect)->required();
    relaying->add_option("--read-size", read_size);
    auto* sending = guest(app.add_subcommand("send"));
    sending->add_option("--connect", connect)->required();
    auto* receiving = app.add_subcommand("receive");
    receiving->add_option("--listen", listen)->required();
    auto* generating = guest(app.add_subcommand("generate"));
    CLI11_PARSE(app, argc, argv);

    std::ignore = std::signal(SIGPIPE, SIG_IGN);
    layout.ram_bytes = gib > 0 ? gib << 30 : mib << 20;
    const auto act = [&]() -> Result<void> {
        const bool xen = to == "xen";
        const auto generate = [&](int fd) {
            return xen ? run_generate_for_xen(fd, to_xen(layout)) : run_generate(fd, layout);
        };
        if (*memory) return xen ? run_memory_to_xen(to_xen(layout)) : run_memory(layout);
        if (*relaying) return run_relay(listen, connect, layout, xen, read_size);
        if (*receiving) return run_receive(listen);
        if (*generating) return generate(STDOUT_FILENO);
        VMFERRY_ASSIGN(const int fd, connect_to(connect));
        VMFERRY_TRY(generate(fd));
        ::close(fd);
        return {};
    };
    const auto result = act();
    if (result) return 0;
    fmt::print(stderr, "page_path: {}\n", result.error().text());
    return 1;
}

}  // namespace
}  // namespace vmferry::bench

int main(int argc, char** argv) {
    try {
        return vmferry::bench::run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "page_path: %s\n", error.what());
        return 4;
    }
}
