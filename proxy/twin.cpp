#include "proxy/twin.hpp"

#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "proxy/channel.hpp"
#include "proxy/qemu_facts.hpp"
#include "proxy/qemu_process.hpp"
#include "proxy/qmp_call.hpp"
#include "proxy/temporary_directory.hpp"
#include "proxy/unix_socket.hpp"

namespace vmferry {
namespace {

using nlohmann::json;

Result<Buffer> read_stream(Loop& loop, const Descriptor& listener, const TimeLimits& limits) {
    // QEMU has answered `migrate`, and connects before it answers: accept does not wait.
    Descriptor accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!accepted.valid()) return environment_error("twin", "accepting its stream", errno_text(errno));
    Channel channel(loop, "twin", std::move(accepted));
    const Wait wait{"twin", "its migration stream", limits.twin_migrates};
    Buffer stream;
    for (;;) {
        const auto have = stream.size();
        stream.resize(have + (1u << 20));
        VMFERRY_ASSIGN(const auto count, channel.read_some(std::span(stream).subspan(have), wait));
        stream.resize(have + count);
        if (count == 0) return stream;
        if (stream.size() > max_twin_stream)
            return environment_error("twin", "its migration stream",
                                     fmt::format("more than {} bytes", max_twin_stream));
    }
}

Result<Buffer> migrate(Loop& loop, QmpClient& qmp, const std::string& path, const TimeLimits& limits) {
    VMFERRY_ASSIGN(const auto listener, listen_unix(path));
    // Nothing runs in it: one round, as fast as it goes.
    VMFERRY_TRY(qmp_call(loop, qmp, "migrate-set-parameters",
                         {{"max-bandwidth", std::int64_t{1} << 40}, {"downtime-limit", 2'000'000}},
                         limits.qmp_answers));
    VMFERRY_TRY(qmp_call(loop, qmp, "migrate", {{"uri", "unix:" + path}}, limits.qmp_answers));
    VMFERRY_ASSIGN(auto stream, read_stream(loop, listener, limits));
    VMFERRY_ASSIGN(const json status, qmp_call(loop, qmp, "query-migrate", nullptr, limits.qmp_answers));
    if (status.value("status", "") != "completed")
        return environment_error("twin", "migrating", status.value("error-desc", status.dump()), "completed");
    return stream;
}

}  // namespace

Result<Twin> capture_twin(Loop& loop, const TwinRequest& request, const TimeLimits& limits) {
    VMFERRY_ASSIGN(const auto directory, TemporaryDirectory::create());
    const auto socket = directory.file("qmp");
    ProcessStart start{"twin", request.qemu, request.arguments, directory.file("log")};
    for (const auto* word : {"-S", "-qmp"}) start.arguments.emplace_back(word);
    start.arguments.push_back("unix:" + socket + ",server=on,wait=off");
    VMFERRY_ASSIGN(const auto process, QemuProcess::start(loop, std::move(start)));
    process->alarm_on_exit(true);

    QmpClient qmp(loop.uv(), "twin");
    auto result = [&]() -> Result<Twin> {
        Twin twin;
        VMFERRY_TRY(qmp_connect(loop, qmp, socket, limits.qemu_starts));
        VMFERRY_ASSIGN(twin.cpu, read_cpu_facts(loop, qmp, limits));
        VMFERRY_ASSIGN(twin.stream, migrate(loop, qmp, directory.file("stream"), limits));
        return twin;
    }();
    process->alarm_on_exit(false);
    if (result || process->exited()) return result;
    // A broken connection is seen before the exit that explains it.
    const Loop::Shield shield(loop);
    if (loop.wait({"twin", "its end", limits.qemu_last_words}, [&] { return process->exited(); }))
        return std::unexpected(process->exit_error("process"));
    return result;
}

}  // namespace vmferry
