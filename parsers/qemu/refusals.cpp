#include "parsers/qemu/refusals.hpp"

#include "parsers/qemu/format.hpp"

namespace vmferry::qemu {

std::unexpected<Error> refuse(std::string_view record, std::string_view field, std::uint64_t offset,
                              std::string found, std::string_view capability, std::string hint) {
    Error error;
    error.kind = ErrorKind::refused;
    error.format = format_name;
    error.record = record;
    error.field = field;
    error.offset = offset;
    error.found = std::move(found);
    error.expected = "an ordinary precopy stream";
    if (!hint.empty())
        error.hint = std::move(hint);
    else if (capability.starts_with("tls"))
        error.hint = fmt::format("unset the migration parameter {} at the source", capability);
    else
        error.hint = fmt::format("switch the migration capability {} off at the source", capability);
    return std::unexpected(std::move(error));
}

std::unexpected<Error> refuse_live_section(std::string_view idstr, std::uint64_t offset) {
    constexpr std::string_view record = "section START";
    if (idstr == "dirty-bitmap")
        return refuse(record, "idstr", offset, "live section dirty-bitmap", "dirty-bitmaps");
    if (idstr == "block") return refuse(record, "idstr", offset, "live section block", "block");
    const bool text = idstr.find_first_not_of(
                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                          ":/._-") == std::string_view::npos;
    return refuse(record, "idstr", offset,
                  text && !idstr.empty()
                      ? fmt::format("live section {}", idstr)
                      : fmt::format("a live section with a name of {} bytes", idstr.size()),
                  "", "remove the device that sends it (vfio and vhost-user devices cannot be carried)");
}

Result<void> check_command(std::uint16_t command, std::uint16_t length, std::uint64_t offset) {
    const auto exactly = [&](std::string_view name, std::uint16_t expected) -> Result<void> {
        if (length == expected) return {};
        return stream_error(std::string(format_name), std::string(name), "length", offset + 3,
                            fmt::format("{}", length), fmt::format("{}", expected));
    };
    const auto postcopy = [&](std::string_view name) {
        return refuse(name, "command", offset + 1, fmt::format("command {}", command), "postcopy-ram");
    };
    switch (static_cast<Command>(command)) {
        case Command::open_return_path:
            return exactly("OPEN_RETURN_PATH", 0);
        case Command::ping:
            return exactly("PING", 4);
        case Command::switchover_start:
            return exactly("SWITCHOVER_START", 0);
        case Command::postcopy_advise:
            if (length == 0)
                return refuse("POSTCOPY_ADVISE", "length", offset + 3, "an advice for bitmaps alone",
                              "dirty-bitmaps");
            return postcopy("POSTCOPY_ADVISE");
        case Command::postcopy_listen:
            return postcopy("POSTCOPY_LISTEN");
        case Command::postcopy_run:
            return postcopy("POSTCOPY_RUN");
        case Command::postcopy_ram_discard:
            return postcopy("POSTCOPY_RAM_DISCARD");
        case Command::packaged:
            return postcopy("PACKAGED");
        case Command::postcopy_resume:
            return postcopy("POSTCOPY_RESUME");
        case Command::recv_bitmap:
            return postcopy("RECV_BITMAP");
        case Command::enable_colo:
            return refuse("ENABLE_COLO", "command", offset + 1, "command 8", "x-colo");
        case Command::invalid:
            break;
    }
    return stream_error(std::string(format_name), "COMMAND", "command", offset + 1,
                        fmt::format("{}", command),
                        "OPEN_RETURN_PATH (1), PING (2) or SWITCHOVER_START (11)");
}

Result<void> check_page_flags(std::uint64_t flags, std::uint64_t offset) {
    const auto refused = [&](std::string_view name, std::string_view capability) {
        return refuse("ram record", "flags", offset, fmt::format("a record {} ({:#05x})", name, flags),
                      capability);
    };
    if ((flags & page_xbzrle) != 0) return refused("XBZRLE", "xbzrle");
    if ((flags & page_compress) != 0) return refused("COMPRESS_PAGE", "compress");
    if ((flags & page_multifd_flush) != 0) return refused("MULTIFD_FLUSH", "multifd");
    if ((flags & page_hook) != 0) return refused("HOOK", "rdma-pin-all");
    return {};
}

}  // namespace vmferry::qemu
