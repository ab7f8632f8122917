// vmferry-libxl-receive: takes one guest on stdin and stdout as `xl migrate-receive` does, with this host's
// libxenlight.
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "proxy/descriptor.hpp"
#include "tools/libxl-receive/libxl_domain.hpp"
#include "tools/libxl-receive/receive.hpp"
#include "tools/libxl-receive/stop_pipe.hpp"

namespace vmferry::libxl_receive {
namespace {

/// stdin and stdout for us alone. Whatever libxl executes finds nothing on its stdin, and what it prints goes
/// to stderr: neither may touch the stream or the handshake.
struct OwnEnds {
    Descriptor input, output;
};

Result<OwnEnds> take_ends() {
    OwnEnds ends{Descriptor(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)),
                 Descriptor(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3))};
    const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!ends.input.valid() || !ends.output.valid() || !null.valid() || dup2(null.get(), STDIN_FILENO) < 0 ||
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return environment_error("vmferry-libxl-receive", "taking stdin and stdout", errno_text(errno));
    return ends;
}

Result<void> run(const DomainOptions& options, xentoollog_level level) {
    // A peer that is gone is an error of write().
    if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return environment_error("vmferry-libxl-receive", "ignoring SIGPIPE", errno_text(errno));
    VMFERRY_ASSIGN(const auto stop, StopPipe::create());
    VMFERRY_ASSIGN(const auto ends, take_ends());
    VMFERRY_ASSIGN(const auto context, Context::create(level));
    LibxlDomain domain(context, options, stop.get());
    return receive({ends.input.get(), ends.output.get(), stop.get()}, domain);
}

int main_of(int argc, char** argv) {
    CLI::App app(
        "Takes one guest on stdin and stdout, as `xl migrate-receive` does. Runs as root in a Xen host's "
        "dom0, under "
        "a command that brings the stream: vmferry serve --xl-command vmferry-libxl-receive.",
        "vmferry-libxl-receive");
    app.set_version_flag("--version", VMFERRY_VERSION " (libxl " + std::string(LIBXL_RELEASE) + ")");
    bool unwatched = false, paused = false, verbose = false;
    app.add_flag("-e", unwatched, "leave no process that watches the domain: nobody acts on its shutdown");
    app.add_flag("-p", paused, "leave the domain paused when the source has let go");
    app.add_flag("-v", verbose, "everything that libxl has to say");
    CLI11_PARSE(app, argc, argv);

    const auto done = run({.unpause = !paused, .watch = !unwatched}, verbose ? XTL_DEBUG : XTL_WARN);
    if (done) return 0;
    fmt::print(stderr, "vmferry-libxl-receive: {}\n", done.error().text());
    return 1;
}

}  // namespace
}  // namespace vmferry::libxl_receive

int main(int argc, char** argv) {
    try {
        return vmferry::libxl_receive::main_of(argc, argv);
    } catch (const std::exception& error) {  // out of memory and the like: nothing throws for input
        std::fputs(error.what(), stderr);
        return 1;
    }
}
