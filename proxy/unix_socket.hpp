// Unix stream sockets by path.
#pragma once

#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/descriptor.hpp"

namespace vmferry {

/// Errors (kind environment): also a path that does not fit sockaddr_un.
[[nodiscard]] Result<Descriptor> listen_unix(const std::string& path);
[[nodiscard]] Result<Descriptor> connect_unix(const std::string& path);

}  // namespace vmferry
