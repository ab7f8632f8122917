// `vmferry serve --xl-listen tcp:ADDR:PORT`: takes guests from stock Xen hosts, many at once.
// `vmferry serve --qemu-listen tcp:ADDR:PORT --xl-command …`: takes a guest from a stock QEMU to a Xen host.
#include "proxy/serve.hpp"

#include <charconv>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proxy/stop_signals.hpp"
#include "proxy/template_cache.hpp"
#include "tools/vmferry/command.hpp"
#include "tools/vmferry/destination_arguments.hpp"
#include "tools/vmferry/printable.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/session_output.hpp"
#include "tools/vmferry/xen_destination_arguments.hpp"
#include "tools/vmferry/xen_host.hpp"

namespace vmferry::cli {

namespace {

struct Options {
    std::string xl_listen, qemu_listen;
    bool json = false, dry_run = false;
    std::size_t max_sessions = ServeOptions{}.max_sessions;
    std::size_t read_size = SessionOptions{}.read_size;
    DestinationArguments destination;
    XenDestinationArguments xen;
};

struct Endpoint {
    std::string address;
    std::uint16_t port = 0;
};

/// "tcp:192.0.2.1:4445", "tcp:[::1]:4445".
Result<Endpoint> read_endpoint(std::string_view option, std::string_view text) {
    const auto wrong = [&] {
        return std::unexpected(usage_error(std::string(option), fmt::format("'{}'", text),
                                           "tcp:ADDRESS:PORT, the address numeric, IPv6 in []"));
    };
    const auto colon = text.rfind(':');
    if (!text.starts_with("tcp:") || colon < 4) return wrong();
    auto address = text.substr(4, colon - 4);
    const auto port = text.substr(colon + 1);
    if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
    Endpoint endpoint{std::string(address), 0};
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    if (error != std::errc{} || end != port.data() + port.size() || address.empty()) return wrong();
    return endpoint;
}

/// Lines of several threads, whole.
class Announcer {
  public:
    explicit Announcer(bool json) : json_(json) {}

    void listening(const std::string& address, std::uint16_t port) {
        const std::scoped_lock lock(mutex_);
        if (json_)
            print_json({{"schema", json_schema},
                        {"command", "serve"},
                        {"event", "listening"},
                        {"address", address},
                        {"port", port}},
                       false);
        else
            fmt::print("listening on tcp:{}:{}\n",
                       address.find(':') == std::string::npos ? address : "[" + address + "]", port);
        std::fflush(stdout);
    }
    void connected(const std::string& peer) {
        const std::scoped_lock lock(mutex_);
        if (json_)
            print_json(
                {{"schema", json_schema}, {"command", "serve"}, {"event", "connected"}, {"peer", peer}},
                false);
        else
            fmt::print("{}: connected\n", peer);
        std::fflush(stdout);
    }
    void over(const std::string& peer, const SessionReport& report) {
        const std::scoped_lock lock(mutex_);
        if (json_) {
            auto all = session_document("serve", report);
            all["event"] = "over";
            all["peer"] = peer;
            print_json(all, false);
        } else {
            fmt::print("{}: {}\n", peer, report.error ? printable(report.error->text(), true) : "done");
            print_session(report, stdout);
        }
        std::fflush(stdout);
    }

  private:
    std::mutex mutex_;
    bool json_;
};

/// What both listeners are told.
Result<void> set_listener(std::string_view option, std::string_view text, const Options& given,
                          Announcer& announcer, ListenerOptions& options) {
    VMFERRY_ASSIGN(const auto endpoint, read_endpoint(option, text));
    options.address = endpoint.address;
    options.port = endpoint.port;
    options.max_sessions = given.max_sessions;
    options.listening = [&announcer, address = endpoint.address](std::uint16_t port) {
        announcer.listening(address, port);
    };
    options.connected = [&announcer](const std::string& peer) { announcer.connected(peer); };
    options.over = [&announcer](const std::string& peer, const SessionReport& report) {
        announcer.over(peer, report);
    };
    return {};
}

Result<void> take_from_xen(const Options& given, Announcer& announcer) {
    VMFERRY_TRY(given.xen.check_absent());
    VMFERRY_TRY(given.destination.check_configuration());
    ServeOptions options;
    VMFERRY_TRY(set_listener("--xl-listen", given.xl_listen, given, announcer, options));
    options.session.choose = [&given](const DomainConfig& config) {
        return given.destination.options_for(config.name, config.uuid);
    };
    options.session.state_directory = given.destination.state_directory();
    options.session.cache_directory = default_cache_directory();
    options.session.read_size = given.read_size;
    options.session.dry_run = given.dry_run;
    Loop loop;
    const StopSignals signals(loop);
    return serve(loop, options);
}

Result<void> take_to_xen(const Options& given, Announcer& announcer) {
    VMFERRY_ASSIGN(const auto settings, given.xen.settings());
    ServeQemuOptions options;
    VMFERRY_ASSIGN(options.session.choose, choose_xen_host(settings));
    VMFERRY_TRY(set_listener("--qemu-listen", given.qemu_listen, given, announcer, options));
    options.session.source_qmp = settings.source_qmp;
    options.session.state_directory = settings.state_directory;
    options.session.read_size = given.read_size;
    options.session.dry_run = given.dry_run;
    Loop loop;
    const StopSignals signals(loop);
    return serve_qemu(loop, options);
}

ExitCode run(const Options& given) {
    Announcer announcer(given.json);
    const auto result = (given.qemu_listen.empty() ? take_from_xen : take_to_xen)(given, announcer);
    if (result) return ExitCode::done;
    if (given.json) {
        auto all = document("serve");
        set_error(all, result.error());
        print_json(all, false);
    }
    return fail(result.error());
}

}  // namespace

void add_serve(CLI::App& app, Invocation& invocation) {
    auto* command = app.add_subcommand("serve",
                                       "Take guests from Xen hosts: xl migrate -s '' GUEST 'socat - "
                                       "TCP:THIS-HOST:PORT'. Or take a guest from a "
                                       "QEMU to a Xen host: migrate tcp:THIS-HOST:PORT");
    auto options = std::make_shared<Options>();
    auto* direction = command->add_option_group("Source");
    direction->add_option("--xl-listen", options->xl_listen, "where to listen for xl; port 0: any")
        ->type_name("tcp:ADDR:PORT");
    direction->add_option("--qemu-listen", options->qemu_listen, "where to listen for QEMU; port 0: any")
        ->type_name("tcp:ADDR:PORT");
    direction->require_option(1);
    command->add_option("--max-sessions", options->max_sessions, "migrations at once")
        ->check(CLI::Range(std::size_t{1}, std::size_t{4096}));
    command->add_flag("--dry-run", options->dry_run,
                      "carry and load every guest, then give it back: the source goes on");
    command->add_option("--read-size", options->read_size, "most bytes read from a source at once")
        ->type_name("BYTES")
        ->check(CLI::Range(std::size_t{1}, std::size_t{64} << 20));
    command->add_flag("--json", options->json, "one JSON object per event and session on standard output");
    options->destination.add_to(*command, invocation);
    options->xen.add_live_to(*command, options->destination);
    command->callback([options, &invocation] { invocation.action = [options] { return run(*options); }; });
}

}  // namespace vmferry::cli
