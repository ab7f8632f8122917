// `vmferry sessions` and `vmferry resolve ID run|destroy`: what is known of the guests that were taken, and
// the decision where a handover ended in doubt.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "proxy/resolve.hpp"
#include "proxy/session_directory.hpp"
#include "tools/vmferry/command.hpp"
#include "tools/vmferry/printable.hpp"
#include "tools/vmferry/report.hpp"
#include "tools/vmferry/session_output.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

struct Options {
    std::string state_directory = default_state_directory();
    bool json = false;
    std::string id, what;
};

Json to_json(const SessionRecord& record) {
    return {{"session", record.id},
            {"state", record.state},
            {"direction", direction_name(record.direction)},
            {"name", record.name},
            {"uuid", record.uuid},
            {"started", record.started},
            {"note", record.note},
            {"directory", record.directory},
            {"vmferry_pid", record.vmferry_pid},
            {"driven", record.driven},
            {"qemu_pid", record.qemu_pid},
            {"qemu_alive", record.qemu_alive},
            {"qmp", record.qmp_socket},
            {"adopted", record.adopted},
            {"paused", record.paused},
            {"permission", record.permission},
            {"recorded", record.recorded}};
}

void print(const SessionRecord& record) {
    const bool to_xen = record.direction == Direction::to_xen;
    fmt::print("{}  {}  {}, {}{}\n", record.id, printable(record.name), direction_name(record.direction),
               record.state,
               record.driven ? fmt::format(" (vmferry {} works on it)", record.vmferry_pid) : "");
    if (to_xen && record.qmp_socket.empty())
        fmt::print("    since {}; {}\n", record.started,
                   record.recorded ? "the source is a recording" : "the source's QMP is not known");
    else
        fmt::print("    since {}; {} {} {}{}; QMP {}\n", record.started,
                   to_xen ? "the source's QEMU" : "QEMU", record.qemu_pid,
                   record.qemu_alive ? "is there" : "has ended", record.paused ? ", paused as asked" : "",
                   record.qmp_socket);
    if (record.permission)
        fmt::print("    {}\n", to_xen ? "xl may have its permission: the guest may run in Xen"
                                      : "the source's permission was read: the guest belongs here");
    if (!record.note.empty()) fmt::print("    {}\n", printable(record.note));
    fmt::print("    {}\n", record.directory);
}

ExitCode list(const Options& given) {
    auto sessions = list_sessions(given.state_directory);
    // Whose vmferry was killed: nobody has put it away yet.
    std::erase_if(sessions, [](const SessionRecord& record) { return record.is_over(); });
    if (given.json) {
        auto all = document("sessions");
        all["sessions"] = Json::array();
        for (const auto& record : sessions) all["sessions"].push_back(to_json(record));
        print_json(all, true);
    } else {
        for (const auto& record : sessions) print(record);
    }
    return ExitCode::done;
}

ExitCode resolve(const Options& given) {
    Loop loop;
    const auto result = resolve_session(loop, given.state_directory, given.id,
                                        given.what == "run" ? Resolution::run : Resolution::destroy, {});
    if (given.json) {
        auto all = document("resolve");
        all["session"] = given.id;
        if (result)
            all.update(to_json(*result));
        else
            set_error(all, result.error());
        print_json(all, true);
    } else if (result) {
        print(*result);
    }
    return result ? ExitCode::done : fail(result.error());
}

void add_common(CLI::App& command, Options& options) {
    command.add_option("--state-dir", options.state_directory, "where the sessions are kept")
        ->capture_default_str()
        ->type_name("DIR");
    command.add_flag("--json", options.json, "print JSON");
}

}  // namespace

void add_sessions(CLI::App& app, Invocation& invocation) {
    auto* command =
        app.add_subcommand("sessions", "List the sessions that are not over, and what is known of each");
    auto options = std::make_shared<Options>();
    add_common(*command, *options);
    command->callback([options, &invocation] { invocation.action = [options] { return list(*options); }; });
}

void add_resolve(CLI::App& app, Invocation& invocation) {
    auto* command = app.add_subcommand(
        "resolve",
        "Decide a session in doubt: run the guest here, or destroy this copy because the source has it");
    auto options = std::make_shared<Options>();
    command->add_option("ID", options->id, "the session, as `vmferry sessions` shows it")->required();
    command
        ->add_option("WHAT", options->what,
                     "run: the source has let the guest go; destroy: the source has it")
        ->required()
        ->check(CLI::IsMember({"run", "destroy"}));
    add_common(*command, *options);
    command->callback(
        [options, &invocation] { invocation.action = [options] { return resolve(*options); }; });
}

}  // namespace vmferry::cli
