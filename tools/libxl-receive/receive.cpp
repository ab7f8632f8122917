#include "tools/libxl-receive/receive.hpp"

#include <array>
#include <cerrno>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include "parsers/wire/bytes.hpp"
#include "parsers/xen/handshake.hpp"
#include "parsers/xen/xl_header.hpp"
#include "proxy/descriptor.hpp"

namespace vmferry::libxl_receive {
namespace {

Error peer_error(std::string doing, std::string found, std::string expected = {}) {
    return environment_error("source", std::move(doing), std::move(found), std::move(expected)).error();
}

bool asked_to_end(int stop) {
    pollfd one{stop, POLLIN, 0};
    return stop >= 0 && poll(&one, 1, 0) > 0;
}

/// Waits until `fd` is `ready` or we are asked to end.
Result<void> wait_for(int fd, short ready, int stop, const std::string& doing) {
    std::array<pollfd, 2> both{{{fd, ready, 0}, {stop, POLLIN, 0}}};
    while (poll(both.data(), both.size(), -1) < 0)
        if (errno != EINTR) return environment_error("source", doing, errno_text(errno));
    if (both[1].revents != 0)
        return environment_error("vmferry-libxl-receive", doing, "asked to end by a signal");
    return {};
}

/// Everything, or an error. Who shares the descriptor may have made it non-blocking.
Result<void> write_all(int fd, Bytes bytes, const std::string& doing, int stop) {
    while (!bytes.empty()) {
        const auto count = write(fd, bytes.data(), bytes.size());
        if (count >= 0)
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        else if (errno == EAGAIN)
            VMFERRY_TRY(wait_for(fd, POLLOUT, stop, doing));
        else if (errno != EINTR)
            return environment_error("source", doing, errno_text(errno));
    }
    return {};
}

/// As many bytes as there are, at most `space`; 0 at the end.
Result<std::size_t> read_some(const Ends& ends, std::span<std::byte> space, const std::string& doing) {
    for (;;) {
        VMFERRY_TRY(wait_for(ends.input, POLLIN, ends.stop, doing));
        const auto count = read(ends.input, space.data(), space.size());
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno != EINTR && errno != EAGAIN) return environment_error("source", doing, errno_text(errno));
    }
}

/// Exactly these bytes and none after them: what follows is libxl's to read. They are the header's, from
/// `at`.
Result<void> read_header_part(const Ends& ends, std::span<std::byte> space, std::size_t at) {
    for (std::size_t have = 0; have < space.size();) {
        VMFERRY_ASSIGN(const auto count, read_some(ends, space.subspan(have), "waiting for xl's header"));
        if (count == 0)
            return stream_error("xl", "header", at < xen::xl_fixed_size ? "fixed part" : "optional data",
                                at + have, "the end of the stream",
                                fmt::format("{} bytes more", space.size() - have));
        have += count;
    }
    return {};
}

Result<std::string> read_configuration(const Ends& ends) {
    Buffer header(xen::xl_fixed_size);
    VMFERRY_TRY(read_header_part(ends, header, 0));
    VMFERRY_ASSIGN(const auto size, xen::xl_header_size(header, 0));
    header.resize(size);
    VMFERRY_TRY(read_header_part(ends, std::span(header).subspan(xen::xl_fixed_size), xen::xl_fixed_size));
    VMFERRY_ASSIGN(auto read, xen::read_xl_header(header, 0));
    return std::move(read.config);
}

Result<void> read_permission(const Ends& ends) {
    const std::string doing = "waiting for the permission";
    std::array<std::byte, xen::go.size()> space{};
    for (std::size_t have = 0; have < space.size();) {
        VMFERRY_ASSIGN(const auto count, read_some(ends, std::span(space).subspan(have), doing));
        if (count == 0)
            return std::unexpected(
                peer_error(doing, fmt::format("the end after {} of {} bytes", have, space.size())));
        have += count;
        if (!xen::go.starts_with(as_text(Bytes(space).first(have))))
            return std::unexpected(peer_error(doing, "other bytes", "xl's permission"));
    }
    return {};
}

/// The copy must not run. Returns `why`, with what could not be done about it.
Error give_back(const Ends& ends, DomainMaker& maker, std::uint8_t code, Error why) {
    // A request to end has been heard already, or comes too late.
    constexpr int never = -1;
    Buffer report;
    append(report, xen::report);
    append_raw(report, code);
    if (const auto told = write_all(ends.output, report, "reporting the failure", never); !told) {
        why.kind = ErrorKind::in_doubt;
        why.found += "; nor could the source be told: " + told.error().found;
        why.hint = "the source may have let the guest go: the copy stays here, paused; see xl list";
        return why;
    }
    if (const auto destroyed = maker.destroy(); !destroyed) {
        why.kind = ErrorKind::in_doubt;
        why.found += "; our copy is not certainly gone: " + destroyed.error().text();
        why.hint = "destroy it here before the guest runs at the source";
        return why;
    }
    if (const auto told = write_all(ends.output, as_bytes(xen::go), "giving the guest back", never); !told)
        why.found += "; our copy is gone, and the source could not be told that it has the guest: " +
                     told.error().found;
    return why;
}

}  // namespace

Result<void> receive(const Ends& ends, DomainMaker& maker) {
    VMFERRY_TRY(write_all(ends.output, as_bytes(xen::banner), "sending the banner", ends.stop));
    VMFERRY_ASSIGN(const auto config, read_configuration(ends));
    VMFERRY_TRY(maker.expect(config));
    VMFERRY_TRY(maker.create(ends.input));

    auto ready = asked_to_end(ends.stop)
                     ? environment_error("vmferry-libxl-receive", "sending ready", "asked to end by a signal")
                     : write_all(ends.output, as_bytes(xen::ready), "sending ready", ends.stop);
    if (!ready) {
        if (const auto destroyed = maker.destroy(); !destroyed)
            ready.error().found += "; our copy is not certainly gone: " + destroyed.error().text();
        return ready;
    }

    if (auto permission = read_permission(ends); !permission)
        return std::unexpected(give_back(ends, maker, 0xFF, std::move(permission).error()));
    if (auto started = maker.start(); !started)
        return std::unexpected(give_back(ends, maker, started.error().code, std::move(started.error().why)));

    Buffer report;
    append(report, xen::report);
    append_raw(report, std::uint8_t{0});
    if (auto told = write_all(ends.output, report, "reporting that the guest runs", -1); !told) {
        told.error().kind = ErrorKind::in_doubt;
        told.error().hint = "the guest runs here; what the source still has of it is to be destroyed there";
        return told;
    }
    return {};
}

}  // namespace vmferry::libxl_receive
