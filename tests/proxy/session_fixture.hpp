// A session against a scripted source that plays the shipped capture, with the real QEMU as destination.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <thread>

#include <sys/types.h>

#include "parsers/wire/bytes.hpp"
#include "proxy/session.hpp"
#include "proxy/temporary_directory.hpp"

namespace vmferry::test {

/// What `xl migrate` sent, header to libxl's END, without the permission; unpacked once.
[[nodiscard]] const Buffer& recording();
/// The same with another name and uuid in its configuration (of equal length).
[[nodiscard]] Buffer recording_of(char name_digit, char uuid_digit);

/// xl's side of the connection, step by step, in a thread of its own. A step that fails ends no script; what
/// was seen is checked afterwards. The end of the script closes the connection.
class ScriptedSource {
  public:
    using Script = std::function<void(ScriptedSource&)>;
    ScriptedSource(Descriptor socket, Script script);
    ~ScriptedSource() { join(); }
    void join() {
        if (thread_.joinable()) thread_.join();
    }

    bool expect(std::string_view message);  ///< reads exactly that
    bool send(Bytes bytes);
    bool send(std::string_view text) { return send(as_bytes(text)); }
    std::optional<int> read_byte();
    bool at_end();  ///< the other side has closed
    void close() { socket_.reset(); }
    /// From now on nothing can be delivered to it any more; what it sends still arrives.
    void stop_listening();
    /// banner and the whole recording
    bool stream();
    /// After the permission, or what stands in its place: report and, if it says so, give-back.
    void read_report();

    // What the script saw.
    bool ready = false, given_back = false;
    std::optional<int> report;
    std::string heard;  ///< every byte that was said to it

  private:
    Descriptor socket_;
    std::thread thread_;
};

struct SessionFixture {
    SessionFixture();
    ~SessionFixture();  ///< ends what a failed test has left
    SessionFixture(const SessionFixture&) = delete;
    SessionFixture& operator=(const SessionFixture&) = delete;

    /// Runs a session against this script. `source` keeps what it saw.
    SessionReport run(ScriptedSource::Script script) { return run(loop, std::move(script)); }
    SessionReport run(Loop& on, ScriptedSource::Script script);
    /// The whole handshake as xl does it.
    static void whole(ScriptedSource& source);
    /// Runs a session that fails before "ready": the source is told nothing, and nothing is left here. Its
    /// error.
    Error failure(ScriptedSource::Script script);

    /// Does this once, when the session reaches this state (and its journal says so).
    void at(SessionState state, std::function<void()> action);

    [[nodiscard]] std::vector<SessionRecord> sessions() const { return list_sessions(state); }
    /// Of the only session's QEMU.
    [[nodiscard]] pid_t qemu_pid() const;
    /// The state that QEMU itself tells ("paused", "running"); empty if it is not there.
    [[nodiscard]] std::string qemu_state(const std::string& qmp_socket);
    /// Nothing runs and nothing is claimed.
    [[nodiscard]] bool nothing_left(const SessionReport& report) const;
    /// Returns when it has ended, all of it.
    static void end_process(long pid);

    Loop loop;
    TemporaryDirectory directory = std::move(*TemporaryDirectory::create());
    std::string state = directory.file("state");
    std::string image = directory.file("disk");
    DestinationOptions destination;
    SessionOptions options;
    std::unique_ptr<Session> session;
    std::unique_ptr<ScriptedSource> source;
    unsigned acted = 0;  ///< actions of at() that were done
};

/// Runs this in a child process; it ends with status 1 when it returns. It gets a loop of its own: the epoll
/// set of an inherited one would be shared, and show the parent events of the child's descriptors.
[[nodiscard]] pid_t in_child(const std::function<void(Loop&)>& body);

}  // namespace vmferry::test
