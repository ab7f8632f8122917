#include "proxy/destination_qemu.hpp"

#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "proxy/compare_machine.hpp"
#include "proxy/qemu_facts.hpp"
#include "proxy/qmp_call.hpp"
#include "proxy/unix_socket.hpp"

namespace vmferry {

using nlohmann::json;

namespace {

/// QEMU's option syntax: a comma inside a value is written twice.
std::string option_value(std::string text) {
    for (std::size_t at = 0; (at = text.find(',', at)) != std::string::npos; at += 2) text.insert(at, 1, ',');
    return text;
}

}  // namespace

std::vector<std::string> DestinationQemu::command(const Plan& plan, const std::string& directory) {
    std::vector<std::string> words{plan.qemu};
    words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
    for (const auto* word : {"-S", "-incoming", "defer", "-qmp"}) words.emplace_back(word);
    words.push_back("unix:" + option_value(directory) + "/qmp,server=on,wait=off");
    return words;
}

Result<std::unique_ptr<DestinationQemu>> DestinationQemu::spawn(Loop& loop, const Plan& plan,
                                                                const std::string& directory,
                                                                const TimeLimits& limits) {
    std::unique_ptr<DestinationQemu> self(new DestinationQemu(loop, limits));
    self->qmp_socket_ = directory + "/qmp";
    self->stream_socket_ = directory + "/stream";
    auto words = command(plan, directory);
    words.erase(words.begin());
    VMFERRY_ASSIGN(self->process_,
                   QemuProcess::start(loop, {"QEMU", plan.qemu, std::move(words), directory + "/qemu.log"}));
    self->pid_ = self->process_->pid();
    self->process_->alarm_on_exit(true);
    VMFERRY_TRY(self->connect_qmp());
    return self;
}

Result<std::unique_ptr<DestinationQemu>> DestinationQemu::adopt(Loop& loop, const std::string& socket,
                                                                const TimeLimits& limits) {
    std::unique_ptr<DestinationQemu> self(new DestinationQemu(loop, limits));
    self->qmp_socket_ = socket;
    // Where its owner let it make one socket it can make another; our own directories may be closed to it.
    self->stream_socket_ = fmt::format("{}.vmferry-{}", socket, getpid());
    VMFERRY_TRY(self->connect_qmp());
    self->pid_ = self->qmp_->peer_pid();
    VMFERRY_ASSIGN(const json status,
                   qmp_call(loop, *self->qmp_, "query-status", nullptr, limits.qmp_answers));
    if (const auto state = status.value("status", ""); state != "inmigrate")
        return environment_error("QEMU", "adopting " + socket, "its state is " + state,
                                 "inmigrate: started with -S -incoming defer");
    return self;
}

DestinationQemu::~DestinationQemu() {
    let_go();
}

Result<void> DestinationQemu::connect_qmp() {
    qmp_ = std::make_unique<QmpClient>(loop_.uv(), "QEMU");
    const auto greeting = qmp_connect(loop_, *qmp_, qmp_socket_, limits_.qemu_starts);
    if (!greeting) return std::unexpected(explain(greeting.error()));
    const auto version = greeting->value("/version/qemu"_json_pointer, json::object());
    major_ = version.value("major", 0u);
    minor_ = version.value("minor", 0u);
    watch_events();
    const json events = {{{"capability", "events"}, {"state", true}}};
    const auto set =
        qmp_call(loop_, *qmp_, "migrate-set-capabilities", {{"capabilities", events}}, limits_.qmp_answers);
    if (!set) return std::unexpected(explain(set.error()));
    return {};
}

void DestinationQemu::watch_events() {
    qmp_->on_event([this](std::string_view name, const json& data) {
        if (name != "MIGRATION") return;
        const auto status = data.value("status", "");
        completed_ = completed_ || status == "completed";
        load_failed_ = load_failed_ || status == "failed";
        // A QEMU that ends over it says more with its last words; one that stays is asked why.
        if (load_failed_ && adopted() && alarms_)
            loop_.raise({ErrorKind::environment, "QEMU", "loading", {}, 0, "the load failed", {}});
    });
    qmp_->on_close([this](const Error& error) {
        if (adopted() && alarms_) loop_.raise(error);
    });
}

Error DestinationQemu::explain(Error symptom) {
    const bool asked_to_end = loop_.alarm() && !(process_ && process_->exited());
    if (asked_to_end) return symptom;
    const Loop::Shield shield(loop_);
    if (process_) {
        if (loop_.wait({"QEMU", "its end", limits_.qemu_last_words}, [this] { return process_->exited(); }))
            return process_->exit_error(load_failed_ ? "loading" : symptom.record);
        if (const auto tail = log_tail(); !tail.empty()) symptom.found += "; it said: " + tail;
        return symptom;
    }
    if (!qmp_ || !qmp_->ready()) return symptom;
    const auto status = qmp_call(loop_, *qmp_, "query-migrate", nullptr, limits_.qemu_last_words);
    if (status && status->contains("error-desc"))
        symptom.found += ": " + status->value("error-desc", std::string());
    return symptom;
}

std::string DestinationQemu::log_tail() const {
    return process_ ? process_->log_tail() : std::string();
}

Result<CpuFacts> DestinationQemu::cpu_facts() {
    return read_cpu_facts(loop_, *qmp_, limits_);
}

Result<void> DestinationQemu::compare(const qemu::Snapshot& twin) {
    return compare_machine(loop_, *qmp_, twin, limits_);
}

Result<void> DestinationQemu::open() {
    const auto opened =
        qmp_call(loop_, *qmp_, "migrate-incoming", {{"uri", "unix:" + stream_socket_}}, limits_.qmp_answers);
    if (!opened) return std::unexpected(explain(opened.error()));
    auto socket = connect_unix(stream_socket_);
    std::error_code ignored;
    std::filesystem::remove(stream_socket_, ignored);
    if (!socket) return std::unexpected(std::move(socket).error());
    stream_ = std::make_unique<Channel>(loop_, "QEMU", std::move(*socket));
    return {};
}

Result<void> DestinationQemu::write(std::span<const iovec> pieces) {
    auto written = stream_->write_all(pieces, {"QEMU", "it to take the stream", limits_.qemu_takes});
    if (!written) return std::unexpected(explain(std::move(written).error()));
    return {};
}

Result<void> DestinationQemu::await_loaded() {
    const Wait wait{
        "QEMU", "the load to be completed", limits_.qemu_loads,
        [this] { return load_failed_ ? std::string("the load has failed") : "the whole stream is written"; }};
    auto loaded = loop_.wait(wait, [this] { return completed_; });
    if (!loaded) return std::unexpected(explain(std::move(loaded).error()));
    stream_.reset();
    VMFERRY_ASSIGN(const json migration,
                   qmp_call(loop_, *qmp_, "query-migrate", nullptr, limits_.qmp_answers));
    VMFERRY_ASSIGN(const json status, qmp_call(loop_, *qmp_, "query-status", nullptr, limits_.qmp_answers));
    const auto state = status.value("status", "");
    if (migration.value("status", "") != "completed" || status.value("running", true) ||
        (state != "paused" && state != "prelaunch"))
        return environment_error(
            "QEMU", "checking the load",
            fmt::format("migration {}, machine {}", migration.value("status", "?"), state),
            "completed, paused");
    return {};
}

Result<std::vector<std::string>> DestinationQemu::inactive_images() {
    VMFERRY_ASSIGN(const json devices, qmp_call(loop_, *qmp_, "query-block", nullptr, limits_.qmp_answers));
    VMFERRY_ASSIGN(const json graph,
                   qmp_call(loop_, *qmp_, "x-debug-query-block-graph", nullptr, limits_.qmp_answers));
    const auto active = [&graph](const std::string& node) {
        for (const auto& vertex : graph.at("nodes")) {
            if (vertex.value("name", "") != node || vertex.value("type", "") != "block-driver") continue;
            for (const auto& edge : graph.at("edges"))
                if (edge.value("child", 0) == vertex.value("id", -1) && edge.value("name", "") == "root")
                    for (const auto& permission : edge.at("perm"))
                        if (permission == "write") return true;
        }
        return false;
    };
    std::vector<std::string> found;
    for (const auto& device : devices) {
        if (!device.contains("inserted") || device.at("inserted").value("ro", false)) continue;
        if (const auto node = device.at("inserted").value("node-name", ""); !active(node))
            found.push_back(node);
    }
    return found;
}

Result<void> DestinationQemu::check_images() {
    VMFERRY_ASSIGN(auto inactive, inactive_images());
    if (inactive.empty()) return {};
    // Since 9.2 images wait for cont; since 10.0 they can be activated before it.
    const auto activated =
        qmp_call(loop_, *qmp_, "blockdev-set-active", {{"active", true}}, limits_.qmp_answers);
    if (activated) {
        VMFERRY_ASSIGN(inactive, inactive_images());
        if (inactive.empty()) return {};
    } else if (std::pair(major_, minor_) == std::pair(9u, 2u)) {
        return {};
    }
    std::string found = "an image is not this QEMU's (another one has it?)";
    if (activated || major_ >= 10) found += activated ? "" : ": " + activated.error().found;
    if (const auto tail = log_tail(); !tail.empty()) found += "; it said: " + tail;
    return environment_error("QEMU", "activating its images", found, "the lock of every writable image");
}

Result<void> DestinationQemu::release() {
    no_more_alarms();
    return process_ ? process_->release() : Result<void>{};
}

std::expected<void, DestinationQemu::RunFailure> DestinationQemu::run() {
    const Loop::Shield shield(loop_);  // the source has let go: nothing but QEMU's own answer counts now
    // What has happened to it while the source was waited for may not have been seen yet.
    (void)loop_.turn();
    if (process_ && process_->exited())
        return std::unexpected(RunFailure{Ran::no, process_->exit_error("process, before cont")});
    if (!qmp_->ready())
        return std::unexpected(RunFailure{
            Ran::no, explain({ErrorKind::environment, "QEMU", "cont", {}, 0, "no connection", {}})});
    const auto answer = qmp_call(loop_, *qmp_, "cont", nullptr, limits_.qmp_answers);
    for (int attempt = 0;; ++attempt) {
        const auto status = qmp_call(loop_, *qmp_, "query-status", nullptr, limits_.qmp_answers);
        if (status && status->value("running", false)) return {};
        // An error that QEMU answered means that it has not started; without an answer nothing is known.
        if (!answer && !answer.error().field.empty())
            return std::unexpected(RunFailure{Ran::no, explain(answer.error())});
        if (!answer || !status)
            return std::unexpected(
                RunFailure{Ran::unknown, explain(answer ? status.error() : answer.error())});
        if (attempt * std::chrono::milliseconds(10) >= limits_.qemu_runs)
            return std::unexpected(
                RunFailure{Ran::unknown, Error{ErrorKind::environment,
                                               "QEMU",
                                               "cont",
                                               {},
                                               0,
                                               "it does not run, it is " + status->value("status", ""),
                                               "running"}});
        (void)loop_.wait({"QEMU", "running", std::chrono::milliseconds(10)}, [] { return false; });
    }
}

void DestinationQemu::announce() {
    // Some rounds, as QEMU's own destination does it: switches may lose the first.
    const json rounds = {{"initial", 50}, {"max", 550}, {"rounds", 5}, {"step", 100}};
    (void)qmp_call(loop_, *qmp_, "announce-self", rounds, limits_.qmp_answers);
}

Result<void> DestinationQemu::destroy() {
    if (!process_) return environment_error("QEMU", "ending it", "it was adopted, vmferry does not end it");
    if (qmp_) qmp_->close();
    return process_->kill(limits_.qemu_ends);
}

void DestinationQemu::no_more_alarms() {
    alarms_ = false;
    if (process_) process_->alarm_on_exit(false);
}

void DestinationQemu::let_go() {
    no_more_alarms();
    stream_.reset();
    qmp_.reset();
}

Result<void> DestinationQemu::end() {
    if (!process_) return environment_error("QEMU", "ending it", "it was adopted, vmferry does not end it");
    return process_->terminate(limits_.qemu_ends, limits_.qemu_ends);
}

Result<void> DestinationQemu::await_end(std::chrono::milliseconds limit) {
    if (!process_) return {};
    no_more_alarms();
    return loop_.wait({"QEMU", "its end", limit}, [this] { return process_->exited(); });
}

}  // namespace vmferry
