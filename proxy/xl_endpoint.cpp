#include "proxy/xl_endpoint.hpp"

#include <array>

#include "parsers/xen/handshake.hpp"

namespace vmferry {

Result<void> XlEndpoint::send(std::string_view message, const char* what, std::size_t* written) {
    return channel_.write_all(as_bytes(message), {channel_.name(), what, limits_.source_takes}, written);
}

Result<void> XlEndpoint::send_banner() {
    return send(xen::banner, "it to take the banner");
}

Result<std::size_t> XlEndpoint::read(std::span<std::byte> space) {
    auto count = channel_.read_some(space, {channel_.name(), "its stream", limits_.source_silent,
                                            [this] { return fmt::format("{} bytes", received_); }});
    if (count) received_ += *count;
    return count;
}

Result<void> XlEndpoint::check_waiting() {
    std::array<std::byte, 16> space{};
    VMFERRY_ASSIGN(const auto count, channel_.read_now(space));
    if (!count) return {};
    if (*count == 0)
        return environment_error(channel_.name(), "sending ready", "it has closed the connection",
                                 "a source that waits");
    return environment_error(channel_.name(), "sending ready",
                             fmt::format("{} bytes or more behind the end of the stream", *count),
                             "silence until ready");
}

Result<void> XlEndpoint::send_ready(bool& delivered) {
    std::size_t written = 0;
    auto result = send(xen::ready, "it to take ready", &written);
    delivered = written > 0;
    return result;
}

XlEndpoint::PermissionRead XlEndpoint::read_permission() {
    std::array<std::byte, xen::go.size()> space{};
    std::size_t have = 0;
    const Wait wait{channel_.name(), "its permission to run the guest", limits_.go,
                    [&have] { return fmt::format("{} of {} bytes", have, xen::go.size()); }};
    while (have < space.size()) {
        const auto count = channel_.read_some(std::span(space).subspan(have), wait);
        if (!count) return {Permission::missing, count.error()};
        if (*count == 0)
            return {Permission::missing,
                    environment_error(
                        wait.component, "waiting for " + wait.awaited,
                        fmt::format("the connection ended after {} of {} bytes", have, space.size()))
                        .error()};
        have += *count;
        const auto text = as_text(Bytes(space).first(have));
        if (!xen::go.starts_with(text))
            return {Permission::wrong, stream_error("xl", "permission", "", have - *count, "other bytes",
                                                    "the 44 bytes of xl's permission")
                                           .error()};
    }
    return {Permission::whole, {}};
}

Result<void> XlEndpoint::send_report(std::uint8_t code) {
    std::string message(xen::report);
    message += static_cast<char>(code);
    return send(message, "it to take the report");
}

Result<void> XlEndpoint::send_give_back() {
    return send(xen::go, "it to take the guest back");
}

}  // namespace vmferry
