// A stock QEMU that migrates away: a small machine with nothing but firmware, and what it says of itself.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "proxy/channel.hpp"
#include "proxy/qemu_process.hpp"
#include "proxy/temporary_directory.hpp"

namespace vmferry::test {

struct SourceMachine {
    /// `words` besides those of the machine. It runs, and ends with this object.
    explicit SourceMachine(std::vector<std::string> words = {});
    ~SourceMachine();
    SourceMachine(const SourceMachine&) = delete;
    SourceMachine& operator=(const SourceMachine&) = delete;

    /// Lets it migrate to this port of 127.0.0.1.
    void migrate(std::uint16_t port, bool return_path);
    /// "running", "postmigrate", …; empty: it is not there, or does not answer.
    [[nodiscard]] std::string state();
    /// Of its migration: "active", "completed", …
    [[nodiscard]] std::string migration();
    /// Waits until it says so, some seconds.
    [[nodiscard]] bool becomes(const std::string& wanted_state);
    /// Over its second QMP socket, which is the test's own. Null: an error, or no answer.
    nlohmann::json command(const std::string& name, const nlohmann::json& arguments = nullptr);
    [[nodiscard]] pid_t pid() const { return process->pid(); }
    /// SIGKILL; returns when it has ended, all of it.
    void end() const;

    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    std::string qmp = directory.file("qmp");  ///< for vmferry
    Loop loop;
    std::unique_ptr<QemuProcess> process;
};

/// A listener on any port of 127.0.0.1.
struct TestListener {
    TestListener();
    /// The next connection.
    [[nodiscard]] Descriptor accepted() const;
    /// The next connection; nothing after stop().
    [[nodiscard]] Descriptor accepted_if_any() const;
    void stop() { stopped = true; }

    std::uint16_t port = 0;
    Descriptor socket;
    std::atomic<bool> stopped = false;
};

}  // namespace vmferry::test
