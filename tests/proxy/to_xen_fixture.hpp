// A session towards Xen: the real QEMU as source, a scripted `xl migrate-receive` as destination.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "proxy/session_to_xen.hpp"
#include "tests/proxy/source_machine.hpp"

namespace vmferry::test {

/// xl's receiving side behind a TCP port, step by step, in a thread of its own. A step that fails ends no
/// script; what was seen is checked afterwards. The end of the script closes the connection.
class ScriptedReceiver {
  public:
    using Script = std::function<void(ScriptedReceiver&)>;
    explicit ScriptedReceiver(Script script);
    ~ScriptedReceiver() { join(); }
    void join();

    bool say(std::string_view text);
    /// Header to libxl's END.
    bool take_stream();
    /// Some bytes of the stream.
    bool take_some();
    /// 44 bytes, or less at the end of the connection.
    bool read_permission();
    bool at_end();  ///< the other side has closed, or says no more
    void close() { socket_.reset(); }
    /// From now on nothing can be delivered to it any more.
    void stop_listening();

    // As xl does it.
    bool load();     ///< banner, stream, ready
    void decide();   ///< permission, then what follows
    void refused();  ///< no permission: report 0xFF and give-back
    static void whole(ScriptedReceiver& xl) {
        if (xl.load()) xl.decide();
    }

    // What the script saw.
    std::string permission;  ///< what came after "ready"
    bool loaded = false, ran = false, destroyed = false;

    TestListener listener;

  private:
    Descriptor socket_;
    std::thread thread_;
};

/// What an operator says of a source without QMP: the machine that the fixture starts, or one with other
/// memory.
void without_facts(XenDestinationOptions& options, unsigned memory_kib = 65 * 1024);

struct ToXenFixture {
    ToXenFixture();

    /// The source migrates, with these words of its command line and these settings.
    bool return_path = true;
    bool qmp = true;
    SessionToXenOptions options;
    XenHost destination;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    std::string state = directory.file("state");
    SourceMachine machine;
    TestListener listener;
    std::unique_ptr<ScriptedReceiver> xl;
    Loop loop;

    /// A whole session against this script. `destination.xl` empty: the script's port.
    SessionReport run(ScriptedReceiver::Script script = ScriptedReceiver::whole);
    /// The same in a process of its own, which is killed somewhere in it by itself or by `killer`.
    SessionRecord run_killed(ScriptedReceiver::Script script, const std::function<void(pid_t)>& killer = {});
    /// Does this once, when the session reaches this state (and its journal says so).
    void at(SessionState when, std::function<void()> action);

    [[nodiscard]] std::vector<SessionRecord> sessions() const { return list_sessions(state); }
    /// The guest runs at the source, xl never had the permission, nothing is claimed. The error.
    Error given_back(const SessionReport& report);
    /// In doubt, listed, and nobody runs: the source stands still, xl had no permission or says nothing.
    SessionRecord in_doubt(const SessionReport& report);

    unsigned acted = 0;  ///< actions of at() that were done

  private:
    SessionReport drive(Loop& on);
};

}  // namespace vmferry::test
