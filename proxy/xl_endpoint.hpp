// Our end of the xl handshake (parsers/xen/handshake.hpp) over any byte channel: a TCP connection, stdin and
// stdout, or one end of a socket pair.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "parsers/wire/error.hpp"
#include "proxy/channel.hpp"
#include "proxy/time_limits.hpp"

namespace vmferry {

class XlEndpoint {
  public:
    XlEndpoint(Channel& channel, const TimeLimits& limits) : channel_(channel), limits_(limits) {}

    void set_limits(const TimeLimits& limits) { limits_ = limits; }

    Result<void> send_banner();
    /// Some bytes of header or stream; 0 = the source has closed.
    [[nodiscard]] Result<std::size_t> read(std::span<std::byte> space);
    /// After libxl's END and before "ready": the source is still there, and silent.
    Result<void> check_waiting();

    /// `delivered` says after a failure whether the source may have read it: once a byte has left us, it may.
    Result<void> send_ready(bool& delivered);

    enum class Permission {
        whole,    ///< the source has let go
        wrong,    ///< other bytes came
        missing,  ///< the connection ended, or nothing more came: xl may have let go
    };
    struct PermissionRead {
        Permission permission = Permission::missing;
        Error why{};  ///< unless whole
    };
    [[nodiscard]] PermissionRead read_permission();

    /// 0: the guest runs here.
    Result<void> send_report(std::uint8_t code);
    /// Only when our copy is certainly gone.
    Result<void> send_give_back();

    void close() { channel_.close(); }

  private:
    Result<void> send(std::string_view message, const char* what, std::size_t* written = nullptr);

    Channel& channel_;
    TimeLimits limits_;
    std::uint64_t received_ = 0;  ///< bytes of header and stream
};

}  // namespace vmferry
