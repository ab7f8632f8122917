#include "proxy/receive.hpp"

#include <fcntl.h>

namespace vmferry {

Result<SessionReport> migrate_receive(Loop& loop, SessionOptions options) {
    Descriptor in(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)), out(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
    const Descriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!in.valid() || !out.valid() || !null.valid() || dup2(null.get(), STDIN_FILENO) < 0 ||
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return environment_error("migrate-receive", "taking standard input and output", errno_text(errno));
    Channel channel(loop, "source", std::move(in), std::move(out));
    XlEndpoint endpoint(channel, options.limits);
    Session session(loop, endpoint, std::move(options));
    return session.run();
}

}  // namespace vmferry
